/* SPDX-License-Identifier: Apache-2.0 */
/* Entries as text in Redis: every entry comes back as it was, and nothing else is taken for one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "etagd/entry_text.h"

#define SPAN SPAN_LITERAL

static const char base[16] = {0x00, (char)0xff, 'a', ' ', '\n', 0x7f, '%', 1, 2, 3, 4, 5, 6, 7, 8, 9};

static struct entry_text *text_of(enum entry_kind kind, struct span tag)
{
    struct entry_text *t = calloc(1, sizeof *t);

    assert_non_null(t);
    t->epoch = SPAN("0123456789abcdef");
    t->as_of = (struct log_id){1795310948748, 2};
    t->entry = (struct entry){.kind = kind, .flags = ENTRY_WEAK, .last_modified = 1700000000, .tag = tag};
    t->capsule = SPAN("00112233445566778899aabbccddeeff");
    return t;
}

static void round_trip(struct entry_text *t)
{
    struct entry_text *back = malloc(sizeof *back);
    char buf[ENTRY_TEXT_MAX];
    size_t n = entry_text_write(buf, sizeof buf, t), tags = 0, groups = 0;

    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        assert_true(buf[i] >= ' ' && buf[i] <= '~');
    assert_true(entry_text_read(span_of(buf, n), back));
    assert_true(span_eq(back->epoch, t->epoch) && log_id_cmp(back->as_of, t->as_of) == 0);
    assert_true(back->entry.kind == t->entry.kind && back->entry.flags == t->entry.flags);
    assert_true(back->entry.last_modified == t->entry.last_modified && span_eq(back->entry.tag, t->entry.tag));
    assert_true(span_eq(back->capsule, t->capsule));
    for (size_t i = 0; i < t->ntags; i++)
        if (t->tags[i].n)
            assert_true(span_eq(back->tags[tags++], t->tags[i]));
    for (size_t i = 0; i < t->ngroups; i++)
        if (t->groups[i].n)
            assert_true(span_eq(back->groups[groups++], t->groups[i]));
    assert_int_equal(back->ntags, tags);
    assert_int_equal(back->ngroups, groups);
    assert_int_equal(entry_text_write(buf, n - 1, t), 0);
    free(back);
    free(t);
}

static void texts_round_trip(void **state)
{
    struct entry_text *t;

    (void)state;
    round_trip(text_of(ENTRY_DIGEST, span_of(base, sizeof base)));
    round_trip(text_of(ENTRY_GENERATION, span_of(base, sizeof base)));
    round_trip(text_of(ENTRY_MODIFIED, SPAN("0123456789abcdefghijklmnopqrstuvwxyz\xff \n%")));
    round_trip(text_of(ENTRY_UPSTREAM, SPAN("W/\"a b%\t\xff\"")));
    t = text_of(ENTRY_NAMES, SPAN(""));
    t->entry.last_modified = ENTRY_UNDATED;
    t->capsule = SPAN("");
    round_trip(t);
    t = text_of(ENTRY_VERSION, span_of(base, sizeof base));
    t->entry.last_modified = -5;
    t->tags[0] = SPAN("product-42");
    t->tags[1] = SPAN("@group?"); /* a tag that looks like a group stays a tag */
    t->tags[2] = SPAN("with space, comma and 100%");
    t->tags[3] = SPAN("");
    t->tags[4] = span_of(base, sizeof base);
    t->ntags = 5;
    t->groups[0] = SPAN("@");
    t->groups[1] = SPAN("news \r\n SET x y");
    t->ngroups = 2;
    round_trip(t);
}

static void malformed_texts_are_no_entries(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        "2 e 1-1 u:\"x\" 0 - -",
        " 1 e 1-1 u:\"x\" 0 - -",
        "1  e 1-1 u:\"x\" 0 - -",
        "1 e 1-1 u:\"x\" 0 - - ",
        "1 e 1-1 u:\"x\" 0 -",
        "1 e 1-1 u:\"x\" 8 - -",
        "1 e 1-1 u:\"x\" -1 - -",
        "1 e 1-1 u:\"x\" 0 9223372036854775808 -",
        "1 e 1-1 u:\"x\" 0 - abc",
        "1 e 1-1 u:\"x\" 0 - 00112233445566778899AABBCCDDEEFF",
        "1 e 1-1 u:\"x%\" 0 - -",
        "1 e 1-1 u:\"x%4\" 0 - -",
        "1 e 1-1 u:\"x%zz\" 0 - -",
        "1 e 1-1 u:\"x\"\n 0 - -",
        "1 e 1 u:\"x\" 0 - -",
        "1 e 1-1 F:AAAA 0 - -",
        "1 e 1-1 x:AAAA 0 - -",
        "1 e 1-1 d: 0 - -",
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAA 0 - -",
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAAB 0 - -", /* bits behind the 128th */
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAA* 0 - -",
        "1 e 1-1 M:AAAAAAAAAAAAAAAAAAAAAA 0 - -",
        "1 e 1-1 M:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB 0 - -",
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA 0 - -",
        "1 e 1-1 N:b,a 0 - -",
        "1 e 1-1 N:a,,b 0 - -",
        "1 e 1-1 N:a,a 0 - -",
        "1 e 1-1 N:,a 0 - -",
        "1 e 1-1 N:a, 0 - -",
        "1 e 1-1 u:\"x\" 0 - - @",
        "1 e 1-1 u:\"x\" 0 - - a  b",
    };
    struct entry_text *t = malloc(sizeof *t);
    char *many = malloc(ENTRY_TEXT_MAX + 64);
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (entry_text_read(span_str(bad[i]), t))
            fail_msg("taken: %s", bad[i]);
    }
    assert_true(entry_text_read(SPAN("1 e 1-1 u:\"x\" 0 - - a @b"), t));
    n = (size_t)sprintf(many, "1 e 1-1 u:\"x\" 0 - -");
    for (int i = 0; i <= ENTRY_TEXT_NAMES; i++)
        n += (size_t)sprintf(many + n, " t%d", i);
    assert_false(entry_text_read(span_of(many, n), t));
    memset(many, 'a', ENTRY_TEXT_MAX + 1);
    memcpy(many, "1 e 1-1 u:\"x\" 0 - - ", 20);
    assert_false(entry_text_read(span_of(many, ENTRY_TEXT_MAX + 1), t));
    assert_true(entry_text_read(span_of(many, ENTRY_TEXT_MAX), t));
    free(many);
    free(t);
}

static void texts_that_cannot_be_stored(void **state)
{
    struct entry_text *t = text_of(ENTRY_FILE, SPAN("01234567890123456789012345678901"));
    char buf[ENTRY_TEXT_MAX];

    (void)state;
    assert_int_equal(entry_text_write(buf, sizeof buf, t), 0);
    t->entry.kind = ENTRY_DIGEST; /* of another length */
    assert_int_equal(entry_text_write(buf, sizeof buf, t), 0);
    free(t);
}

static void names_are_united(void **state)
{
    static const struct {
        const char *a, *b, *both;
    } cases[] = {
        {"", "", ""},
        {"a", "", "a"},
        {"", "a,b", "a,b"},
        {"a,c", "b", "a,b,c"},
        {"a,b", "a,b", "a,b"},
        {"accept,accept-language", "accept-language,cookie:x", "accept,accept-language,cookie:x"},
        {"a", "a-b,ab", "a,a-b,ab"},
    };
    char out[64];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int swap = 0; swap < 2; swap++) {
            struct span a = span_str(swap ? cases[i].b : cases[i].a), b = span_str(swap ? cases[i].a : cases[i].b);

            assert_true(entry_text_names_union(a, b, out, sizeof out, &n));
            assert_true(span_eq(span_of(out, n), span_str(cases[i].both)));
            assert_true(entry_text_names_valid(span_of(out, n)));
        }
    }
    assert_false(entry_text_names_union(SPAN("aaaa"), SPAN("b"), out, 5, &n));
    assert_false(entry_text_names_valid(SPAN("b,a")));
    assert_false(entry_text_names_valid(SPAN("a b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_round_trip),
        cmocka_unit_test(malformed_texts_are_no_entries),
        cmocka_unit_test(texts_that_cannot_be_stored),
        cmocka_unit_test(names_are_united),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
