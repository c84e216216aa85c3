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

struct routes {
    void (*reply[8])(void *arg, const struct redis_reply *reply);
    void *arg[8];
    size_t n;
};

bool routes_is_up(const struct routes *r, struct span key)
{
    (void)r;
    (void)key;
    return true;
}

bool routes_send(struct routes *r, struct span key, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    (void)key;
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

static void lose_all(struct routes *r)
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
    struct routes *asks;  /* to be asked again when this one hears */
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
    struct routes routes = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f }, two = { .fetches = f, .ends = &one };

    (void)state;
    one.ends = &two;
    fetches_ask(f, &routes, KEY, hear, &one);
    fetches_ask(f, &routes, KEY, hear, &two);
    lose_all(&routes);
    assert_int_equal(one.heard + two.heard, 1);
    fetches_free(f);
}

static void test_forgotten_before(void **state)
{
    struct routes routes = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f }, two = { .fetches = f };

    (void)state;
    fetches_ask(f, &routes, KEY, hear, &one);
    fetches_ask(f, &routes, KEY, hear, &two);
    fetches_forget(f, &one);
    lose_all(&routes);
    assert_int_equal(one.heard, 0);
    assert_int_equal(two.heard, 1);
    fetches_free(f);
}

static void test_who_hears_may_ask_again(void **state)
{
    struct routes routes = { .n = 0 }, second = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f, .asks = &second };

    (void)state;
    fetches_ask(f, &routes, KEY, hear, &one);
    lose_all(&routes);
    assert_int_equal(one.heard, 1);
    lose_all(&second);
    assert_int_equal(one.heard, 2);
    fetches_free(f);
}

/* A server that was asked for both may have sent the one on to another, where it takes longer. */
static void test_value_before_life(void **state)
{
    struct routes routes = { .n = 0 };
    struct fetches *f = fetches_new("etag", no_entry, NULL);
    struct client one = { .fetches = f };

    (void)state;
    fetches_ask(f, &routes, KEY, hear, &one);
    assert_int_equal(routes.n, 2);
    routes.reply[1](routes.arg[1], NULL);
    assert_int_equal(one.heard, 0);
    routes.reply[0](routes.arg[0], NULL);
    assert_int_equal(one.heard, 1);
    fetches_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forgotten_while_others_hear),
        cmocka_unit_test(test_forgotten_before),
        cmocka_unit_test(test_who_hears_may_ask_again),
        cmocka_unit_test(test_value_before_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
