/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store end to end: published, found in the table by a reader of its own, invalidated by
 * every operation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "tests/unit/store_fixture.h"

struct texts {
    char all[4096];
};

static void what_was_learned_is_found(void **state)
{
    struct node *n = *state;
    struct table_copy copy;
    char capsule[CAPSULE_MAX];
    size_t length;

    learn(n);
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN(PLAIN)), &copy), TABLE_HIT);
    assert_true(copy.entry.kind == ENTRY_NAMES && span_eq(copy.entry.tag, SPAN("accept-language")));
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN(PLAIN "#" VARIANT)), &copy), TABLE_HIT);
    assert_true(copy.entry.kind == ENTRY_UPSTREAM && span_eq(copy.entry.tag, SPAN("\"v1\"")));
    assert_true(table_capsule(n->table, &copy, capsule, &length));
    assert_true(span_eq(span_of(capsule, length), SPAN("Cache-Control: max-age=60\n")));
    assert_true(table_lease_left(n->table) > 1000);
}

static void every_operation_invalidates(void **state)
{
    static const char *const covering[][2] = {
        {"url", "www.example.com/shop/products/42?lang=de"},
        {"url", "www.example.com/shop/products/42"},
        {"url", "http://WWW.example.com/shop/products/42"},
        {"prefix", "www.example.com/shop/"},
        {"prefix", "www.example.com/shop/products/42"},
        {"prefix", "www.example.com/"},
        {"host", "www.example.com"},
        {"tag", "product-42"},
        {"tag", "catalog"},
        {"group", "www.example.com news desk"},
        {"all", "1"},
        {"prefix", "/shop/"},
        {"tga", "product-42"},
        {"url", ""},
    };
    static const char *const others[][2] = {
        {"url", "www.example.com/shop/products/42?lang=fr"},
        {"url", "www.example.com/shop/products/4"},
        {"url", "www.example.org/shop/products/42"},
        {"prefix", "www.example.com/sho"},
        {"prefix", "www.example.com/shop/products/42/x"},
        {"host", "example.com"},
        {"tag", "product-4"},
        {"group", "www.example.com news"},
        {"group", "www.example.org news desk"},
    };
    struct node *n = *state;

    for (size_t i = 0; i < sizeof covering / sizeof covering[0]; i++) {
        learn(n);
        invalidate(n, covering[i][0], covering[i][1]);
        if (look(n, PLAIN "#" VARIANT) != TABLE_STALE)
            fail_msg("%s %s", covering[i][0], covering[i][1]);
        assert_true(store_applied_at(n->store, last_id) > 0);
    }
    learn(n);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        invalidate(n, others[i][0], others[i][1]);
        if (look(n, PLAIN "#" VARIANT) != TABLE_HIT)
            fail_msg("%s %s", others[i][0], others[i][1]);
    }
}

/* A key that stands for several queries is forgotten with any of them. */
static void any_query_of_the_path_invalidates(void **state)
{
    struct node *n = *state;
    struct response several = usual;
    struct span names;

    several.flags = ENTRY_ANY_QUERY;
    assert_int_equal(publish(n, before(n), &several, &names), STORE_OK);
    invalidate(n, "url", "www.example.com/shop/products/4?lang=fr");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
    invalidate(n, "url", "www.example.com/shop/products/42?lang=fr");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_STALE);
    assert_int_equal(publish(n, before(n), &usual, &names), STORE_OK);
    invalidate(n, "url", "www.example.com/shop/products/42?lang=fr");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
}

static void a_fill_begun_before_is_refused(void **state)
{
    struct node *n = *state;
    struct table_snapshot at = before(n);
    struct span names;

    invalidate(n, "url", "www.example.com/shop/products/42");
    assert_int_equal(publish(n, at, &usual, &names), STORE_STALE);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_MISS);
    assert_int_equal(look(n, PLAIN), TABLE_MISS);
    assert_int_equal(publish(n, before(n), &usual, &names), STORE_OK);
    at = before(n);
    invalidate(n, "url", "elsewhere.example/x"); /* does not concern it */
    assert_int_equal(publish(n, at, &usual, &names), STORE_OK);
}

static void snapshots_that_mean_nothing_are_refused(void **state)
{
    struct node *n = *state;
    struct table_snapshot at = before(n);
    struct span names;

    at.generation++;
    assert_int_equal(publish(n, at, &usual, &names), STORE_STALE);
    at = before(n);
    at.seq++;
    assert_int_equal(publish(n, at, &usual, &names), STORE_BAD);
    at.seq = 0; /* from before the epoch */
    assert_int_equal(publish(n, at, &usual, &names), STORE_STALE);
    assert_int_equal(look(n, PLAIN), TABLE_MISS);
    writer_lease(store_writer(n->store), 0);
    assert_int_equal(publish(n, before(n), &usual, &names), STORE_STALE);
}

static void malformed_puts_are_refused(void **state)
{
    struct node *n = *state;
    struct span names;
    const struct response bad[] = {
        {"b,a", VARIANT, "\"x\"", 0, 0}, {"a b", VARIANT, "\"x\"", 0, 0}, {"", "", "\"x\"", 0, 0},
        {"", "a#b", "\"x\"", 0, 0},      {"", "a b", "\"x\"", 0, 0},      {"", VARIANT, "\"", 0, 0},
        {"", VARIANT, "\"x\"", 999, 0},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(publish(n, before(n), &bad[i], &names), STORE_BAD);
    assert_int_equal(look(n, PLAIN), TABLE_MISS);
}

static void names_only_grow_until_something_covers_them(void **state)
{
    struct node *n = *state;
    struct response without = {"", "ffffffffffffffff", "\"v2\"", 0, 0},
                    more = {"accept,cookie:x", VARIANT, "\"v3\"", 0, 0};
    struct span names;

    learn(n);
    assert_int_equal(publish(n, before(n), &without, &names), STORE_NAMES);
    assert_true(span_eq(names, SPAN("accept-language")));
    assert_int_equal(look(n, PLAIN "#ffffffffffffffff"), TABLE_MISS);
    assert_int_equal(publish(n, before(n), &more, &names), STORE_NAMES);
    assert_true(span_eq(names, SPAN("accept,accept-language,cookie:x")));
    more.names = "accept,accept-language,cookie:x";
    assert_int_equal(publish(n, before(n), &more, &names), STORE_OK);
    assert_int_equal(publish(n, before(n), &usual, &names), STORE_NAMES);
    assert_true(span_eq(names, SPAN("accept,accept-language,cookie:x")));
    invalidate(n, "tag", "product-42"); /* the entries are gone, what selects them is not */
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_STALE);
    assert_int_equal(look(n, PLAIN), TABLE_HIT);
    invalidate(n, "url", "www.example.com/shop/products/42");
    assert_int_equal(publish(n, before(n), &without, &names), STORE_OK);
}

/* Two tags of one variant, nothing between them: nobody knows which is current. */
static void what_contradicts_itself_answers_nothing(void **state)
{
    struct node *n = *state;
    struct response other = usual, weak = usual;
    struct table_snapshot at = before(n);
    struct table_copy copy;
    struct span names;

    other.tag = "\"v2\"";
    learn(n);
    assert_int_equal(publish(n, at, &other, &names), STORE_OK); /* begun at the same time */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN(PLAIN "#" VARIANT)), &copy),
                         TABLE_CONFLICT);
        assert_int_equal(copy.entry.flags, ENTRY_CONFLICT);
        assert_int_equal(publish(n, before(n), i % 2 ? &other : &usual, &names), STORE_OK);
    }
    assert_int_equal(look(n, PLAIN), TABLE_HIT);
    invalidate(n, "tag", "elsewhere");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_CONFLICT);
    invalidate(n, "tag", "catalog");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_STALE);
    learn(n);
    weak.flags = ENTRY_WEAK; /* says less of the same content */
    assert_int_equal(publish(n, before(n), &weak, &names), STORE_OK);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
    weak.flags = ENTRY_CONFLICT; /* not a publisher's to say */
    assert_int_equal(publish(n, before(n), &weak, &names), STORE_BAD);
}

static void a_conflict_ends_with_its_life(void **state)
{
    struct node *n = *state;
    struct response other = usual;
    struct span names;

    other.tag = "\"v2\"";
    other.ttl_ms = 1000;
    learn(n);
    assert_int_equal(publish(n, before(n), &other, &names), STORE_OK);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_CONFLICT);
    while (look(n, PLAIN "#" VARIANT) == TABLE_CONFLICT) {
        event_base_loop(n->base, EVLOOP_ONCE); /* the lease is renewed */
        assert_int_equal(publish(n, before(n), &other, &names), STORE_OK); /* the same again puts nothing off */
    }
    assert_int_equal(publish(n, before(n), &other, &names), STORE_OK);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
}

static void settle_refuses_what_begins_too_soon(void **state)
{
    struct node *n = *state;
    struct table_snapshot during;
    struct span names;

    invalidate(n, "settle", "100");
    during = before(n);
    assert_int_equal(publish(n, during, &usual, &names), STORE_STALE);
    /* The time ends with an event; a snapshot from within stays refused, a later one is taken. */
    while (publish(n, before(n), &usual, &names) != STORE_OK)
        event_base_loop(n->base, EVLOOP_ONCE);
    assert_int_equal(publish(n, during, &usual, &names), STORE_STALE);
    assert_true(before(n).seq > during.seq);
}

static void the_lease_lives_with_the_loop(void **state)
{
    struct node *n = *state;

    writer_lease(store_writer(n->store), 0);
    assert_int_equal(table_lease_left(n->table), 0);
    while (table_lease_left(n->table) == 0)
        event_base_loop(n->base, EVLOOP_ONCE);
    assert_true(table_lease_left(n->table) <= 2000);
}

static void on_fetched(void *arg, bool known)
{
    *(int *)arg = known;
}

static void fetch_tells_what_the_table_holds(void **state)
{
    struct node *n = *state;
    int known = -1;

    store_fetch(n->store, SPAN(PLAIN), on_fetched, &known);
    assert_int_equal(known, 0);
    learn(n);
    store_fetch(n->store, SPAN(PLAIN), on_fetched, &known);
    assert_int_equal(known, 1);
}

static void on_row(void *arg, const char *id, const struct span *fields, size_t n)
{
    struct texts *t = arg;

    assert_true(strlen(id) > 10 && n == 2);
    snprintf(t->all + strlen(t->all), sizeof t->all - strlen(t->all), "%.*s ", (int)fields[1].n, fields[1].p);
}

static void the_log_can_be_read(void **state)
{
    struct node *n = *state;
    struct span fields[] = {SPAN("tag"), SPAN("x")};
    struct texts t = {""};
    const char *error = NULL;
    char id[48];

    assert_true(store_embedded(n->store));
    invalidate(n, "tag", "a");
    invalidate(n, "tag", "b");
    assert_true(store_log_add(n->store, fields, 2, id, &error));
    assert_true(store_applied_at(n->store, id) > 0);
    assert_int_equal(store_log_length(n->store), 3);
    store_log_range(n->store, false, 2, on_row, &t);
    assert_string_equal(t.all, "a b ");
    t.all[0] = '\0';
    store_log_range(n->store, true, 9, on_row, &t);
    assert_string_equal(t.all, "x b a ");
    assert_false(store_log_add(n->store, fields, 1, id, &error));
    for (int i = 0; i < 2000; i++)
        invalidate(n, "tag", "many");
    assert_int_equal(store_log_length(n->store), 1000);
    invalidate(n, "by", "me");
    assert_true(last_error[0] && !last_id[0]);
    assert_int_equal(store_log_length(n->store), 1000);
}

static void on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct texts *t = arg;

    assert_non_null(value);
    if (strcmp(name, "puts") == 0 || strcmp(name, "mode") == 0 || strcmp(name, "refused_invalidated") == 0 ||
        strcmp(name, "operations_widened") == 0 || strcmp(name, "state") == 0)
        snprintf(t->all + strlen(t->all), sizeof t->all - strlen(t->all), "%s.%s=%s ", section, name, value);
}

static void on_description(void *arg, const char *name, struct span value)
{
    struct texts *t = arg;

    if (strcmp(name, "tag") == 0 || strcmp(name, "state") == 0 || strcmp(name, "names") == 0)
        snprintf(t->all + strlen(t->all), sizeof t->all - strlen(t->all), "%s=%.*s ", name, (int)value.n, value.p);
}

static void people_are_told(void **state)
{
    struct node *n = *state;
    struct table_snapshot at = before(n);
    struct texts t = {""};
    struct span names;

    assert_false(store_describe(n->store, SPAN(PLAIN), on_description, &t));
    invalidate(n, "urll", "x");
    publish(n, at, &usual, &names);
    learn(n);
    store_info(n->store, on_line, &t);
    assert_string_equal(t.all, "Store.mode=embedded Store.puts=1 Store.refused_invalidated=1 Log.operations_widened=1 "
                               "Lease.state=held ");
    t.all[0] = '\0';
    assert_true(store_describe(n->store, SPAN(PLAIN), on_description, &t));
    assert_true(store_describe(n->store, SPAN(PLAIN "#" VARIANT), on_description, &t));
    invalidate(n, "all", "1");
    assert_true(store_describe(n->store, SPAN(PLAIN), on_description, &t));
    assert_string_equal(t.all, "state=hit names=accept-language state=hit tag=\"v1\" state=invalidated ");
}

static void files_do_not_depend_on_lease_or_log(void **state)
{
    static const uint8_t digest[32] = {1, 2, 3};
    struct node *n = *state;
    struct table_copy copy;

    assert_true(store_put_file(n->store, SPAN("file 1:2:3"), digest));
    invalidate(n, "all", "1");
    writer_lease(store_writer(n->store), 0);
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN("file 1:2:3")), &copy), TABLE_HIT);
    assert_true(copy.entry.kind == ENTRY_FILE && span_eq(copy.entry.tag, span_of((const char *)digest, 32)));
}

static int setup_short_horizon(void **state)
{
    return setup_with(state, 100);
}

static uint64_t cells_marked(struct node *n)
{
    struct writer_stats stats;

    writer_stats(store_writer(n->store), &stats);
    return stats.cells_marked;
}

/* Once nothing that was learned before them can be alive: by the second turn of half a horizon. */
static void old_invalidations_cost_nothing(void **state)
{
    struct node *n = *state;
    const uint64_t start = clock_mono_ms(), patience = 10000;

    invalidate(n, "tag", "product-42");
    assert_int_not_equal(cells_marked(n), 0);
    while (cells_marked(n) && clock_mono_ms() - start < patience)
        event_base_loop(n->base, EVLOOP_ONCE);
    assert_int_equal(cells_marked(n), 0);
    assert_in_range(clock_mono_ms() - start, 50, patience);
    learn(n);
    invalidate(n, "tag", "product-42");
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_STALE);
}

#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_NODE(what_was_learned_is_found),
        WITH_NODE(every_operation_invalidates),
        WITH_NODE(any_query_of_the_path_invalidates),
        WITH_NODE(a_fill_begun_before_is_refused),
        WITH_NODE(snapshots_that_mean_nothing_are_refused),
        WITH_NODE(malformed_puts_are_refused),
        WITH_NODE(names_only_grow_until_something_covers_them),
        WITH_NODE(what_contradicts_itself_answers_nothing),
        WITH_NODE(a_conflict_ends_with_its_life),
        WITH_NODE(settle_refuses_what_begins_too_soon),
        WITH_NODE(the_lease_lives_with_the_loop),
        WITH_NODE(fetch_tells_what_the_table_holds),
        WITH_NODE(the_log_can_be_read),
        WITH_NODE(people_are_told),
        WITH_NODE(files_do_not_depend_on_lease_or_log),
        cmocka_unit_test_setup_teardown(old_invalidations_cost_nothing, setup_short_horizon, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
