/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "etagd/lib/proto.h"
#include "tests/unit/exact.h"

static struct proto_request request;

/* Every input lies at the very end of its memory, so that a sanitizer sees the first byte read too far. */
static long parse(const char *bytes, size_t n, const char **why)
{
    struct span copy = exact(bytes, n);
    long result = proto_parse(copy, &request, why);

    exact_free(copy);
    return result;
}

static const struct {
    const char *bytes;
    size_t argc;
} good[] = {
    {"*1\r\n$4\r\nPING\r\n", 1},
    {"*2\r\n$4\r\nPING\r\n$0\r\n\r\n", 2},
    {"*1\r\n$2\r\n\r\n\r\n", 1},
    {"*0003\r\n$1\r\na\r\n$01\r\nb\r\n$1\r\nc\r\n", 3},
};

static void test_whole_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *why = NULL;
        size_t n = strlen(good[i].bytes);
        assert_int_equal(parse(good[i].bytes, n, &why), (long)n);
        assert_int_equal(request.argc, good[i].argc);
    }
}

/* Cut anywhere, a good request is unfinished, never wrong. */
static void test_every_prefix_wants_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        for (size_t n = 0; n < strlen(good[i].bytes); n++) {
            const char *why = NULL;
            assert_int_equal(parse(good[i].bytes, n, &why), 0);
            assert_null(why);
        }
    }
}

static const char *const bad[] = {
    "PING\r\n",
    "+OK\r\n",
    "*0\r\n",
    "*-1\r\n",
    "*1025\r\n",
    "*99999999\r\n",
    "*18446744073709551617\r\n",
    "*\r\n",
    "*x\r\n",
    "*1\n$4\r\nPING\r\n",
    "*1\r\r\n",
    "*1\r\n:1\r\n",
    "*1\r\n+PING\r\n",
    "*1\r\n*1\r\n$4\r\nPING\r\n",
    "*1\r\n$-1\r\n",
    "*1\r\n$65537\r\n",
    "*1\r\n$2147483648\r\n",
    "*1\r\n$4\r\nPINGxx",
    "*1\r\n$3\r\nPING\r\n",
    "*1\r\n$ 4\r\nPING\r\n",
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *why = NULL;
        assert_int_equal(parse(bad[i], strlen(bad[i]), &why), -1);
        assert_non_null(why);
    }
}

static void test_spans_point_into_the_buffer(void **state)
{
    static const char bytes[] = "*2\r\n$4\r\nECHO\r\n$3\r\na\0b\r\n*1\r\n";
    const char *why = NULL;

    (void)state;
    assert_int_equal(proto_parse(span_of(bytes, sizeof bytes - 1), &request, &why), 23);
    assert_true(span_eq(request.argv[0], SPAN_LITERAL("ECHO")));
    assert_ptr_equal(request.argv[1].p, bytes + 18);
    assert_memory_equal(request.argv[1].p, "a\0b", 3);
}

/* The whole is bounded although each part is within its limit. */
static void test_total_is_bounded(void **state)
{
    size_t n = 0, room = 5 * (PROTO_MAX_BULK + 32);
    char *bytes = calloc(1, room);
    const char *why = NULL;

    (void)state;
    n += (size_t)sprintf(bytes, "*5\r\n");
    for (int i = 0; i < 5; i++) {
        n += (size_t)sprintf(bytes + n, "$%d\r\n", PROTO_MAX_BULK);
        n += PROTO_MAX_BULK;
        n += (size_t)sprintf(bytes + n, "\r\n");
    }
    assert_int_equal(parse(bytes, n, &why), -1);
    assert_non_null(why);
    free(bytes);
}

/* A request of bulk strings with these sizes; they end at -1. Returns its length. */
static size_t build(char *bytes, size_t argc, const long *sizes)
{
    size_t n = (size_t)sprintf(bytes, "*%zu\r\n", argc);

    for (; *sizes >= 0; sizes++) {
        n += (size_t)sprintf(bytes + n, "$%ld\r\n", *sizes);
        memset(bytes + n, 'x', (size_t)*sizes);
        n += (size_t)*sizes;
        n += (size_t)sprintf(bytes + n, "\r\n");
    }
    return n;
}

/* Around the limit byte by byte: a string that ends just there must not open the way for more. */
static void test_total_at_the_limit(void **state)
{
    enum { HEAD = 4, FRAME = 10, FULL = PROTO_MAX_BULK };
    const long last = PROTO_MAX_REQUEST - HEAD - 3 * (FULL + FRAME) - FRAME;
    char *bytes = malloc(8 * (FULL + FRAME));
    const char *why = NULL;

    (void)state;
    for (long extra = -4; extra <= 4; extra++) {
        const long whole[] = {FULL, FULL, FULL, last + extra, -1};
        size_t n = build(bytes, 4, whole);
        assert_int_equal(n, PROTO_MAX_REQUEST + extra);
        assert_int_equal(parse(bytes, n, &why), extra <= 0 ? (long)n : -1);

        const long more[] = {FULL, FULL, FULL, last + extra, FULL, FULL, -1};
        assert_int_equal(parse(bytes, build(bytes, 6, more), &why), -1);
        const long empty[] = {FULL, FULL, FULL, last + extra, 0, 0, -1};
        assert_int_equal(parse(bytes, build(bytes, 6, empty), &why), -1);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_requests),
        cmocka_unit_test(test_every_prefix_wants_more),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_spans_point_into_the_buffer),
        cmocka_unit_test(test_total_is_bounded),
        cmocka_unit_test(test_total_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
