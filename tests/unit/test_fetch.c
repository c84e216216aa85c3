/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about entries: who waits for an answer, and who no longer does. Redis is played here. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "etagd/fetch.h"

#define KEY SPAN_LITERAL("http://www.example.com/p")

struct redis {
    void (*reply[8])(void *arg, const struct redis_reply *reply);
    void *arg[8];
    size_t n;
};

bool redis_is_up(const struct redis *r)
{
    (void)r;
    return true;
}

bool redis_send(struct redis *r, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    (void)argc;
    (void)argv;
    assert_true(r->n < sizeof r->reply / sizeof *r->reply);
    r->reply[r->n] = reply;
    r->arg[r->n++] = arg;
    return true;
}

enum redis_kind redis_kind(const struct redis_reply *r)
{
    (void)r;
    return REDIS_LOST;
}

struct span redis_text(const struct redis_reply *r)
{
    (void)r;
    return span_of(NULL, 0);
}

long long redis_number(const struct redis_reply *r)
{
    (void)r;
    return 0;
}

static void lose_all(struct redis *r)
{
    for (size_t i = 0; i < r->n; i++)
        r->reply[i](r->arg[i], NULL);
    r->n = 0;
}

static bool no_entry(void *arg, struct span key, const struct entry_text *text, struct span capsule, uint64_t ttl_ms)
{
    (void)arg;
    (void)key;
    (void)text;
    (void)capsule;
    (void)ttl_ms;
    fail_msg("there was no entry");
    return false;
}

struct client {
    struct fetches *fetches;
    struct client *ends; /* to be forgotten when this one hears */
    struct redis *asks;  /* to be asked again when this one hears */
    unsigned heard;
};

static void hear(void *arg, bool known)
{
    struct client *c = arg;

    assert_false(known);
    c->heard++;
    if (c->ends)
        fetches_forget(c->fetches, c->ends);
    if (c->asks && c->heard == 1)
        fetches_ask(c->fetches, c->asks, KEY, hear, c);
}

/* The first to hear may take others along, e.g. because its connection ends. Whoever hears first, at most
 * one of the two may. */
static void test_forgotten_while_others_hear(void **state)
{
    struct redis redis = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f }, two = { .fetches = f, .ends = &one };

    (void)state;
    one.ends = &two;
    fetches_ask(f, &redis, KEY, hear, &one);
    fetches_ask(f, &redis, KEY, hear, &two);
    lose_all(&redis);
    assert_int_equal(one.heard + two.heard, 1);
    fetches_free(f);
}

static void test_forgotten_before(void **state)
{
    struct redis redis = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f }, two = { .fetches = f };

    (void)state;
    fetches_ask(f, &redis, KEY, hear, &one);
    fetches_ask(f, &redis, KEY, hear, &two);
    fetches_forget(f, &one);
    lose_all(&redis);
    assert_int_equal(one.heard, 0);
    assert_int_equal(two.heard, 1);
    fetches_free(f);
}

static void test_who_hears_may_ask_again(void **state)
{
    struct redis redis = { .n = 0 }, second = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f, .asks = &second };

    (void)state;
    fetches_ask(f, &redis, KEY, hear, &one);
    lose_all(&redis);
    assert_int_equal(one.heard, 1);
    lose_all(&second);
    assert_int_equal(one.heard, 2);
    fetches_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forgotten_while_others_hear),
        cmocka_unit_test(test_forgotten_before),
        cmocka_unit_test(test_who_hears_may_ask_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
