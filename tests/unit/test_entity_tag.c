/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <regex.h>

#include "etagd/lib/entity_tag.h"
#include "tests/unit/exact.h"

#define TEXT(s) (s), sizeof(s) - 1
#define OURS "dAAAAAAAAAAAAAAAAAAAAAA"

struct one {
    const char *text;
    size_t n;
    const char *opaque; /* NULL: malformed */
    size_t opaque_n;
    bool weak;
};

static const struct one ones[] = {
    {TEXT("\"a\""), TEXT("a"), false},
    {TEXT("\"\""), TEXT(""), false},
    {TEXT("W/\"a\""), TEXT("a"), true},
    {TEXT("W/\"\""), TEXT(""), true},
    {TEXT(" \t\"a\"\t "), TEXT("a"), false},
    {TEXT("\"a,b\""), TEXT("a,b"), false},
    {TEXT("\"a\\\""), TEXT("a\\"), false},
    {TEXT("\"\\\""), TEXT("\\"), false},
    {TEXT("\"!#~\""), TEXT("!#~"), false},
    {TEXT("\"\x80\xe9\xff\""), TEXT("\x80\xe9\xff"), false},
    {TEXT("\"W/\""), TEXT("W/"), false},
    {TEXT("\"*\""), TEXT("*"), false},
    {TEXT(""), NULL, 0, false},
    {TEXT(" "), NULL, 0, false},
    {TEXT("\""), NULL, 0, false},
    {TEXT("W"), NULL, 0, false},
    {TEXT("W/"), NULL, 0, false},
    {TEXT("W/\""), NULL, 0, false},
    {TEXT("W/a"), NULL, 0, false},
    {TEXT("w/\"a\""), NULL, 0, false},
    {TEXT("W /\"a\""), NULL, 0, false},
    {TEXT("W/ \"a\""), NULL, 0, false},
    {TEXT("W\"a\""), NULL, 0, false},
    {TEXT("/\"a\""), NULL, 0, false},
    {TEXT("a"), NULL, 0, false},
    {TEXT("*"), NULL, 0, false},
    {TEXT("\"a"), NULL, 0, false},
    {TEXT("a\""), NULL, 0, false},
    {TEXT("'a'"), NULL, 0, false},
    {TEXT("\"a b\""), NULL, 0, false},
    {TEXT("\"a\tb\""), NULL, 0, false},
    {TEXT("\"a\0b\""), NULL, 0, false},
    {TEXT("\"a\x1f\""), NULL, 0, false},
    {TEXT("\"a\x7f\""), NULL, 0, false},
    {TEXT("\"a\r\n\""), NULL, 0, false},
    {TEXT("\"a\"\""), NULL, 0, false},
    {TEXT("\"a\"b"), NULL, 0, false},
    {TEXT("\"a\\\"b\""), NULL, 0, false},
    {TEXT("\"a\", \"b\""), NULL, 0, false},
    {TEXT("\"a\","), NULL, 0, false},
    {TEXT("W/W/\"a\""), NULL, 0, false},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++) {
        const struct one *c = &ones[i];
        struct span text = exact(c->text, c->n);
        const struct entity_tag before = {SPAN_LITERAL("untouched"), true};
        struct entity_tag tag = before;
        bool ok = entity_tag_parse(text, &tag);

        if (ok != (c->opaque != NULL))
            fail_msg("case %zu <%.*s>: %s", i, (int)c->n, c->text, ok ? "accepted" : "refused");
        if (ok) {
            assert_int_equal(tag.opaque.n, c->opaque_n);
            assert_memory_equal(tag.opaque.p, c->opaque, c->opaque_n);
            assert_int_equal(tag.weak, c->weak);
        } else {
            assert_ptr_equal(tag.opaque.p, before.opaque.p);
            assert_true(tag.weak);
        }
        exact_free(text);
    }
}

struct list_case {
    const char *field;
    size_t n;
    const char *tags; /* the well-formed ones, as sent, each followed by a space */
    unsigned malformed;
};

static const struct list_case lists[] = {
    {TEXT(""), "", 0},
    {TEXT("  ,, ,\t"), "", 0},
    {TEXT("\"a\""), "\"a\" ", 0},
    {TEXT("\"a\",\"b\""), "\"a\" \"b\" ", 0},
    {TEXT("\"a\" , W/\"b\"\t,\"c\""), "\"a\" W/\"b\" \"c\" ", 0},
    {TEXT(",,\"a\",, ,\"b\",,"), "\"a\" \"b\" ", 0},
    {TEXT("\"\""), "\"\" ", 0},
    {TEXT("\"a,b\", \"c\""), "\"a,b\" \"c\" ", 0},
    {TEXT("\",\""), "\",\" ", 0},
    {TEXT("\"\xc3\xa9\", \"b\""), "\"\xc3\xa9\" \"b\" ", 0},
    /* malformed before good */
    {TEXT("abc, \"good\""), "\"good\" ", 1},
    {TEXT("abc,\"good\""), "\"good\" ", 1},
    {TEXT("w/\"zz\", \"good\""), "\"good\" ", 1},
    {TEXT("W/\"zz\", \"good\""), "W/\"zz\" \"good\" ", 0},
    {TEXT("*, \"good\""), "\"good\" ", 1},
    {TEXT("*x, \"good\""), "\"good\" ", 1},
    {TEXT("\"a b\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a b,c\", \"good\""), "\"good\" ", 2},
    {TEXT("\"a\0b\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a\nb\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a\x7f\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a\" x, \"good\""), "\"good\" ", 1},
    {TEXT("\"a\"\"b\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a\" \"b\", \"good\""), "\"good\" ", 1},
    {TEXT("W/, \"good\""), "\"good\" ", 1},
    {TEXT("W, \"good\""), "\"good\" ", 1},
    {TEXT("a, b, c, \"good\", d"), "\"good\" ", 4},
    /* unterminated: the first comma ends it */
    {TEXT("\"abc, \"good\""), "\"good\" ", 1},
    {TEXT("\"abc, def, \"good\""), "\"good\" ", 2},
    {TEXT("\"good\", \"abc"), "\"good\" ", 1},
    {TEXT("\"good\", \""), "\"good\" ", 1},
    {TEXT("\"good\", W/"), "\"good\" ", 1},
    /* a backslash escapes nothing */
    {TEXT("\"a\\\", \"good\""), "\"a\\\" \"good\" ", 0},
    {TEXT("\"a\\\"b\", \"good\""), "\"good\" ", 1},
    {TEXT("\"a\\\"b\",\"good\""), "\"good\" ", 1},
    /* a comma between quotes that close ends nothing */
    {TEXT("\"a,\"b\", \"good\""), "\"good\" ", 1},
    {TEXT("\"x,\"y\",z\", \"good\""), "\"good\" ", 2},
};

/* All of a list in the notation of the table. */
static unsigned read_list(struct span field, char *out, size_t size, size_t *examined)
{
    struct entity_tag_list list;
    struct entity_tag tag;
    size_t n = 0;

    entity_tag_list_start(&list, field);
    while (entity_tag_list_next(&list, &tag)) {
        size_t added = entity_tag_format(out + n, size - n, &tag);

        assert_true(added > 0 && n + added + 1 < size);
        n += added;
        out[n++] = ' ';
    }
    out[n] = '\0';
    assert_int_equal(list.rest.n, 0);
    assert_false(entity_tag_list_next(&list, &tag));
    *examined = list.examined;
    return list.malformed;
}

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct list_case *c = &lists[i];
        struct span field = exact(c->field, c->n);
        char tags[256];
        size_t examined;
        unsigned malformed = read_list(field, tags, sizeof(tags), &examined);

        if (strcmp(tags, c->tags) != 0 || malformed != c->malformed)
            fail_msg("list %zu <%.*s>: <%s>, %u malformed", i, (int)c->n, c->field, tags, malformed);
        exact_free(field);
    }
}

/* The policy once more, as regular expressions: what the loop in C must agree with on any field. */
static unsigned oracle_list(const char *s, char *out)
{
    regex_t tag, whole;
    regmatch_t m[2];
    unsigned malformed = 0;

    assert_int_equal(regcomp(&tag, "^(W/)?\"[!#-~]*\"", REG_EXTENDED), 0);
    assert_int_equal(regcomp(&whole, "^((W/)?\"[!#-~]*\")[ \t]*(,|$)", REG_EXTENDED), 0);
    for (;;) {
        s += strspn(s, " \t,");
        if (!*s)
            break;
        if (regexec(&whole, s, 2, m, 0) == 0) {
            out += sprintf(out, "%.*s ", (int)m[1].rm_eo, s);
            s += m[0].rm_eo;
            continue;
        }
        malformed++;
        if (regexec(&tag, s, 1, m, 0) == 0)
            s += m[0].rm_eo;
        s += strcspn(s, ",");
    }
    *out = '\0';
    regfree(&tag);
    regfree(&whole);
    return malformed;
}

static void test_lists_at_random(void **state)
{
    static const char alphabet[] = "\"\"\"\",,, \tWW/aab\\*\x01";
    uint64_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        char text[40], got[128], want[128];
        size_t n = below(&seed, sizeof(text)), examined;
        struct span field;
        unsigned malformed, wanted;

        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[below(&seed, sizeof(alphabet) - 1)];
        text[n] = '\0';
        field = exact(text, n);
        malformed = read_list(field, got, sizeof(got), &examined);
        want[0] = '\0';
        wanted = oracle_list(text, want);
        if (strcmp(got, want) != 0 || malformed != wanted)
            fail_msg("<%s>: <%s> %u, wanted <%s> %u", text, got, malformed, want, wanted);
        assert_true(examined <= 4 * n);
        exact_free(field);
    }
}

/* Work is counted, not timed: every byte is looked at, and none more than four times. */
static void test_long_lists_are_linear(void **state)
{
    static const char *const units[] = {"\"",         ",",       " ",       "a",     "W/",         "\"a,",  "\"a, ",
                                        "\"a\"",      "\"a\" x", "\"a b,",  "\\\"",  "W/\"",       "\",",   "\"\\\"",
                                        "W/\"a\" , ", "\x01",    "\"\x01,", "a,\"b", "\"a,b,c\"d", "\",\","};
    enum { SIZE = 65536 };

    (void)state;
    for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
        size_t unit = strlen(units[u]), n = 0;
        char *text = malloc(SIZE);
        struct entity_tag_list list;
        struct entity_tag tag;
        struct span field;

        assert_non_null(text);
        while (n + unit <= SIZE) {
            memcpy(text + n, units[u], unit);
            n += unit;
        }
        field = exact(text, n);
        entity_tag_list_start(&list, field);
        while (entity_tag_list_next(&list, &tag))
            ;
        if (list.examined < n || list.examined > 4 * n)
            fail_msg("<%s> repeated: %zu looks at %zu bytes", units[u], list.examined, n);
        exact_free(field);
        free(text);
    }
}

static void test_long_tag(void **state)
{
    enum { SIZE = 65536 };
    char *text = malloc(SIZE);
    struct entity_tag tag;
    struct span field;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', SIZE);
    text[0] = text[SIZE - 1] = '"';
    field = exact(text, SIZE);
    assert_true(entity_tag_parse(field, &tag));
    assert_int_equal(tag.opaque.n, SIZE - 2);
    assert_false(entity_tag_parse(span_of(field.p, SIZE - 1), &tag));
    exact_free(field);
    free(text);
}

static void test_any(void **state)
{
    (void)state;
    assert_true(entity_tag_list_is_any(SPAN_LITERAL("*")));
    assert_true(entity_tag_list_is_any(SPAN_LITERAL(" *\t")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("")));
    assert_false(entity_tag_list_is_any(span_of(NULL, 0)));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("*x")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("**")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("*, \"a\"")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("*,")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("\"*\"")));
    assert_false(entity_tag_list_is_any(SPAN_LITERAL("W/*")));
}

/* The table of RFC 9110 8.8.3.2. */
static void test_comparison(void **state)
{
    const struct entity_tag weak1 = {SPAN_LITERAL("1"), true}, weak2 = {SPAN_LITERAL("2"), true};
    const struct entity_tag strong1 = {SPAN_LITERAL("1"), false}, longer = {SPAN_LITERAL("12"), false};

    (void)state;
    assert_false(entity_tag_eq_strong(&weak1, &weak1));
    assert_true(entity_tag_eq_weak(&weak1, &weak1));
    assert_false(entity_tag_eq_strong(&weak1, &weak2));
    assert_false(entity_tag_eq_weak(&weak1, &weak2));
    assert_false(entity_tag_eq_strong(&weak1, &strong1));
    assert_false(entity_tag_eq_strong(&strong1, &weak1));
    assert_true(entity_tag_eq_weak(&weak1, &strong1));
    assert_true(entity_tag_eq_strong(&strong1, &strong1));
    assert_true(entity_tag_eq_weak(&strong1, &strong1));
    assert_false(entity_tag_eq_strong(&strong1, &longer));
    assert_false(entity_tag_eq_weak(&longer, &strong1));
}

static void test_format(void **state)
{
    const struct entity_tag strong = {SPAN_LITERAL("ab"), false}, weak = {SPAN_LITERAL("ab"), true};
    const struct entity_tag empty = {{NULL, 0}, false}, bad = {SPAN_LITERAL("a\"b"), false};
    const struct entity_tag split = {SPAN_LITERAL("a\r\nb"), false};
    char buf[16];

    (void)state;
    assert_int_equal(entity_tag_format(buf, sizeof(buf), &strong), 4);
    assert_string_equal(buf, "\"ab\"");
    assert_int_equal(entity_tag_format(buf, sizeof(buf), &weak), 6);
    assert_string_equal(buf, "W/\"ab\"");
    assert_int_equal(entity_tag_format(buf, sizeof(buf), &empty), 2);
    assert_string_equal(buf, "\"\"");
    assert_int_equal(entity_tag_format(buf, sizeof(buf), &bad), 0);
    assert_int_equal(entity_tag_format(buf, sizeof(buf), &split), 0);
    /* every size that is too small, in a block of exactly that size */
    for (size_t size = 0; size <= 7; size++) {
        char *block = malloc(size);

        assert_int_equal(entity_tag_format(block, size, &weak), size == 7 ? 6 : 0);
        free(block);
    }
}

static void test_ours(void **state)
{
    (void)state;
    assert_true(entity_tag_is_ours(SPAN_LITERAL(OURS)));
    assert_true(entity_tag_is_ours(SPAN_LITERAL("vAZaz09-_AZaz09-_AZaz09")));
    assert_true(entity_tag_is_ours(SPAN_LITERAL("gAZaz09-_AZaz09-_AZaz09")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL("uAZaz09-_AZaz09-_AZaz09")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL("DAAAAAAAAAAAAAAAAAAAAAA")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL("dAAAAAAAAAAAAAAAAAAAAA+")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL("dAAAAAAAAAAAAAAAAAAAAA=")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL("dAAAAAAAAAAAAAAAAAAAAA")));
    assert_false(entity_tag_is_ours(SPAN_LITERAL(OURS "A")));
    assert_false(entity_tag_is_ours(span_of(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_lists_at_random),
        cmocka_unit_test(test_long_lists_are_linear),
        cmocka_unit_test(test_long_tag),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
