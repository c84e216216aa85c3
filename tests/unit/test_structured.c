/* SPDX-License-Identifier: Apache-2.0 */
/* Structured fields (RFC 9651): what is well-formed, and what each value is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etagd/lib/structured.h"
#include "tests/unit/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *field;
    enum structured_result result; /* of the key "a" */
    enum structured_type type;
    int64_t number;
    const char *text;
} members[] = {
    {"", STRUCTURED_EMPTY, 0, 0, ""},
    {"  ", STRUCTURED_EMPTY, 0, 0, ""},
    {"b", STRUCTURED_ABSENT, 0, 0, ""},
    {"b=?0, aa=1", STRUCTURED_ABSENT, 0, 0, ""},
    {"a", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 1, ""},
    {" a ", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 1, ""},
    {"a;x;y=1;z=\"q,;\", b", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 1, ""},
    {"a=?0", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 0, "?0"},
    {"a=?1;x", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 1, "?1"},
    {"a=60", STRUCTURED_FOUND, STRUCTURED_INTEGER, 60, "60"},
    {"a=1,a=2 \t, \ta=3", STRUCTURED_FOUND, STRUCTURED_INTEGER, 3, "3"},
    {"a=-0", STRUCTURED_FOUND, STRUCTURED_INTEGER, 0, "-0"},
    {"a=007", STRUCTURED_FOUND, STRUCTURED_INTEGER, 7, "007"},
    {"a=999999999999999", STRUCTURED_FOUND, STRUCTURED_INTEGER, 999999999999999, "999999999999999"},
    {"a=-999999999999999", STRUCTURED_FOUND, STRUCTURED_INTEGER, -999999999999999, "-999999999999999"},
    {"a=1000000000000000", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=1.5", STRUCTURED_FOUND, STRUCTURED_DECIMAL, 1, "1.5"},
    {"a=123456789012.123", STRUCTURED_FOUND, STRUCTURED_DECIMAL, 123456789012, "123456789012.123"},
    {"a=1234567890123.1", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=1.1234", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=1.", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=.5", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=-", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=--1", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=+1", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=\"x, y\"", STRUCTURED_FOUND, STRUCTURED_STRING, 0, "x, y"},
    {"a=\"\"", STRUCTURED_FOUND, STRUCTURED_STRING, 0, ""},
    {"a=\"\\\"\\\\\"", STRUCTURED_FOUND, STRUCTURED_STRING, 0, "\\\"\\\\"},
    {"a=\"\\x\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=\"\\", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=\"x", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=\"\xc3\xa9\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=\"\t\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=none", STRUCTURED_FOUND, STRUCTURED_TOKEN, 0, "none"},
    {"a=*/:x", STRUCTURED_FOUND, STRUCTURED_TOKEN, 0, "*/:x"},
    {"a=:aGk=:", STRUCTURED_FOUND, STRUCTURED_BYTES, 0, ":aGk=:"},
    {"a=:a.:", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=:aGk=", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=?2", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=?", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=@1659578233", STRUCTURED_FOUND, STRUCTURED_DATE, 1659578233, "@1659578233"},
    {"a=@1.5", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%\"f%c3%bc\"", STRUCTURED_FOUND, STRUCTURED_DISPLAY, 0, "%\"f%c3%bc\""},
    {"a=%\"f%C3%BC\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%\"%c3\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%\"%c0%80\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%\"%ed%a0%80\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%\"%e2%82%ac%f0%9f%98%80%22\"", STRUCTURED_FOUND, STRUCTURED_DISPLAY, 0, "%\"%e2%82%ac%f0%9f%98%80%22\""},
    {"a=%\"%e2%82", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=%x", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=()", STRUCTURED_FOUND, STRUCTURED_INNER_LIST, 0, ""},
    {"a=( \"x\"  y;z=1 );w, b", STRUCTURED_FOUND, STRUCTURED_INNER_LIST, 0, " \"x\"  y;z=1 "},
    {"a=(\"x\"y)", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=(\"x\",\"y\")", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=(\"x\"", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=((x))", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a= 1", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a =1", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a,", STRUCTURED_MALFORMED, 0, 0, ""},
    {",a", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a,,b", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a b", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a;", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a;X", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a;x=", STRUCTURED_MALFORMED, 0, 0, ""},
    {"A", STRUCTURED_MALFORMED, 0, 0, ""},
    {"1a", STRUCTURED_MALFORMED, 0, 0, ""},
    {"a=1, B=2", STRUCTURED_MALFORMED, 0, 0, ""},
    {"*b.-_*1, a", STRUCTURED_FOUND, STRUCTURED_BOOLEAN, 1, ""},
    {"a=1;b=(c)", STRUCTURED_MALFORMED, 0, 0, ""},
};

static void members_of_a_dictionary(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(members); i++) {
        struct span field = exact_str(members[i].field);
        struct structured got = {.number = 0};
        enum structured_result result = structured_member(field, SPAN_LITERAL("a"), &got);

        if (result != members[i].result)
            fail_msg("%s: %d, not %d", members[i].field, (int)result, (int)members[i].result);
        if (result == STRUCTURED_FOUND && (got.type != members[i].type || got.number != members[i].number ||
                                           !span_eq(got.text, span_str(members[i].text))))
            fail_msg("%s: type %d, %lld, %.*s", members[i].field, (int)got.type, (long long)got.number, (int)got.text.n,
                     got.text.n ? got.text.p : "");
        exact_free(field);
    }
}

/* A field cut off at any byte is read within its bounds; a NUL is nothing that ends it. */
static void cut_anywhere(void **state)
{
    static const char whole[] = "a=(\"x\\\"\" :YQ==: %\"%e2%82%ac\" 1.5;p=\"q\");r, b=@12;c=?1, d=tok/en, e=\"s\"";

    (void)state;
    for (size_t n = 0; n < sizeof whole; n++) { /* sanitizers see a step beyond */
        struct span field = exact(whole, n);
        struct structured got;

        structured_member(field, SPAN_LITERAL("z"), &got);
        exact_free(field);
    }
    assert_int_equal(structured_member(span_of("a\0", 2), SPAN_LITERAL("a"), &(struct structured){.number = 0}),
                     STRUCTURED_MALFORMED);
}

static void items_of_an_inner_list(void **state)
{
    struct span inner = SPAN_LITERAL(" \"a b\";x=1  tok \"\\\\c\" ");
    struct structured item;
    char text[8];

    (void)state;
    assert_true(structured_item(&inner, &item));
    assert_int_equal(item.type, STRUCTURED_STRING);
    assert_true(span_eq(item.text, SPAN_LITERAL("a b")));
    assert_true(structured_item(&inner, &item));
    assert_int_equal(item.type, STRUCTURED_TOKEN);
    assert_true(structured_item(&inner, &item));
    assert_true(span_eq(span_of(text, structured_string(item.text, text)), SPAN_LITERAL("\\c")));
    assert_false(structured_item(&inner, &item));
}

static const struct {
    const char *field;
    size_t members;
    bool whole;
} lists[] = {{"", 0, true},
             {"a", 1, true},
             {"\"a\", \"b\" ,c", 3, true},
             {"a, (b c);d, 1", 3, true},
             {"a,", 0, false},
             {"a b", 0, false},
             {"a, b,", 1, false},
             {"a, \"b", 1, false},
             {"(a", 0, false},
             {"\"a\";x=\"b,c\", d", 2, true}};

static void members_of_a_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++) {
        struct span field = exact_str(lists[i].field), rest = field;
        struct structured member;
        size_t n = 0;

        while (structured_list(&rest, &member))
            n++;
        if (n != lists[i].members || (rest.n == 0) != lists[i].whole)
            fail_msg("%s: %zu members, %zu bytes left", lists[i].field, n, rest.n);
        exact_free(field);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_a_dictionary),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(items_of_an_inner_list),
        cmocka_unit_test(members_of_a_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
