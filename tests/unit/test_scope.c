/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of scopes, by tables. Whether they meet where they must is test_scope_cover.c's question.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/exact.h"
#include "tests/unit/scope_set.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(s) (s), sizeof(s) - 1

/* ---- operations ---- */

static const struct {
    const char *op, *arg;
    size_t arg_n;
    const char *text; /* NULL: all, and widened */
    bool any_tag, widened;
} operations[] = {
    {"url", TEXT("h/p"), "Uh/p", false, false},
    {"url", TEXT("h/p?q"), "Uh/p?q", false, false},
    {"url", TEXT("h/p?"), "Uh/p?", false, false},
    {"url", TEXT("h/p/"), "Uh/p/", false, false},
    {"url", TEXT("h"), "Uh/", false, false},
    {"url", TEXT("https://WWW.Example.com:443/P"), "Uwww.example.com/P", false, false},
    {"url", TEXT("http://h/p"), "Uh/p", false, false},
    {"url", TEXT("h:80/p"), "Uh/p", false, false},
    {"url", TEXT("h:443/p"), "Uh/p", false, false},
    {"url", TEXT("https://h:80/p"), "Uh/p", false, false},
    {"url", TEXT("h:8080/p"), "Uh/p", false, false},
    {"url", TEXT("[::1]:8080/p"), "U[::1]/p", false, false},
    {"url", TEXT("[::1]/p"), "U[::1]/p", false, false},
    {"url", TEXT("web01/p"), "Uweb01/p", false, false},
    {"url", TEXT("10.0.0.80/p"), "U10.0.0.80/p", false, false},
    {"url", TEXT(" h/p "), "Uh/p", false, false},
    {"url", TEXT("h/p#d1"), "Uh/p", false, false},
    {"url", TEXT("h//a///b"), "Uh/a/b", false, false},
    {"url", TEXT("h/%61%2Fb"), "Uh/a/b", false, false},
    {"url", TEXT("h/a b{c}"), "Uh/a%20b%7Bc%7D", false, false},
    {"url", TEXT("h/a%20b%7bc%7d"), "Uh/a%20b%7Bc%7D", false, false},
    {"url", TEXT("h/\xc3\xa9"), "Uh/%C3%A9", false, false},
    {"url", TEXT("h/a%3fb%23%25"), "Uh/a%3Fb%23%25", false, false},
    {"url", TEXT("h/p?a=%41&b=100%"), "Uh/p?a=A&b=100%25", false, false},
    {"url", TEXT("h/a/*"), "Ph/a", false, true},
    {"url", TEXT("h/*"), "Hh", false, true},
    {"url", TEXT("h/a*"), "Uh/a*", false, false},
    {"url", TEXT("h/a/*?q"), "Uh/a/*?q", false, false},
    {"url", TEXT("/p"), NULL, false, true},
    {"url", TEXT(""), NULL, false, true},
    {"url", TEXT("h/a/../b"), NULL, false, true},
    {"url", TEXT("h/a\nb"), NULL, false, true},
    {"url", TEXT("h/p\n"), NULL, false, true},
    {"url", TEXT("h/a\0b"), NULL, false, true},
    {"url", TEXT("u@h/p"), NULL, false, true},
    {"url", TEXT("ftp://h/p"), NULL, false, true},
    {"url", TEXT("h:x/p"), NULL, false, true},
    {"url", TEXT("h/100%"), NULL, false, true},
    {"prefix", TEXT("h/a"), "Ph/a", false, false},
    {"prefix", TEXT("h/a/"), "Ph/a", false, false},
    {"prefix", TEXT("https://h/a//b//"), "Ph/a/b", false, false},
    {"prefix", TEXT("h:8080/a/"), "Ph/a", false, false},
    {"prefix", TEXT("h/a?q"), "Ph/a", false, true},
    {"prefix", TEXT("h/a/*"), "Ph/a", false, true},
    {"prefix", TEXT("h/"), "Hh", false, false},
    {"prefix", TEXT("h"), "Hh", false, false},
    {"prefix", TEXT("h:8080/"), "Hh", false, false},
    {"prefix", TEXT("h/1/2/3/4/5/6/7/8"), "Ph/1/2/3/4/5/6/7/8", false, false},
    {"prefix", TEXT("h/1/2/3/4/5/6/7/8/"), "Ph/1/2/3/4/5/6/7/8", false, false},
    {"prefix", TEXT("h/1/2/3/4/5/6/7/8/9"), "Ph/1/2/3/4/5/6/7/8", false, true},
    {"prefix", TEXT("/a/"), NULL, false, true},
    {"prefix", TEXT(""), NULL, false, true},
    {"host", TEXT("WWW.example.com"), "Hwww.example.com", false, false},
    {"host", TEXT("https://h/"), "Hh", false, false},
    {"host", TEXT("h."), "Hh", false, false},
    {"host", TEXT("h:443"), "Hh", false, false},
    {"host", TEXT("h:8080"), "Hh", false, false},
    {"host", TEXT("[0:0::1]"), "H[::1]", false, false},
    {"host", TEXT("h/p"), NULL, false, true},
    {"host", TEXT("h?"), NULL, false, true},
    {"host", TEXT("*.example.com"), NULL, false, true},
    {"host", TEXT(""), NULL, false, true},
    {"tag", TEXT("product-42"), "Tproduct-42", true, false},
    {"tag", TEXT(" product-42 "), "Tproduct-42", true, false},
    {"tag", TEXT("Product/42?x"), "TProduct/42?x", true, false},
    {"tag", TEXT("\xc3\xa9"), "T\xc3\xa9", true, false},
    {"tag", TEXT(""), NULL, false, true},
    {"tag", TEXT(" "), NULL, false, true},
    {"tag", TEXT("a b"), NULL, false, true},
    {"tag", TEXT("a,b"), NULL, false, true},
    {"tag", TEXT("a\n"), NULL, false, true},
    {"tag", TEXT("*"), NULL, false, true},
    {"tag", TEXT("product-*"), NULL, false, true},
    {"group", TEXT("www.Example.com product-42"), "Gwww.example.com product-42", true, false},
    {"group", TEXT("https://h/ my group"), "Gh my group", true, false},
    {"group", TEXT("h:8080 g"), "Gh g", true, false},
    {"group", TEXT("h  g "), "Gh g", true, false},
    {"group", TEXT("product-42"), NULL, false, true},
    {"group", TEXT("h "), NULL, false, true},
    {"group", TEXT("h/p g"), NULL, false, true},
    {"group", TEXT("h g*"), NULL, false, true},
    {"group", TEXT(""), NULL, false, true},
    /* any other field */
    {"ulr", TEXT("h/p"), NULL, false, true},
    {"URL", TEXT("h/p"), NULL, false, true},
    {"url ", TEXT("h/p"), NULL, false, true},
    {"urls", TEXT("h/p"), NULL, false, true},
    {"ur", TEXT("h/p"), NULL, false, true},
    {"", TEXT("h/p"), NULL, false, true},
    {"x", TEXT("1"), NULL, false, true},
    {"x_", TEXT("1"), NULL, false, true},
    {"purge", TEXT("h/p"), NULL, false, true},
};

static void test_operations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(operations); i++) {
        struct span op = exact_str(operations[i].op), arg = exact(operations[i].arg, operations[i].arg_n);
        const char *want = operations[i].text;
        struct scope s;

        memset(&s, 0x55, sizeof(s));
        scope_from_operation(op, arg, &s);
        if (s.kind != (want ? SCOPE_ONE : SCOPE_ALL) || strcmp(s.text, want ? want : "") != 0 ||
            s.any_tag != operations[i].any_tag || s.widened != operations[i].widened)
            fail_msg("%s <%s>: kind %d <%s> any_tag %d widened %d", operations[i].op, operations[i].arg, (int)s.kind,
                     s.text, s.any_tag, s.widened);
        assert_int_equal(s.n, strlen(s.text));
        exact_free(op);
        exact_free(arg);
    }
}

static void test_other_kinds(void **state)
{
    static const char *const ignored[] = {"by", "why", "note", "epoch", "x-", "x-ticket", "x-*"};
    static const struct {
        const char *arg;
        enum scope_kind kind;
        uint64_t ms;
    } settles[] = {
        {"0", SCOPE_SETTLE, 0},
        {"500", SCOPE_SETTLE, 500},
        {"0086400000", SCOPE_SETTLE, 86400000},
        {"86400001", SCOPE_ALL, 0},
        {"18446744073709551616", SCOPE_ALL, 0},
        {"99999999999999999999999999999999", SCOPE_ALL, 0},
        {"", SCOPE_ALL, 0},
        {"-1", SCOPE_ALL, 0},
        {"5s", SCOPE_ALL, 0},
        {" 5", SCOPE_ALL, 0},
        {"0x10", SCOPE_ALL, 0},
    };
    struct scope s;

    (void)state;
    for (size_t i = 0; i < COUNT(ignored); i++) {
        scope_from_operation(span_str(ignored[i]), SPAN_LITERAL("h/p"), &s);
        assert_int_equal(s.kind, SCOPE_NONE);
        assert_false(s.widened);
    }
    for (size_t i = 0; i < COUNT(settles); i++) {
        struct span arg = exact_str(settles[i].arg);

        scope_from_operation(SPAN_LITERAL("settle"), arg, &s);
        if (s.kind != settles[i].kind || s.settle_ms != settles[i].ms || s.widened != (s.kind == SCOPE_ALL))
            fail_msg("settle <%s>: %d %llu", settles[i].arg, (int)s.kind, (unsigned long long)s.settle_ms);
        exact_free(arg);
    }
    scope_from_operation(SPAN_LITERAL("all"), SPAN_LITERAL("1"), &s);
    assert_int_equal(s.kind, SCOPE_ALL);
    assert_false(s.widened);
    scope_from_operation(SPAN_LITERAL("all"), span_of(NULL, 0), &s);
    assert_int_equal(s.kind, SCOPE_ALL);
}

/* The table is the only list: each row says what it does, and an example of its argument does that. */
static void test_table(void **state)
{
    static const struct {
        const char *argument, *example;
    } examples[] = {
        {"h/p[?q]", "h/p?q"}, {"h/p", "h/p"}, {"h", "h"},    {"name", "t"}, {"\"h name\"", "h name"},
        {"1", "1"},           {"ms", "100"},  {"text", "x"}, {"id", "x"},    {"\"name value\"", "Patient 8123"},
    };
    size_t n;
    const struct scope_operation *o = scope_operations(&n);

    (void)state;
    assert_int_equal(n, 13);
    for (size_t i = 0; i < n; i++) {
        const char *example = NULL;
        struct scope s;

        for (size_t e = 0; e < COUNT(examples); e++)
            if (strcmp(o[i].argument, examples[e].argument) == 0)
                example = examples[e].example;
        assert_non_null(example);
        scope_from_operation(span_str(o[i].name), span_str(example), &s);
        assert_int_equal(s.kind, o[i].kind);
        assert_false(s.widened);
        assert_true(strlen(o[i].help) > 5);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(o[i].name, o[j].name);
    }
}

/* A name that fits no scope is not cut: it is all. */
static void test_long_arguments(void **state)
{
    char text[9000];
    struct scope s;

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t n = SCOPE_TEXT - 10; n < SCOPE_TEXT + 10; n++) {
        struct span tag = exact(text, n);

        scope_from_operation(SPAN_LITERAL("tag"), tag, &s);
        assert_int_equal(s.kind, n + 1 < SCOPE_TEXT ? SCOPE_ONE : SCOPE_ALL);
        assert_int_equal(s.widened, s.kind == SCOPE_ALL);
        exact_free(tag);
    }
    memcpy(text, "h ", 2);
    scope_from_operation(SPAN_LITERAL("group"), span_of(text, SCOPE_TEXT + 50), &s);
    assert_int_equal(s.kind, SCOPE_ALL);
    memcpy(text, "h/", 2);
    scope_from_operation(SPAN_LITERAL("url"), span_of(text, sizeof(text)), &s);
    assert_int_equal(s.kind, SCOPE_ALL);
    scope_from_operation(SPAN_LITERAL("host"), span_of(text + 2, sizeof(text) - 2), &s);
    assert_int_equal(s.kind, SCOPE_ALL);
    /* A query as long as that stands for every query. */
    memcpy(text, "h/p?", 4);
    scope_from_operation(SPAN_LITERAL("url"), span_of(text, sizeof(text)), &s);
    assert_int_equal(s.kind, SCOPE_ONE);
    assert_string_equal(s.text, "Uh/p");
    assert_true(s.widened);
    memset(text + 4, '%', 1000);
    scope_from_operation(SPAN_LITERAL("url"), span_of(text, 1004), &s);
    assert_string_equal(s.text, "Uh/p");
    assert_true(s.widened);
}

/* ---- scopes of a record ---- */

static void test_scopes_of_key(void **state)
{
    static const struct {
        const char *key, *scopes; /* joined by a space; "" when the key does not parse */
    } cases[] = {
        {"https://h/a/b?q", "Hh Ph/a Ph/a/b Uh/a/b Uh/a/b?q"},
        {"https://h:8080/a/b?q", "Hh Ph/a Ph/a/b Uh/a/b Uh/a/b?q"},
        {"h/a/b?q", "Hh Ph/a Ph/a/b Uh/a/b Uh/a/b?q"},
        {"https://h/a/b?q#d1,gzip", "Hh Ph/a Ph/a/b Uh/a/b Uh/a/b?q"},
        {"https://h/#v", "Hh Uh/"},
        {"http://h:443/a", "Hh Ph/a Uh/a"},
        {"h:443/a", "Hh Ph/a Uh/a"},
        {"https://h/a/", "Hh Ph/a Uh/a/"},
        {"https://h/a//b", "Hh Ph/a Ph/a/b Uh/a/b"},
        {"https://h/?", "Hh Uh/ Uh/?"},
        {"https://[::1]:8080/a", "H[::1] P[::1]/a U[::1]/a"},
        {"https://h/%61%2fb%20", "Hh Ph/a Ph/a/b%20 Uh/a/b%20"},
        {"https://h/1/2/3/4/5/6/7/8/9",
         "Hh Ph/1 Ph/1/2 Ph/1/2/3 Ph/1/2/3/4 Ph/1/2/3/4/5 Ph/1/2/3/4/5/6 Ph/1/2/3/4/5/6/7 Ph/1/2/3/4/5/6/7/8 "
         "Uh/1/2/3/4/5/6/7/8/9"},
        {"", ""},
        {"/a", ""},
        {"https://h/a/../b", ""},
        {"#v", ""},
        {"dev:inode:file identity", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct span key = exact_str(cases[i].key);
        struct set set;
        char got[1024] = "";

        scopes_of(key, NULL, 0, NULL, 0, &set);
        for (size_t s = 0; s < set.n; s++) {
            strcat(got, s ? " " : "");
            strcat(got, set.scope[s].text);
        }
        if (strcmp(got, cases[i].scopes) != 0)
            fail_msg("<%s>: <%s>", cases[i].key, got);
        exact_free(key);
    }
}

/* n tags and m groups on a record with a few scopes or with the most its path can have. */
static void check_names(const char *key, size_t base, size_t ntags, size_t ngroups)
{
    static char names[80][8];
    struct span tags[40], groups[40];
    struct set set;
    bool fits = base + ntags + ngroups <= SCOPE_MAX;

    for (size_t i = 0; i < 40; i++) {
        tags[i] = span_of(names[i], (size_t)sprintf(names[i], "t%zu", i));
        groups[i] = span_of(names[40 + i], (size_t)sprintf(names[40 + i], "g%zu", i));
    }
    scopes_of(span_str(key), tags, ntags, groups, ngroups, &set);
    assert_int_equal(set.n, fits ? base + ntags + ngroups : SCOPE_MAX);
    assert_int_equal(set_has(&set, "T*"), !fits);
    /* Every tag and group kills it, whether it found its place or not. */
    for (size_t i = 0; i < ntags + ngroups; i++) {
        char arg[16];
        struct scope op;

        if (i < ntags)
            scope_from_operation(SPAN_LITERAL("tag"), tags[i], &op);
        else
            scope_from_operation(SPAN_LITERAL("group"), span_of(arg, (size_t)sprintf(arg, "h g%zu", i - ntags)), &op);
        assert_int_equal(op.kind, SCOPE_ONE);
        assert_true(kills(&op, &set));
    }
    if (fits) {
        struct scope op;

        scope_from_operation(SPAN_LITERAL("tag"), SPAN_LITERAL("other"), &op);
        assert_false(kills(&op, &set));
        scope_from_operation(SPAN_LITERAL("group"), SPAN_LITERAL("other g0"), &op);
        assert_false(kills(&op, &set));
    }
}

static void test_tags_and_groups(void **state)
{
    (void)state;
    for (size_t ntags = 0; ntags <= 40; ntags++) {
        for (size_t ngroups = 0; ngroups <= 40; ngroups += 4) {
            check_names("https://h/", 2, ntags, ngroups);
            check_names("https://h/1/2/3/4/5/6/7/8/9?q", 11, ntags, ngroups);
        }
    }
}

static void test_odd_names(void **state)
{
    char huge[SCOPE_TEXT];
    const struct span tags[] = {SPAN_LITERAL(""), SPAN_LITERAL(" a "), span_of(huge, sizeof(huge))};
    const struct span groups[] = {SPAN_LITERAL(" my group ")};
    struct set set;

    (void)state;
    memset(huge, 'x', sizeof(huge));
    scopes_of(SPAN_LITERAL("h/"), tags, 2, groups, 1, &set);
    assert_int_equal(set.n, 4);
    assert_true(set_has(&set, "Ta"));
    assert_true(set_has(&set, "Gh my group"));
    /* A tag too long for a text is one that does not fit. */
    scopes_of(SPAN_LITERAL("h/"), tags, 3, NULL, 0, &set);
    assert_true(set_has(&set, "Ta"));
    assert_true(set_has(&set, "T*"));
    scopes_of(SPAN_LITERAL("h/"), NULL, 0, tags + 2, 1, &set);
    assert_true(set_has(&set, "T*"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),    cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_table),         cmocka_unit_test(test_long_arguments),
        cmocka_unit_test(test_scopes_of_key), cmocka_unit_test(test_tags_and_groups),
        cmocka_unit_test(test_odd_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
