/* SPDX-License-Identifier: Apache-2.0 */
/* What one Sentinel says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "etagd/sentinel_answer.h"

/* struct redis_reply is hiredis' redisReply (etagd/redis.c). */
static redisReply *reply_of(const char *resp, size_t n)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    redisReaderFeed(reader, resp, n);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

/* Words joined by single spaces as a list of bulk strings; "-" stands for an empty one. */
static size_t list_of(const char *words, char *out, size_t size)
{
    size_t n = 1, used;
    const char *end;

    for (const char *p = words; *p; p++)
        n += *p == ' ';
    used = (size_t)snprintf(out, size, "*%zu\r\n", n);
    for (const char *p = words; p; p = *end ? end + 1 : NULL) {
        end = p + strcspn(p, " ");
        int length = *p == '-' && end == p + 1 ? 0 : (int)(end - p);

        used += (size_t)snprintf(out + used, size - used, "$%d\r\n%.*s\r\n", length, length, p);
    }
    return used;
}

static bool read_master(const char *words, struct sentinel_answer *out)
{
    char resp[4096];
    redisReply *reply = reply_of(resp, list_of(words, resp, sizeof resp));
    bool understood = sentinel_read_master((const struct redis_reply *)reply, out);

    freeReplyObject(reply);
    return understood;
}

#define MASTER(ip, port, flags, epoch, others, timeout)                                                                \
    "name m ip " ip " port " port " flags " flags " config-epoch " epoch " num-other-sentinels " others                \
    " failover-timeout " timeout

static void a_master_is_read(void **state)
{
    struct sentinel_answer a;

    (void)state;
    assert_true(read_master(MASTER("10.0.0.1", "6379", "master", "7", "2", "180000"), &a));
    assert_string_equal(a.master.host, "10.0.0.1");
    assert_int_equal(a.master.port, 6379);
    assert_true(a.well);
    assert_int_equal(a.config_epoch, 7);
    assert_int_equal(a.others, 2);
    assert_int_equal(a.failover_ms, 180000);
}

static void who_sees_something_wrong_says_so(void **state)
{
    static const char *const flags[] = {MASTER("h", "1", "master,s_down", "7", "2", "1"),
                                        MASTER("h", "1", "master,failover_in_progress", "7", "2", "1"),
                                        MASTER("h", "1", "slave", "7", "2", "1"), MASTER("h", "1", "-", "7", "2", "1")};
    struct sentinel_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        assert_true(read_master(flags[i], &a));
        assert_false(a.well);
    }
}

static void masters_that_make_no_sense(void **state)
{
    static const char *const bad[] = {
        MASTER("h", "0", "master", "7", "2", "1"),
        MASTER("h", "70000", "master", "7", "2", "1"),
        MASTER("h", "x", "master", "7", "2", "1"),
        MASTER("-", "1", "master", "7", "2", "1"),
        MASTER("h", "1", "master", "-1", "2", "1"),
        MASTER("h", "1", "master", "999999999999999999999999999999", "2", "1"),
        MASTER("h", "1", "master", "7", "-", "1"),
        MASTER("h", "1", "master", "7", "10001", "1"),
        MASTER("h", "1", "master", "7", "2", "soon"),
        "ip h port 1 flags master config-epoch 7 num-other-sentinels 2",
        "ip -",
        "ip",
    };
    char longest[REDIS_HOST + 128], host[REDIS_HOST + 1];
    struct sentinel_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(read_master(bad[i], &a));
    memset(host, 'h', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    snprintf(longest, sizeof longest,
             "ip %s port 1 flags master config-epoch 7 num-other-sentinels 2 failover-timeout 1", host);
    assert_false(read_master(longest, &a));
}

static void answers_that_make_no_sense(void **state)
{
    static const char *const bad[] = {"+OK\r\n", "*0\r\n",  ":1\r\n",     "*3\r\n:1\r\n:2\r\n:3\r\n",
                                      "$-1\r\n", "*-1\r\n", "-ERR x\r\n", "*1\r\n*0\r\n"};
    struct sentinel_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        redisReply *reply = reply_of(bad[i], strlen(bad[i]));
        const struct redis_reply *r = (const struct redis_reply *)reply;

        assert_false(sentinel_read_master(r, &a));
        assert_int_equal(sentinel_read_replicas(r, &a), strcmp(bad[i], "*0\r\n") == 0);
        assert_int_equal(sentinel_read_vote(r, &a), strcmp(bad[i], "*3\r\n:1\r\n:2\r\n:3\r\n") == 0);
        freeReplyObject(reply);
    }
    assert_false(sentinel_read_master(NULL, &a) || sentinel_read_replicas(NULL, &a) || sentinel_read_vote(NULL, &a));
}

static size_t read_replicas(const char *const *replicas, size_t n, struct sentinel_answer *out)
{
    char resp[16384];
    size_t used = (size_t)snprintf(resp, sizeof resp, "*%zu\r\n", n);
    redisReply *reply;

    for (size_t i = 0; i < n; i++)
        used += list_of(replicas[i], resp + used, sizeof resp - used);
    reply = reply_of(resp, used);
    assert_true(sentinel_read_replicas((const struct redis_reply *)reply, out));
    freeReplyObject(reply);
    return out->replicas.n;
}

static void replicas_that_a_failover_could_promote(void **state)
{
    static const char *const all[] = {
        "ip h port 1 flags slave slave-priority 100",
        "ip h port 2 flags slave slave-priority 0", /* WAIT could not tell which of them confirmed */
        "ip h port 3 flags slave,s_down",
        "ip h port 4 flags slave,disconnected",
        "ip h port 5 flags s_down,slave,o_down",
        "ip h port 6 flags slave,not_s_down,s_downs",
        "ip h port 1 flags slave", /* the same again */
    };
    struct sentinel_answer a;

    (void)state;
    assert_int_equal(read_replicas(all, sizeof all / sizeof all[0], &a), 3);
    assert_int_equal(a.replicas.at[0].port, 1);
    assert_int_equal(a.replicas.at[1].port, 2);
    assert_int_equal(a.replicas.at[2].port, 6);
    assert_false(a.replicas.full);
}

static void votes(void **state)
{
    static const char *const none = "*3\r\n:0\r\n$1\r\n*\r\n:0\r\n", *const some = "*3\r\n:1\r\n$2\r\nid\r\n:8\r\n",
                             *const bad = "*3\r\n:0\r\n$1\r\n*\r\n:-1\r\n";
    struct sentinel_answer a;
    redisReply *reply = reply_of(none, strlen(none));

    (void)state;
    assert_true(sentinel_read_vote((const struct redis_reply *)reply, &a) && a.vote_epoch == 0);
    freeReplyObject(reply);
    reply = reply_of(some, strlen(some));
    assert_true(sentinel_read_vote((const struct redis_reply *)reply, &a) && a.vote_epoch == 8);
    freeReplyObject(reply);
    reply = reply_of(bad, strlen(bad));
    assert_false(sentinel_read_vote((const struct redis_reply *)reply, &a));
    freeReplyObject(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_master_is_read),
        cmocka_unit_test(who_sees_something_wrong_says_so),
        cmocka_unit_test(masters_that_make_no_sense),
        cmocka_unit_test(answers_that_make_no_sense),
        cmocka_unit_test(replicas_that_a_failover_could_promote),
        cmocka_unit_test(votes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
