/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "etagd/lib/coding.h"
#include "tests/unit/exact.h"

#define OURS "d-gzip0-_AZaz09-_AZaz09" /* base64url has "-": the suffix is where our length ends */

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < CODING_COUNT; i++) {
        enum coding c = (enum coding)i, back;
        struct span name = coding_name(c), suffix = coding_suffix(c);

        assert_true(coding_parse(name, &back));
        assert_int_equal(back, c);
        if (c == CODING_IDENTITY) {
            assert_int_equal(suffix.n, 0);
            continue;
        }
        assert_int_equal(suffix.p[0], '-');
        assert_true(span_eq(span_of(suffix.p + 1, suffix.n - 1), name));
    }
}

static void test_parse(void **state)
{
    enum coding c = CODING_COUNT;

    (void)state;
    assert_true(coding_parse(SPAN_LITERAL("X-GZip"), &c));
    assert_int_equal(c, CODING_GZIP);
    assert_true(coding_parse(SPAN_LITERAL("BR"), &c));
    assert_int_equal(c, CODING_BR);
    assert_false(coding_parse(SPAN_LITERAL("deflate"), &c));
    assert_false(coding_parse(SPAN_LITERAL("gzipx"), &c));
    assert_false(coding_parse(SPAN_LITERAL("gzi"), &c));
    assert_false(coding_parse(SPAN_LITERAL(""), &c));
    assert_false(coding_parse(SPAN_LITERAL("*"), &c));
    assert_int_equal(c, CODING_BR);
}

static const struct {
    const char *opaque, *base;
    bool ours;
    enum coding coding;
} splits[] = {
    {OURS, OURS, true, CODING_IDENTITY},
    {OURS "-gzip", OURS, true, CODING_GZIP},
    {OURS "-br", OURS, true, CODING_BR},
    {OURS "-zstd", OURS, true, CODING_ZSTD},
    /* at most one suffix, and spelled as the filters write it */
    {OURS "-gzip-gzip", OURS "-gzip-gzip", false, CODING_IDENTITY},
    {OURS "-gzip-br", OURS "-gzip-br", false, CODING_IDENTITY},
    {OURS "-GZIP", OURS "-GZIP", false, CODING_IDENTITY},
    {OURS "-gzi", OURS "-gzi", false, CODING_IDENTITY},
    {OURS "-gzipx", OURS "-gzipx", false, CODING_IDENTITY},
    {OURS "-", OURS "-", false, CODING_IDENTITY},
    {OURS "gzip", OURS "gzip", false, CODING_IDENTITY},
    {OURS "-identity", OURS "-identity", false, CODING_IDENTITY},
    /* an application's own tags are never mangled */
    {"x-gzip", "x-gzip", false, CODING_IDENTITY},
    {"-gzip", "-gzip", false, CODING_IDENTITY},
    {"", "", false, CODING_IDENTITY},
    {"x-gzip0-_AZaz09-_AZaz09-gzip", "x-gzip0-_AZaz09-_AZaz09-gzip", false, CODING_IDENTITY},
    {"d-gzip0+_AZaz09-_AZaz09-gzip", "d-gzip0+_AZaz09-_AZaz09-gzip", false, CODING_IDENTITY},
    {"1a-5f3b2c4d5e6f7-gzip", "1a-5f3b2c4d5e6f7-gzip", false, CODING_IDENTITY},
};

static void test_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
        for (int weak = 0; weak < 2; weak++) {
            struct entity_tag tag = {exact_str(splits[i].opaque), weak}, base;
            enum coding c = CODING_COUNT;
            bool ours = coding_split(&tag, &base, &c);

            if (ours != splits[i].ours || c != splits[i].coding || !span_eq(base.opaque, span_str(splits[i].base)))
                fail_msg("split %zu <%s>: %d, coding %d, <%.*s>", i, splits[i].opaque, ours, c, (int)base.opaque.n,
                         base.opaque.p);
            assert_ptr_equal(base.opaque.p, tag.opaque.p);
            assert_int_equal(base.weak, weak);
            exact_free(tag.opaque);
        }
    }
}

/* What is sealed opens again, to every byte; what the application made up does not. */
static void test_seal(void **state)
{
    static const char *const bases[] = {
        "", "v1", "v1-gzip", "x~AAAA-gzip", OURS, "\xff~", "73bf92a4d530338767c5d8a76be26fc2"};
    struct entity_tag tag, base;
    enum coding back;
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        for (int c = CODING_IDENTITY + 1; c < CODING_COUNT; c++) {
            size_t n = coding_seal(text, sizeof text, span_str(bases[i]), (enum coding)c), length = strlen(bases[i]);

            assert_int_equal(n, length + 5 + coding_suffix((enum coding)c).n);
            assert_int_equal(coding_seal(text, n, span_str(bases[i]), (enum coding)c), 0);
            assert_int_equal(coding_seal(text, n + 1, span_str(bases[i]), (enum coding)c), n);
            tag = (struct entity_tag){exact_str(text), true};
            assert_true(coding_unseal(&tag, &base, &back));
            assert_true(span_eq(base.opaque, span_str(bases[i])) && base.weak && back == (enum coding)c);
            exact_free(tag.opaque);
            assert_false(coding_unseal(&(struct entity_tag){span_of(text, n - 1), false}, &base, &back));
            assert_false(coding_unseal(&(struct entity_tag){span_of(text + 1, n - 1), false}, &base, &back));
            text[length + 1] ^= 1;
            assert_false(coding_unseal(&(struct entity_tag){span_of(text, n), false}, &base, &back));
            assert_true(base.opaque.n == n && back == CODING_IDENTITY);
        }
    }
    /* one value on every node, in every release */
    assert_true(coding_seal(text, sizeof text, SPAN_LITERAL("v1"), CODING_GZIP) > 0);
    assert_string_equal(text, "v1~NkTz-gzip");
}

static void test_what_is_not_sealed(void **state)
{
    static const char *const plain[] = {"",        "-gzip",      "v1-gzip", "~-gzip", "v1~AAAA-gzip",
                                        "v1~AAAA", OURS "-gzip", "~AAAA-br"};
    enum coding c;

    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct entity_tag tag = {exact_str(plain[i]), false}, base;

        assert_false(coding_unseal(&tag, &base, &c));
        assert_ptr_equal(base.opaque.p, tag.opaque.p);
        exact_free(tag.opaque);
    }
}

#define I 1u
#define G 2u
#define B 4u
#define Z 8u

static const struct {
    const char *field; /* NULL: absent */
    unsigned accepted; /* identity, gzip, br, zstd */
} accepts[] = {
    {NULL, I},
    {"", I},
    {" ", I},
    {",,", I},
    {"gzip", I | G},
    {"GZIP", I | G},
    {"x-gzip", I | G},
    {"gzip, br", I | G | B},
    {"gzip,deflate,br,zstd", I | G | B | Z},
    {"deflate", I},
    {"gzipx", I},
    {"gzip;q=0", I},
    {"gzip;q=0.0", I},
    {"gzip;q=0.000", I},
    {"gzip;q=0.001", I | G},
    {"gzip;q=1", I | G},
    {"gzip;q=1.", I | G},
    {"gzip;q=0.", I},
    {"gzip;q=1.000", I | G},
    {"gzip;Q=0.5", I | G},
    {"gzip ; q=0.5", I | G},
    {"gzip\t;\tq=0.5 ,br", I | G | B},
    /* a malformed weight admits nothing */
    {"gzip;q=", I},
    {"gzip;q", I},
    {"gzip;", I},
    {"gzip;q=2", I},
    {"gzip;q=1.001", I},
    {"gzip;q=0.0001", I},
    {"gzip;q=-1", I},
    {"gzip;q=.5", I},
    {"gzip;q=0,5", I},
    {"gzip;q=0.5x", I},
    {"gzip;q = 0.5", I},
    {"gzip;level=9;q=0.5", I},
    {"gzip;q=0.5;q=0", I},
    /* named twice: one refusal is enough */
    {"gzip, gzip;q=0", I},
    {"gzip;q=0, gzip", I},
    {"gzip;q=0, x-gzip", I},
    /* the star stands for what is not named */
    {"*", I | G | B | Z},
    {"*;q=0", 0},
    {"*;q=0.1", I | G | B | Z},
    {"br, *;q=0", B},
    {"gzip;q=0, *", I | B | Z},
    {"identity, *;q=0", I},
    {"identity;q=0", 0},
    {"identity;q=0, *", G | B | Z},
    {"identity;q=0, gzip", G},
    {"identity;q=0.5, gzip;q=1, *;q=0", I | G},
    {"*;q=0, *", 0},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(accepts) / sizeof(accepts[0]); i++) {
        const char *text = accepts[i].field;
        struct span field = exact_str(text ? text : "");

        for (int c = 0; c < CODING_COUNT; c++) {
            bool got = coding_accepted(field, text != NULL, (enum coding)c);

            if (got != ((accepts[i].accepted >> c & 1) != 0))
                fail_msg("Accept-Encoding <%s>, %s: %d", text ? text : "absent", coding_name((enum coding)c).p, got);
        }
        exact_free(field);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_what_is_not_sealed),
        cmocka_unit_test(test_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
