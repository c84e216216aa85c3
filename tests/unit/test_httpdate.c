/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <time.h>

#include "etagd/lib/httpdate.h"
#include "tests/unit/exact.h"

#define NOW INT64_C(1767225600) /* 2026-01-01T00:00:00Z */
#define BAD INT64_MIN

/* The expected numbers, here and below, are those of Python's datetime. */
static const struct {
    const char *text;
    int64_t t;
} dates[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {" \tSun, 06 Nov 1994 08:49:37 GMT\t ", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"Tue Feb 29 00:00:00 2000", 951782400},
    {"Mon, 01 Jan 0001 00:00:00 GMT", INT64_C(-62135596800)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    {"Thu, 01 Mar 1900 00:00:00 GMT", INT64_C(-2203891200)},
    /* a leap second is the first second of what follows */
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    /* the weekday must be one; whether it is the right one is not asked */
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"", BAD},
    {"0", BAD},
    {"-1", BAD},
    {"784111777", BAD},
    {"Sun", BAD},
    {"sun, 06 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 NOV 1994 08:49:37 GMT", BAD},
    {"Son, 06 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 Nov 1994 08:49:37", BAD},
    {"Sun, 06 Nov 1994 08:49:37 gmt", BAD},
    {"Sun, 06 Nov 1994 08:49:37 UTC", BAD},
    {"Sun, 06 Nov 1994 08:49:37 +0000", BAD},
    {"Sun, 06 Nov 1994 08:49:37 GMT; length=12", BAD},
    {"Sun, 06 Nov 1994 08:49:37 GMTx", BAD},
    {"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", BAD},
    {"Sun,06 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 6 Nov 1994 08:49:37 GMT", BAD},
    {"Sun,  6 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06  Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06 Nov 94 08:49:37 GMT", BAD},
    {"Sun, 06 Nov 01994 08:49:37 GMT", BAD},
    {"Sun, 06 Nov 1994 8:49:37 GMT", BAD},
    {"Sun, 06 Nov 1994 08:49 GMT", BAD},
    {"Sun, 06 Nov 1994 08-49-37 GMT", BAD},
    {"Sun, 06 Nov 1994 24:00:00 GMT", BAD},
    {"Sun, 06 Nov 1994 08:60:37 GMT", BAD},
    {"Sun, 06 Nov 1994 08:49:61 GMT", BAD},
    {"Sun, 00 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 31 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 32 Dec 1994 08:49:37 GMT", BAD},
    {"Sun, 29 Feb 1900 08:49:37 GMT", BAD},
    {"Sun, 29 Feb 2025 08:49:37 GMT", BAD},
    {"Sun, 01 Jan 0000 00:00:00 GMT", BAD},
    {"Sun, +6 Nov 1994 08:49:37 GMT", BAD},
    {"Sun, 06-Nov-94 08:49:37 GMT", BAD},
    {"Sunday, 06-Nov-1994 08:49:37 GMT", BAD},
    {"Sunday, 06 Nov 94 08:49:37 GMT", BAD},
    {"Sunday, 06-Nov-94 08:49:37", BAD},
    {"Sun Nov 6 08:49:37 1994", BAD},
    {"Sun Nov 06 08:49:37 1994", 784111777}, /* 2DIGIT / SP DIGIT allows it */
    {"Sun Nov  6 08:49:37 1994 GMT", BAD},
    {"Sun Nov  6 08:49:37 94", BAD},
    {"Sun Nov   6 08:49:37 1994", BAD},
};

static void test_dates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        struct span text = exact_str(dates[i].text);
        int64_t t = BAD;
        bool ok = httpdate_parse(text, NOW, &t);

        if (ok != (dates[i].t != BAD) || t != dates[i].t)
            fail_msg("<%s>: %d, %lld", dates[i].text, ok, (long long)t);
        exact_free(text);
    }
}

/* Every front part of a date, and every byte replaced by a few others: read to its end and no further. */
static void test_damaged_dates(void **state)
{
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    static const char others[] = {'\0', '\n', 'x', '-', '\x7f', '\xe9'};
    int64_t t;

    (void)state;
    for (size_t g = 0; g < sizeof(good) / sizeof(good[0]); g++) {
        size_t n = strlen(good[g]);

        for (size_t cut = 0; cut < n; cut++) {
            struct span text = exact(good[g], cut);

            assert_false(httpdate_parse(text, NOW, &t));
            exact_free(text);
        }
        for (size_t at = 0; at < n; at++) {
            for (size_t o = 0; o < sizeof(others); o++) {
                char copy[64];
                struct span text;

                memcpy(copy, good[g], n);
                if (copy[at] == others[o])
                    continue;
                copy[at] = others[o];
                text = exact(copy, n);
                if (httpdate_parse(text, NOW, &t))
                    fail_msg("<%.*s> with byte %zu = %d was accepted", (int)n, good[g], at, others[o]);
                exact_free(text);
            }
        }
    }
}

/* "More than 50 years in the future" is the past century (5.6.7). */
static void test_century(void **state)
{
    static const struct {
        const char *text;
        int64_t now, t;
    } cases[] = {
        {"Wednesday, 01-Jan-76 00:00:00 GMT", NOW, INT64_C(3345062400)}, /* 2076: exactly 50 years */
        {"Thursday, 01-Jan-76 00:00:01 GMT", NOW, INT64_C(189302401)}, /* 1976: a second more */
        {"Tuesday, 31-Dec-75 23:59:59 GMT", NOW, INT64_C(3345062399)}, /* 2075 */
        {"Thursday, 01-Jan-26 00:00:00 GMT", NOW, NOW},
        {"Sunday, 06-Nov-94 08:49:37 GMT", NOW, 784111777},
        {"Tuesday, 01-Jun-10 00:00:00 GMT", 928195200, 1275350400}, /* in 1999, 10 is 2010 */
        {"Thursday, 29-Feb-24 12:00:00 GMT", NOW, 1709208000},
        {"Thursday, 29-Feb-24 12:00:00 GMT", 0, INT64_C(-1446552000)}, /* in 1970, 24 is 1924 */
        {"Thursday, 29-Feb-00 12:00:00 GMT", NOW, 951825600}, /* 2000 was a leap year, */
        {"Thursday, 29-Feb-00 12:00:00 GMT", INT64_C(-1000000000), BAD}, /* 1900, meant in 1938, was none */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t t = BAD;

        httpdate_parse(span_str(cases[i].text), cases[i].now, &t);
        if (t != cases[i].t)
            fail_msg("<%s> at %lld: %lld", cases[i].text, (long long)cases[i].now, (long long)t);
    }
}

/* libc's calendar is the oracle, over nine thousand years. */
static void test_against_libc(void **state)
{
    const int64_t first = INT64_C(-30610224000) /* 1000-01-01 */, last = INT64_C(253402300799);
    uint64_t seed = 7;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        int64_t t = first + (int64_t)(next_random(&seed) % (uint64_t)(last - first + 1)), back;
        time_t libc_time = (time_t)t;
        char ours[HTTPDATE_SIZE], theirs[64];
        struct tm tm;

        assert_non_null(gmtime_r(&libc_time, &tm));
        httpdate_format(t, ours);
        assert_true(strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        assert_string_equal(ours, theirs);
        assert_true(httpdate_parse(span_str(theirs), NOW, &back));
        assert_true(back == t);
        assert_true(strftime(theirs, sizeof(theirs), "%a %b %e %H:%M:%S %Y", &tm) > 0);
        assert_true(httpdate_parse(span_str(theirs), NOW, &back));
        assert_true(back == t);
    }
}

static void test_format_limits(void **state)
{
    char out[HTTPDATE_SIZE];

    (void)state;
    httpdate_format(784111777, out);
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    httpdate_format(-1, out);
    assert_string_equal(out, "Wed, 31 Dec 1969 23:59:59 GMT");
    httpdate_format(INT64_C(-62135596800), out);
    assert_string_equal(out, "Mon, 01 Jan 0001 00:00:00 GMT");
    httpdate_format(INT64_C(-62135596801), out);
    assert_string_equal(out, "");
    httpdate_format(INT64_C(253402300799), out);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
    httpdate_format(INT64_C(253402300800), out);
    assert_string_equal(out, "");
    httpdate_format(INT64_MIN, out);
    assert_string_equal(out, "");
    httpdate_format(INT64_MAX, out);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),        cmocka_unit_test(test_damaged_dates), cmocka_unit_test(test_century),
        cmocka_unit_test(test_against_libc), cmocka_unit_test(test_format_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
