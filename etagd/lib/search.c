/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/search.h"

#include <stdlib.h>

#include "etagd/lib/key.h"
#include "etagd/lib/structured.h"

#define KEYS_MAX 64

/* --- what a response says --- */

/* Length-bounded text being written. */
struct text {
    char *at;
    size_t n, size;
    bool full;
};

static void put(struct text *t, char c)
{
    if (t->n + 1 < t->size)
        t->at[t->n++] = c;
    else
        t->full = true;
}

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static void put_escaped(struct text *t, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";

    if (is_plain(c)) {
        put(t, (char)c);
        return;
    }
    put(t, '=');
    put(t, hex[c >> 4]);
    put(t, hex[c & 15]);
}

/* One byte of application/x-www-form-urlencoded text; a "%" that begins no escape is itself. */
static unsigned char next_byte(struct span *s)
{
    struct span rest = *s;
    int c = key_next_byte(s);

    if (c == KEY_BAD_ESCAPE)
        return '%';
    return *rest.p == '+' ? ' ' : (unsigned char)c;
}

static int compare(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    int order = x->n && y->n ? memcmp(x->p, y->p, x->n < y->n ? x->n : y->n) : 0;

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* The strings of an inner list as keys: decoded, escaped, sorted, none twice. False: not a list of strings, or too
 * long. */
static bool put_keys(struct text *t, struct span inner)
{
    char raw[SEARCH_SIZE], storage[SEARCH_SIZE];
    struct text keys = {.at = storage, .size = sizeof storage};
    struct span sorted[KEYS_MAX];
    struct structured item;
    size_t n = 0;

    while (structured_item(&inner, &item)) {
        const size_t begin = keys.n;

        if (item.type != STRUCTURED_STRING || item.text.n > sizeof raw || n == KEYS_MAX)
            return false;
        for (struct span key = span_of(raw, structured_string(item.text, raw)); key.n;)
            put_escaped(&keys, next_byte(&key));
        sorted[n++] = span_of(storage + begin, keys.n - begin);
    }
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < n; i++) {
        if (i && span_eq(sorted[i], sorted[i - 1]))
            continue;
        for (size_t j = 0; j < sorted[i].n; j++)
            put(t, sorted[i].p[j]);
        put(t, ';');
    }
    return !keys.full;
}

/* The draft's 5.1. False: the default. Of "key-order" alone its algorithm and its examples differ; taken is what
 * the examples say. */
static bool put_config(struct text *t, struct span field)
{
    struct structured order = {.number = 0}, params, except;
    const enum structured_result is = structured_member(field, SPAN_LITERAL("key-order"), &order);
    const bool some = structured_member(field, SPAN_LITERAL("params"), &params) == STRUCTURED_FOUND;
    const bool but = structured_member(field, SPAN_LITERAL("except"), &except) == STRUCTURED_FOUND;
    const bool any_order = is == STRUCTURED_FOUND && order.number == 1;

    if (is == STRUCTURED_MALFORMED || (is == STRUCTURED_FOUND && order.type != STRUCTURED_BOOLEAN) || (some && but) ||
        (some && params.type != STRUCTURED_INNER_LIST) || (but && except.type != STRUCTURED_INNER_LIST))
        return false;
    if (any_order)
        put(t, 'k');
    put(t, but ? '+' : '-');
    if ((some && !put_keys(t, params.text)) || (but && !put_keys(t, except.text)))
        return false;
    /* "-" alone is the default. */
    return !t->full && (any_order || but || t->n > sizeof SEARCH_NAME);
}

size_t search_name(struct span field, char out[SEARCH_SIZE])
{
    struct text t = {.at = out, .n = sizeof SEARCH_NAME - 1, .size = SEARCH_SIZE};

    memcpy(out, SEARCH_NAME, sizeof SEARCH_NAME);
    if (!put_config(&t, field))
        t.n = sizeof SEARCH_NAME - 1;
    out[t.n] = '\0';
    return t.n;
}

/* --- what of a query counts --- */

struct config {
    bool whole; /* the query as it is */
    bool any_order; /* of names; values of one name keep theirs */
    bool only; /* keys alone count, else all but they */
    struct span keys;
};

static bool read_config(struct span name, struct config *out)
{
    const struct span prefix = SPAN_LITERAL(SEARCH_NAME);

    if (!span_starts(name, prefix))
        return false;
    name = span_of(name.p + prefix.n, name.n - prefix.n);
    *out = (struct config){.whole = name.n == 0};
    if (out->whole)
        return true;
    if (*name.p == 'k') {
        out->any_order = true;
        name = span_of(name.p + 1, name.n - 1);
    }
    if (!name.n || (*name.p != '-' && *name.p != '+'))
        return false;
    out->only = *name.p == '+';
    out->keys = span_of(name.p + 1, name.n - 1);
    return true;
}

struct pair {
    struct span name, value;
    size_t place; /* in the query */
};

static bool is_listed(const struct config *c, struct span name)
{
    char escaped[SEARCH_SIZE];
    struct text t = {.at = escaped, .size = sizeof escaped};
    struct span rest = c->keys;

    for (size_t i = 0; i < name.n && !t.full; i++)
        put_escaped(&t, (unsigned char)name.p[i]);
    while (!t.full && rest.n) {
        const char *end = memchr(rest.p, ';', rest.n);
        const size_t n = end ? (size_t)(end - rest.p) : rest.n;

        if (end && span_eq(span_of(rest.p, n), span_of(escaped, t.n)))
            return true;
        rest = span_of(rest.p + n + (end != NULL), rest.n - n - (end != NULL));
    }
    return false;
}

/* The draft compares names as UTF-8 is decoded, which maps what is none to one character: such a name is never left
 * out for not being listed. */
static bool counts(const struct config *c, struct span name)
{
    if (is_listed(c, name))
        return c->only;
    for (size_t i = 0; c->only && i < name.n; i++)
        if ((unsigned char)name.p[i] >= 0x80)
            return true;
    return !c->only;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    const int order = compare(&x->name, &y->name);

    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Decodes s to *at, which advances. */
static struct span decode(struct span s, char **at)
{
    char *begin = *at;

    while (s.n)
        *(*at)++ = (char)next_byte(&s);
    return span_of(begin, (size_t)(*at - begin));
}

/* The pairs that count (WHATWG URL 5.1); room for all of the query in decoded. */
static size_t parse(const struct config *c, struct span query, char *decoded, struct pair *out)
{
    size_t n = 0;

    while (query.n) {
        const char *end = memchr(query.p, '&', query.n);
        const struct span piece = span_of(query.p, end ? (size_t)(end - query.p) : query.n);
        const char *equals = piece.n ? memchr(piece.p, '=', piece.n) : NULL;
        const size_t name = equals ? (size_t)(equals - piece.p) : piece.n;

        query = span_of(query.p + piece.n + (end != NULL), query.n - piece.n - (end != NULL));
        if (!piece.n)
            continue;
        out[n].name = decode(span_of(piece.p, name), &decoded);
        out[n].value = equals ? decode(span_of(equals + 1, piece.n - name - 1), &decoded) : span_of(NULL, 0);
        out[n].place = n;
        n += counts(c, out[n].name);
    }
    if (c->any_order)
        qsort(out, n, sizeof *out, compare_pairs);
    return n;
}

static bool digest_count(struct digest *d, uint64_t n)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(n >> 8 * i);
    return digest_update(d, bytes, sizeof bytes);
}

static bool digest_pairs(struct digest *d, const struct pair *pairs, size_t n)
{
    bool ok = digest_count(d, n);

    for (size_t i = 0; i < n; i++)
        ok = ok && digest_field(d, pairs[i].name) && digest_field(d, pairs[i].value);
    return ok;
}

bool search_digest(struct digest *d, struct span name, struct span query, bool has_query)
{
    struct config c;
    size_t most = 1;

    if (!read_config(name, &c))
        return false;
    if (c.whole)
        return digest_count(d, has_query) && digest_field(d, query);
    for (size_t i = 0; i < query.n; i++)
        most += query.p[i] == '&';
    struct pair *pairs = malloc(most * sizeof *pairs);
    char *decoded = malloc(query.n + 1);
    const bool ok = pairs && decoded && digest_pairs(d, pairs, parse(&c, query, decoded, pairs));
    free(pairs);
    free(decoded);
    return ok;
}
