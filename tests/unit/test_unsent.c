/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of invalidations that the log has not acknowledged, and the URL of Redis. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "etagd/redis_url.h"
#include "etagd/unsent.h"

#define SPAN SPAN_LITERAL

static char marker[64];

static struct unsent *queue(size_t max)
{
    struct unsent *u;

    snprintf(marker, sizeof marker, "/tmp/test_coherence.%d.unsent", (int)getpid());
    u = unsent_new(max, marker);
    assert_non_null(u);
    return u;
}

static uint64_t add(struct unsent *u, const char *op, const char *arg)
{
    struct span fields[] = {span_str(op), span_str(arg)};

    return unsent_add(u, fields, 2);
}

static void expect_next(const struct unsent *u, const char *text)
{
    const struct fields *f = unsent_next(u);
    char out[512];

    assert_non_null(f);
    fields_text(f->at, f->n, out, sizeof out);
    assert_string_equal(out, text);
}

static void acknowledge(struct unsent *u, uint64_t serial)
{
    struct fields *f;

    assert_int_equal(unsent_acknowledge(u, &f), serial);
    free(f);
}

static void only_what_waits_stands_for_an_equal_one(void **state)
{
    struct unsent *u = queue(10);

    (void)state;
    assert_int_equal(add(u, "url", "h/a"), 1);
    assert_int_equal(add(u, "url", "h/b"), 2);
    assert_int_equal(add(u, "url", "h/a"), 1);
    assert_int_equal(unsent_count(u), 2);
    unsent_sent(u);
    /* The first is in flight and may be in the log already: a later change needs its own record. */
    assert_int_equal(add(u, "url", "h/a"), 3);
    expect_next(u, "url h/b");
    unsent_sent(u);
    acknowledge(u, 1);
    expect_next(u, "url h/a");
    unsent_rewind(u); /* the connection broke: the second again, in order */
    expect_next(u, "url h/b");
    unsent_sent(u);
    unsent_sent(u);
    assert_null(unsent_next(u));
    acknowledge(u, 2);
    acknowledge(u, 3);
    assert_int_equal(unsent_count(u), 0);
    assert_int_equal(add(u, "url", "h/z"), 4); /* the empty queue still knows its ends */
    expect_next(u, "url h/z");
    unsent_sent(u);
    acknowledge(u, 4);
    unsent_free(u);
    assert_int_not_equal(access(marker, F_OK), 0);
}

static void overflow_widens_to_hosts_then_to_all(void **state)
{
    struct unsent *u = queue(4);

    (void)state;
    add(u, "url", "www.example.com/a");
    unsent_sent(u); /* in flight: not touched */
    add(u, "url", "www.example.com/b?q=1");
    add(u, "prefix", "other.example:8080/x");
    add(u, "group", "third.example news");
    add(u, "settle", "250");
    assert_int_equal(add(u, "host", "www.example.com"), 6);
    expect_next(u, "host www.example.com host other.example host third.example settle 250 why too many to send one by "
                   "one");
    assert_int_equal(unsent_count(u), 2);
    assert_int_equal(unsent_widened(u), 1);
    for (int i = 0; i < 4; i++) {
        char tag[16];

        snprintf(tag, sizeof tag, "t%d", i);
        add(u, "tag", tag);
    }
    expect_next(u, "all 1 settle 250 why too many to send one by one");
    acknowledge(u, 1);
    unsent_sent(u);
    acknowledge(u, 10); /* one acknowledgement for all of them */
    assert_int_equal(unsent_count(u), 0);
    add(u, "all", "1");
    unsent_free(u);
    assert_int_equal(access(marker, F_OK), 0);
    unlink(marker);
}

/* They name no scope, but nodes that do not hear of them would go on believing what they are about. */
static void some_remarks_widen_to_all(void **state)
{
    static const char *const remarks[][2] = {{"x-conflict", "https://www.example.com/a#v"},
                                             {"x-names", "https://www.example.com/a accept"}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct unsent *u = queue(1);

        add(u, remarks[i][0], remarks[i][1]);
        add(u, "url", "www.example.com/b");
        expect_next(u, "all 1 why too many to send one by one");
        unsent_free(u);
        unlink(marker);
    }
}

static void the_marker_outlives_a_crash(void **state)
{
    struct unsent *u = queue(4);

    (void)state;
    assert_false(unsent_found(u));
    assert_int_not_equal(access(marker, F_OK), 0);
    add(u, "url", "h/a");
    assert_int_equal(access(marker, F_OK), 0);
    unsent_settle(u); /* something is kept: it stays */
    assert_int_equal(access(marker, F_OK), 0);
    unsent_free(u);
    u = queue(4);
    assert_true(unsent_found(u));
    unsent_settle(u);
    unsent_free(u);
    u = queue(4);
    assert_false(unsent_found(u));
    unsent_free(u);
}

/* ---- URLs ---- */

static void urls(void **state)
{
    static const struct {
        const char *url, *text, *user;
    } good[] = {
        {"redis://localhost", "redis://localhost:6379/0", ""},
        {"redis://etagd@10.0.0.1:6380/3", "redis://10.0.0.1:6380/3", "etagd"},
        {"redis://[::1]:7000", "redis://[::1]:7000/0", ""},
        {"redis://[fe80::1]", "redis://[fe80::1]:6379/0", ""},
        {"sentinel://m@h", "sentinel://m/0", ""},
        {"sentinel://m@[::1]:7000,h:7001,h:7002/3", "sentinel://m/3", ""},
        {"sentinel://m@a,b,c,d,e,f,g,h,i,j,k,l,m,n,o", "sentinel://m/0", ""},
        {"rediss://etagd@h/5", "rediss://h:6379/5", "etagd"},
        {"sentinels://m@h:1,h:2/3", "sentinels://m/3", ""},
        {"clusters://[::1]:7000,h", "clusters://[::1]:7000", ""},
        {"cluster://h:1", "cluster://h:1", ""},
        {"cluster://[::1]:7000,h", "cluster://[::1]:7000", ""},
        {"unix:/run/redis/redis.sock", "unix:/run/redis/redis.sock?db=0", ""},
        {"unix:///run/redis.sock?db=2", "unix:/run/redis.sock?db=2", ""},
    };
    static const char *const bad[] = {"",
                                      "localhost:6379",
                                      "http://h",
                                      "redis://",
                                      "redis://h:0",
                                      "redis://h:65536",
                                      "redis://h:x",
                                      "redis://h/x",
                                      "redis://u:secret@h",
                                      "redis://[::1",
                                      "redis://[::1]x",
                                      "unix:",
                                      "unix:relative",
                                      "unix:/p?x=1",
                                      "unix:/p?db=",
                                      "rediss://",
                                      "rediss://u:secret@h",
                                      "sentinels://h:1",
                                      "sentinel://",
                                      "sentinel://h:1",
                                      "sentinel://@h:1",
                                      "sentinel://m@",
                                      "sentinel://m@h:0",
                                      "sentinel://m@h:1,",
                                      "sentinel://m@,h",
                                      "sentinel://m@h:1,h:1",
                                      "sentinel://m@h,h:26379",
                                      "sentinel://m@h:1/x",
                                      "sentinel://m:secret@h:1",
                                      "sentinel://m@a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p",
                                      "cluster://",
                                      "cluster://u@h",
                                      "cluster://h/0",
                                      "cluster://h:1,",
                                      "cluster://h,h:6379",
                                      "cluster://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"};
    struct redis_url url;
    const char *why;
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(redis_url_parse(good[i].url, &url, &why));
        redis_url_text(&url, text, sizeof text);
        assert_string_equal(text, good[i].text);
        assert_string_equal(url.user, good[i].user);
        assert_int_equal(url.tls, strstr(good[i].url, "rediss:") || strstr(good[i].url, "sentinels:") ||
                                      strstr(good[i].url, "clusters:"));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why = NULL;
        assert_false(redis_url_parse(bad[i], &url, &why));
        assert_non_null(why);
    }
}

static void sentinels_of_a_url(void **state)
{
    struct redis_url url;
    const char *why;

    (void)state;
    assert_true(redis_url_parse("sentinel://mymaster@[::1]:7000,h/3", &url, &why));
    assert_string_equal(url.master, "mymaster");
    assert_int_equal(url.nseeds, 2);
    assert_string_equal(url.seeds[0].host, "::1");
    assert_int_equal(url.seeds[0].port, 7000);
    assert_string_equal(url.seeds[1].host, "h");
    assert_int_equal(url.seeds[1].port, 26379);
    assert_int_equal(url.database, 3);
    assert_string_equal(url.at.host, "");
}

static void nodes_of_a_url(void **state)
{
    struct redis_url url;
    const char *why;

    (void)state;
    assert_true(redis_url_parse("cluster://h,[::1]:7000", &url, &why));
    assert_true(url.cluster);
    assert_int_equal(url.nseeds, 2);
    assert_int_equal(url.seeds[0].port, 6379);
    assert_string_equal(url.seeds[1].host, "::1");
    assert_string_equal(url.at.host, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_waits_stands_for_an_equal_one),
        cmocka_unit_test(overflow_widens_to_hosts_then_to_all),
        cmocka_unit_test(some_remarks_widen_to_all),
        cmocka_unit_test(the_marker_outlives_a_crash),
        cmocka_unit_test(urls),
        cmocka_unit_test(sentinels_of_a_url),
        cmocka_unit_test(nodes_of_a_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
