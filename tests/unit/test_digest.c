/* SPDX-License-Identifier: Apache-2.0 */
/* The expected values come from Python's hashlib, hmac and base64; SHA-256's also from FIPS 180-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "etagd/lib/digest.h"
#include "tests/unit/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* SHA-256 of "hello" */
#define HELLO                                                                                                          \
    "\x2c\xf2\x4d\xba\x5f\xb0\xa3\x0e\x26\xe8\x3b\x2a\xc5\xb9\xe2\x9e"                                                 \
    "\x1b\x16\x1e\x5c\x1f\xa7\x42\x5e\x73\x04\x33\x62\x93\x8b\x98\x24"

static void assert_hex(const uint8_t *bytes, size_t n, const char *want)
{
    char got[2 * DIGEST_SIZE + 1] = "";

    for (size_t i = 0; i < n; i++)
        snprintf(got + 2 * i, 3, "%02x", (unsigned)bytes[i]);
    assert_string_equal(got, want);
}

static const struct {
    const char *text;
    size_t times;
    const char *sum;
} sums[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void test_sha256(void **state)
{
    struct digest *d = digest_new();
    uint8_t out[DIGEST_SIZE];

    (void)state;
    assert_non_null(d);
    for (size_t i = 0; i < COUNT(sums); i++) {
        assert_true(digest_begin(d));
        assert_true(digest_update(d, NULL, 0));
        for (size_t t = 0; t < sums[i].times; t++)
            assert_true(digest_update(d, sums[i].text, strlen(sums[i].text)));
        assert_true(digest_final(d, out));
        assert_hex(out, sizeof(out), sums[i].sum);
    }
    /* begin in the middle starts over */
    assert_true(digest_begin(d));
    assert_true(digest_update(d, "left over", 9));
    assert_true(digest_begin(d));
    assert_true(digest_update(d, "abc", 3));
    assert_true(digest_final(d, out));
    assert_hex(out, sizeof(out), sums[1].sum);
    digest_free(d);
    digest_free(NULL);
}

static const struct {
    struct digest_recipe recipe;
    const char *base, *opaque;
} bases[] = {
    {{.recipe = 'd', .content = {HELLO, 32}, .content_type = {"application/json", 16}},
     "477f5b2d1fb0e8227df401544c2980b9",
     "dR39bLR-w6CJ99AFUTCmAuQ"},
    {{.recipe = 'd', .content = {HELLO, 32}, .content_type = {"application/xml", 15}},
     "c968e6124ea4ba6d732fadd36a4d320e",
     "dyWjmEk6kum1zL63Tak0yDg"},
    {{.recipe = 'd',
      .content = {HELLO, 32},
      .content_type = {"text/html; charset=utf-8", 24},
      .content_language = {"de", 2},
      .content_coding = {"gzip", 4},
      .salt = {"2026-01", 7}},
     "cbbe65fab620220895ed3690fa135ba4",
     "dy75l-rYgIgiV7TaQ-hNbpA"},
    {{.recipe = 'd'}, "492cf3a77399e7adac88dfd8197e041c", "dSSzzp3OZ562siN_YGX4EHA"},
    {{.recipe = 'v', .content = {"42", 2}, .content_type = {"text/html", 9}},
     "573e88e201a1457b77ef0070eabf7395",
     "vVz6I4gGhRXt37wBw6r9zlQ"},
    {{.recipe = 'g', .content = {"42", 2}, .content_type = {"text/html", 9}},
     "603aa64815429c1f5852be589754919d",
     "gYDqmSBVCnB9YUr5Yl1SRnQ"},
    /* a byte moved from one field to the next is another tag */
    {{.recipe = 'd', .content = {HELLO, 32}, .content_type = {"ab", 2}, .content_language = {"c", 1}},
     "d4a5a94b72f9cdf9fb57826ed78bc9c0",
     "d1KWpS3L5zfn7V4Ju14vJwA"},
    {{.recipe = 'd', .content = {HELLO, 32}, .content_type = {"a", 1}, .content_language = {"bc", 2}},
     "30b087ef8415eb989e151f63fa7af85b",
     "dMLCH74QV65ieFR9j-nr4Ww"},
};

static void test_base(void **state)
{
    struct digest *d = digest_new();

    (void)state;
    assert_non_null(d);
    for (size_t i = 0; i < COUNT(bases); i++) {
        uint8_t base[DIGEST_BASE_SIZE];
        char opaque[ENTITY_TAG_OURS_LENGTH + 1];

        assert_true(digest_base(d, &bases[i].recipe, base));
        assert_hex(base, sizeof(base), bases[i].base);
        digest_opaque(bases[i].recipe.recipe, base, opaque);
        assert_string_equal(opaque, bases[i].opaque);
        assert_true(entity_tag_is_ours(span_str(opaque)));
    }
    digest_free(d);
}

static void test_sign(void **state)
{
    /* 'd', "hello", application/json: the base 477f5b2d... above */
    static const uint8_t base[DIGEST_BASE_SIZE] = {0x47, 0x7f, 0x5b, 0x2d, 0x1f, 0xb0, 0xe8, 0x22,
                                                   0x7d, 0xf4, 0x01, 0x54, 0x4c, 0x29, 0x80, 0xb9};
    static const struct {
        size_t secret; /* bytes of which kind, see below */
        char kind;
        const char *key, *variant, *want;
    } cases[] = {
        {32, 's', "https://www.example.com/a", "", "be64325a60110cae66725cc9f94f9e1f"},
        {32, 's', "https://www.example.com/a", "gzip|de", "a296b74ef5c49baae15194e032c7e186"},
        {100, 'n', "https://www.example.com/a", "", "341982f62cd01eac54304e8cc9c9e1bf"},
        {64, 'k', "", "", "5ac5fa364bf85edf567353a87e277b05"}, /* exactly a block, */
        {65, 'k', "", "", "058346ee7543592c0ec1963e81b14eeb"}, /* and more: hashed first */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char secret[100];
        uint8_t out[DIGEST_BASE_SIZE];
        struct span s, key = exact_str(cases[i].key), variant = exact_str(cases[i].variant);

        for (size_t b = 0; b < cases[i].secret; b++)
            secret[b] = cases[i].kind == 's' ? "0123456789abcdef"[b % 16] : cases[i].kind == 'n' ? (char)b : 'k';
        s = exact(secret, cases[i].secret);
        assert_true(digest_sign(s, base, key, variant, out));
        assert_hex(out, sizeof(out), cases[i].want);
        exact_free(s);
        exact_free(key);
        exact_free(variant);
    }
}

static void test_sign_without_secret(void **state)
{
    uint8_t base[DIGEST_BASE_SIZE], out[DIGEST_BASE_SIZE];

    (void)state;
    memset(base, 0x5a, sizeof(base));
    assert_true(digest_sign(span_of(NULL, 0), base, SPAN_LITERAL("k"), SPAN_LITERAL("v"), out));
    assert_memory_equal(out, base, sizeof(base));
}

/* RFC 4648 section 10, without padding, and the two characters that differ from base64. */
static void test_base64url(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"},
        {"\xff", "_w"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].bytes), size = (n * 4 + 2) / 3 + 1;
        struct span in = exact(cases[i].bytes, n);
        char *out = malloc(size);

        assert_non_null(out);
        assert_int_equal(digest_base64url((const uint8_t *)in.p, n, out), size - 1);
        assert_string_equal(out, cases[i].text);
        exact_free(in);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),    cmocka_unit_test(test_base),
        cmocka_unit_test(test_sign),      cmocka_unit_test(test_sign_without_secret),
        cmocka_unit_test(test_base64url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
