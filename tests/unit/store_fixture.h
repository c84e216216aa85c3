/* SPDX-License-Identifier: Apache-2.0 */
/* An embedded store and a reader of its table, with one page to learn. For the tests of the store. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/conf.h"
#include "etagd/lib/entry.h"
#include "etagd/store.h"

#define SPAN SPAN_LITERAL
#define KEY SPAN("https://www.example.com/shop/products/42?lang=de")
#define PLAIN "https://www.example.com/shop/products/42?lang=de"
#define VARIANT "0123456789abcdef"

struct node {
    struct event_base *base;
    struct store *store;
    struct table *table; /* a reader as httpd is one */
    struct conf conf;
};

static char no_digests[] = "none", prefix[] = "etag", socket_path[] = "/tmp/unused.sock", node_name[] = "test";

static inline int setup_with(void **state, uint64_t horizon_ms)
{
    struct node *n = calloc(1, sizeof *n);
    const char *why = "";

    n->conf = (struct conf){.socket = socket_path,
                            .digest_file = no_digests,
                            .node = node_name,
                            .key_prefix = prefix,
                            .lease_ms = 2000,
                            .horizon_ms = horizon_ms,
                            .log_max = 1000,
                            .tag_ttl_ms = 86400000,
                            .table_bytes = 4 << 20};
    n->base = event_base_new();
    n->store = store_new(n->base, &n->conf, &why);
    if (!n->store)
        fail_msg("%s", why);
    n->table = table_map(writer_table_fd(store_writer(n->store)), writer_touch_fd(store_writer(n->store)), &why);
    if (!n->table)
        fail_msg("%s", why);
    *state = n;
    return 0;
}

static inline int setup(void **state)
{
    return setup_with(state, 172800000);
}

static inline int teardown(void **state)
{
    struct node *n = *state;

    table_unmap(n->table);
    store_free(n->store);
    event_base_free(n->base);
    free(n);
    return 0;
}

static inline struct table_snapshot before(const struct node *n)
{
    return table_snapshot(n->table);
}

struct response {
    const char *names, *variant, *tag;
    uint64_t ttl_ms;
    unsigned flags;
};

static inline enum store_result publish(struct node *n, struct table_snapshot at, const struct response *r,
                                        struct span *names)
{
    static const struct span tags[] = {{"product-42", 10}, {"catalog", 7}}, groups[] = {{"news desk", 9}};
    struct entry e = {
        .kind = ENTRY_UPSTREAM, .flags = r->flags, .last_modified = ENTRY_UNDATED, .tag = span_str(r->tag)};
    uint8_t value[ENTRY_SIZE];
    struct store_put put = {
        .generation = at.generation,
        .seq = at.seq,
        .key = KEY,
        .variant = span_str(r->variant),
        .names = span_str(r->names),
        .ttl_ms = r->ttl_ms,
        .value = span_of((char *)value, entry_encode(value, sizeof value, &e)),
        .capsule = SPAN("Cache-Control: max-age=60\n"),
        .tags = tags,
        .ntags = 2,
        .groups = groups,
        .ngroups = 1,
    };
    const char *why = NULL;
    enum store_result result = store_put(n->store, &put, names, &why);

    assert_true((result == STORE_BAD) == (why != NULL));
    return result;
}

static const struct response usual = {"accept-language", VARIANT, "\"v1\"", 0, 0};

static inline enum table_result look(const struct node *n, const char *key)
{
    struct table_copy copy;

    return table_lookup(n->table, table_identify(n->table, span_str(key)), &copy);
}

static inline void learn(struct node *n)
{
    struct span names;

    assert_int_equal(publish(n, before(n), &usual, &names), STORE_OK);
    assert_int_equal(look(n, PLAIN), TABLE_HIT);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
}

static char last_id[64], last_error[128];

static inline void on_done(void *arg, const char *id, const char *error)
{
    ++*(int *)arg;
    snprintf(last_id, sizeof last_id, "%s", id ? id : "");
    snprintf(last_error, sizeof last_error, "%s", error ? error : "");
}

static inline void invalidate(struct node *n, const char *op, const char *arg)
{
    struct span fields[] = {span_str(op), span_str(arg)};
    int calls = 0;

    store_invalidate(n->store, fields, 2, on_done, &calls);
    assert_int_equal(calls, 1);
}

#endif
