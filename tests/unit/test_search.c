/* SPDX-License-Identifier: Apache-2.0 */
/* No-Vary-Search: what a field says, and which queries are one by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "etagd/lib/search.h"
#include "tests/unit/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *field, *name;
} fields[] = {
    {"", "search:"},
    {"params=(\"a\")", "search:-a;"},
    {"params=( \"b\"  \"a\" \"b\" )", "search:-a;b;"},
    {"params=(\"a\";x \"b\");y, other=1", "search:-a;b;"},
    {"params=()", "search:"},
    {"params=(\"\")", "search:-;"},
    {"except=(\"x\")", "search:+x;"},
    {"except=()", "search:+"},
    {"key-order", "search:k-"},
    {"key-order=?1, params=(\"a\")", "search:k-a;"},
    {"except=(\"x\"), key-order", "search:k+x;"},
    {"key-order=?0", "search:"},
    {"key-order=?0, params=(\"a\")", "search:-a;"},
    {"params=(\"a\"), params=(\"b\")", "search:-b;"},
    {"params=(\"%C3%A9+%E6%B0%97\")", "search:-=c3=a9=20=e6=b0=97;"},
    {"params=(\"A\" \"a,b;c%3D\")", "search:-=41;a=2cb=3bc=3d;"},
    {"params=(\"%zz\")", "search:-=25zz;"},
    /* the default: nothing of it is understood */
    {"params", "search:"},
    {"params=?1", "search:"},
    {"params=\"a\"", "search:"},
    {"params=(a)", "search:"},
    {"params=(\"a\" 1)", "search:"},
    {"params=(\"a\"), except=(\"b\")", "search:"},
    {"params=(), except=()", "search:"},
    {"params=?1, except=(\"x\")", "search:"},
    {"except=?1", "search:"},
    {"except=(x)", "search:"},
    {"key-order=1, params=(\"a\")", "search:"},
    {"key-order=\"x\"", "search:"},
    {"params=(\"a\"),", "search:"},
    {"params=(\"a\"", "search:"},
    {"Params=(\"a\")", "search:"},
    {"params=(\"a\") except", "search:"},
};

static void a_name_for_a_field(void **state)
{
    char name[SEARCH_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT(fields); i++) {
        struct span field = exact_str(fields[i].field);

        assert_int_equal(search_name(field, name), strlen(fields[i].name));
        assert_string_equal(name, fields[i].name);
        exact_free(field);
    }
}

/* What would not fit counts as not understood; it is never cut. */
static void a_long_field_is_the_default(void **state)
{
    char field[600] = "params=(", name[SEARCH_SIZE];
    size_t n = strlen(field), longest = 0;

    (void)state;
    for (size_t keys = 1; n + 8 < sizeof field; keys++) {
        n += (size_t)snprintf(field + n, sizeof field - n, "\"k%02zu\" ", keys);
        field[n] = ')';
        size_t length = search_name(span_of(field, n + 1), name);
        assert_true(length == 7 || length == 8 + 4 * keys);
        longest = length > longest ? length : longest;
    }
    assert_true(longest > SEARCH_SIZE - 8);
    assert_int_equal(search_name(span_of(field, n + 1), name), 7);
}

struct query {
    const char *text; /* NULL: none */
    int same_as; /* queries of one number are one */
};

static const struct {
    const char *name;
    struct query queries[16];
} cases[] = {
    {"search:", {{NULL, 0}, {"", 1}, {"a", 2}, {"a=", 3}, {"a&", 4}, {"%61", 5}}},
    {"search:-u;",
     {{NULL, 0},
      {"", 0},
      {"u=1", 0},
      {"&&u", 0},
      {"%75=2&u", 0},
      {"a=1", 1},
      {"u&a=1&u=3", 1},
      {"a=%31", 1},
      {"%61=1", 1},
      {"a=1&a=1", 2},
      {"a=1&b", 3},
      {"b&a=1", 4},
      {"U=1", 5},
      {"a", 6},
      {"a=", 6},
      {"a=1&u%00=", 7}}},
    {"search:-a=20b;", {{"a+b=1", 0}, {"a%20b", 0}, {"", 0}, {"a%2Bb", 1}, {"ab", 2}}},
    {"search:k-",
     {{"a=1&b=2", 0},
      {"b=2&a=1", 0},
      {"a=1&b=2&a=3", 1},
      {"a=1&a=3&b=2", 1},
      {"b=2&a=1&a=3", 1},
      {"a=3&a=1&b=2", 2},
      {NULL, 3},
      {"&", 3}}},
    {"search:+q;",
     {{"q=1", 0}, {"x=1&q=1&y", 0}, {"q=2", 1}, {"", 2}, {"x", 2}, {"q=1&q=1", 3}, {"%ff=1", 4}, {"%ff=2", 5}}},
    {"search:+", {{NULL, 0}, {"", 0}, {"a=1&b", 0}}},
    {"search:k+b;a;", {{"a=1&b=2&c", 0}, {"c&b=2&a=1", 0}, {"a=1", 1}}},
    {"search:-u;", {{"a=%zz", 0}, {"a=%25zz", 0}, {"a=%2", 1}, {"a=%", 2}, {"=1", 3}, {"=1&u", 3}, {"=", 4}}},
};

static void digest_of(struct digest *d, const char *name, const char *query, uint8_t out[DIGEST_SIZE])
{
    struct span exactly = exact_str(query ? query : "");

    assert_true(digest_begin(d) && search_digest(d, span_str(name), exactly, query != NULL) && digest_final(d, out));
    exact_free(exactly);
}

static void queries_that_are_one(void **state)
{
    struct digest *d = digest_new();
    uint8_t one[DIGEST_SIZE], other[DIGEST_SIZE];

    (void)state;
    for (size_t c = 0; c < COUNT(cases); c++) {
        const struct query *q = cases[c].queries;
        size_t n = COUNT(cases[c].queries);

        while (n && !q[n - 1].text && !q[n - 1].same_as && n > 1)
            n--;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                digest_of(d, cases[c].name, q[i].text, one);
                digest_of(d, cases[c].name, q[j].text, other);
                if ((memcmp(one, other, sizeof one) == 0) != (q[i].same_as == q[j].same_as))
                    fail_msg("%s: %s and %s", cases[c].name, q[i].text, q[j].text);
            }
    }
    digest_free(d);
}

static void what_is_no_name_has_no_digest(void **state)
{
    static const char *const names[] = {"", "accept", "search", "search:k", "search:x", "search:kk-"};
    struct digest *d = digest_new();

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        assert_false(digest_begin(d) && search_digest(d, span_str(names[i]), SPAN_LITERAL("a"), true));
    digest_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_for_a_field),
        cmocka_unit_test(a_long_field_is_the_default),
        cmocka_unit_test(queries_that_are_one),
        cmocka_unit_test(what_is_no_name_has_no_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
