/* SPDX-License-Identifier: Apache-2.0 */
/* Lines: a structured field, a name of search.h, two queries. What is one by the name must be equivalent by the
 * draft's 6, which is written here once more and otherwise. */
#include "etagd/lib/search.h"
#include "etagd/lib/structured.h"
#include "tests/fuzz/target.h"

#define PAIRS_MAX 64
#define QUERY_MAX 512

static void check_field(struct span field)
{
    static const char *const keys[] = {"max-age", "params", "except", "a", "*"};
    struct span rest = field;
    struct structured value = {.number = 0}, item;
    bool malformed = structured_member(field, SPAN_LITERAL("no such key"), &value) == STRUCTURED_MALFORMED;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        enum structured_result is = structured_member(field, span_str(keys[i]), &value);

        PROMISE(malformed == (is == STRUCTURED_MALFORMED));
        if (is != STRUCTURED_FOUND || !value.text.n)
            continue;
        PROMISE(value.text.p >= field.p && value.text.p + value.text.n <= field.p + field.n);
        PROMISE(value.number > -INT64_C(1000000000000000) && value.number < INT64_C(1000000000000000));
        while (value.type == STRUCTURED_INNER_LIST && structured_item(&value.text, &item))
            ;
        PROMISE(value.type != STRUCTURED_INNER_LIST || value.text.n == 0); /* it was well-formed before */
    }
    while (structured_list(&rest, &value))
        ;
}

static void check_name(struct span field)
{
    char name[SEARCH_SIZE];
    size_t n = search_name(field, name);
    struct digest *d = digest_new();

    PROMISE(n < sizeof name && strlen(name) == n && d && digest_begin(d));
    for (size_t i = 0; i < n; i++)
        PROMISE(name[i] > ' ' && name[i] <= '~' && name[i] != ',' && name[i] == span_lower(name[i]));
    PROMISE(search_digest(d, span_of(name, n), field, true));
    digest_free(d);
}

/* --- the draft --- */

struct parameter {
    char name[QUERY_MAX], value[QUERY_MAX];
    size_t nname, nvalue;
};

static size_t decode(const char *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = 0;

    for (size_t i = 0; i < n; i++) {
        const char *high = i + 2 < n && p[i] == '%' && p[i + 1] ? strchr(digits, span_lower(p[i + 1])) : NULL;
        const char *low = high && p[i + 2] ? strchr(digits, span_lower(p[i + 2])) : NULL;

        if (low) {
            out[length++] = (char)((high - digits) * 16 + (low - digits));
            i += 2;
        } else {
            out[length++] = p[i] == '+' ? ' ' : p[i];
        }
    }
    return length;
}

/* Whether the name counts, by the text behind "-" or "+". */
static bool varies(const char *keys, bool only, const struct parameter *q)
{
    char escaped[3 * QUERY_MAX + 2] = "", *at = escaped;

    for (size_t i = 0; i < q->nname; i++) {
        const char c = q->name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
        at += sprintf(at, plain ? "%c" : "=%02x", (unsigned char)c);
    }
    strcpy(at, ";");
    for (const char *found = keys; (found = strstr(found, escaped)); found++)
        if (found == keys || found[-1] == ';')
            return only;
    return !only;
}

static size_t parameters(struct span query, const char *keys, bool only, struct parameter *out)
{
    size_t n = 0;

    for (size_t at = 0, end; at < query.n; at = end + 1) {
        for (end = at; end < query.n && query.p[end] != '&'; end++)
            ;
        size_t equals = at;
        while (equals < end && query.p[equals] != '=')
            equals++;
        if (at == end)
            continue;
        struct parameter *q = &out[n];
        q->nname = decode(query.p + at, equals - at, q->name);
        q->nvalue = equals < end ? decode(query.p + equals + 1, end - equals - 1, q->value) : 0;
        n += varies(keys, only, q);
    }
    return n;
}

static bool same(const char *a, size_t na, const char *b, size_t nb)
{
    return na == nb && memcmp(a, b, na) == 0;
}

/* In any order of names: the nth of a name here is the nth of that name there. */
static bool matches(const struct parameter *a, const struct parameter *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t nth = 0, j;

        for (j = 0; j < i; j++)
            nth += same(a[j].name, a[j].nname, a[i].name, a[i].nname);
        for (j = 0; j < n; j++)
            if (same(b[j].name, b[j].nname, a[i].name, a[i].nname) && nth-- == 0)
                break;
        if (j == n || !same(a[i].value, a[i].nvalue, b[j].value, b[j].nvalue))
            return false;
    }
    return true;
}

static bool equivalent(const char *config, struct span a, struct span b)
{
    static struct parameter left[PAIRS_MAX], right[PAIRS_MAX];
    bool any_order = *config == 'k', only;

    if (!*config)
        return span_eq(a, b);
    config += any_order;
    only = *config++ == '+';
    size_t n = parameters(a, config, only, left);
    if (n != parameters(b, config, only, right))
        return false;
    for (size_t i = 0; i < n && !any_order; i++)
        if (!same(left[i].name, left[i].nname, right[i].name, right[i].nname) ||
            !same(left[i].value, left[i].nvalue, right[i].value, right[i].nvalue))
            return false;
    return matches(left, right, n);
}

static bool is_small(struct span query)
{
    size_t pairs = 1;

    for (size_t i = 0; i < query.n; i++)
        pairs += query.p[i] == '&';
    return query.n < QUERY_MAX && pairs < PAIRS_MAX;
}

static bool digest_of(struct span name, struct span query, uint8_t out[DIGEST_SIZE])
{
    struct digest *d = digest_new();
    bool made = d && digest_begin(d) && search_digest(d, name, query, true) && digest_final(d, out);

    digest_free(d);
    return made;
}

FUZZ_TARGET(fields)
{
    struct span rest = fuzz_span(data, size), field = fuzz_line(&rest), said = fuzz_line(&rest);
    struct span a = fuzz_line(&rest), b = fuzz_line(&rest);
    uint8_t one[DIGEST_SIZE], other[DIGEST_SIZE];
    char name[SEARCH_SIZE];

    check_field(field);
    check_name(field);
    digest_of(said, a, one); /* any text as a name, which Redis may hold */
    size_t n = search_name(said, name);
    if (!is_small(a) || !is_small(b))
        return 0;
    PROMISE(digest_of(span_of(name, n), a, one) && digest_of(span_of(name, n), b, other));
    if (memcmp(one, other, sizeof one) == 0)
        PROMISE(equivalent(name + sizeof SEARCH_NAME - 1, a, b));
    else /* but for names that are no ASCII, no miss either */
        for (size_t i = 0; i < a.n + b.n; i++) {
            const char c = i < a.n ? a.p[i] : b.p[i - a.n];
            if (c == '%' || (unsigned char)c >= 0x80)
                return 0;
        }
    PROMISE((memcmp(one, other, sizeof one) == 0) == equivalent(name + sizeof SEARCH_NAME - 1, a, b));
    return 0;
}
