/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of entries, names of hosts, and the embedded store end to end: published, found in the table by
 * a reader of its own, invalidated by every operation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/conf.h"
#include "etagd/effect.h"
#include "etagd/entry_text.h"
#include "etagd/lib/entry.h"
#include "etagd/store.h"

#define SPAN SPAN_LITERAL

/* ---- texts ---- */

static const char base[16] = { 0x00, (char)0xff, 'a', ' ', '\n', 0x7f, '%', 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static struct entry_text *text_of(enum entry_kind kind, struct span tag)
{
    struct entry_text *t = calloc(1, sizeof *t);

    assert_non_null(t);
    t->epoch = SPAN("0123456789abcdef");
    t->as_of = (struct log_id){ 1795310948748, 2 };
    t->entry = (struct entry){ .kind = kind, .flags = ENTRY_WEAK, .last_modified = 1700000000, .tag = tag };
    t->capsule = SPAN("00112233445566778899aabbccddeeff");
    return t;
}

static void round_trip(struct entry_text *t)
{
    struct entry_text *back = malloc(sizeof *back);
    char buf[ENTRY_TEXT_MAX];
    size_t n = entry_text_write(buf, sizeof buf, t), tags = 0, groups = 0;

    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        assert_true(buf[i] >= ' ' && buf[i] <= '~');
    assert_true(entry_text_read(span_of(buf, n), back));
    assert_true(span_eq(back->epoch, t->epoch) && log_id_cmp(back->as_of, t->as_of) == 0);
    assert_true(back->entry.kind == t->entry.kind && back->entry.flags == t->entry.flags);
    assert_true(back->entry.last_modified == t->entry.last_modified && span_eq(back->entry.tag, t->entry.tag));
    assert_true(span_eq(back->capsule, t->capsule));
    for (size_t i = 0; i < t->ntags; i++)
        if (t->tags[i].n)
            assert_true(span_eq(back->tags[tags++], t->tags[i]));
    for (size_t i = 0; i < t->ngroups; i++)
        if (t->groups[i].n)
            assert_true(span_eq(back->groups[groups++], t->groups[i]));
    assert_int_equal(back->ntags, tags);
    assert_int_equal(back->ngroups, groups);
    assert_int_equal(entry_text_write(buf, n - 1, t), 0);
    free(back);
    free(t);
}

static void texts_round_trip(void **state)
{
    struct entry_text *t;

    (void)state;
    round_trip(text_of(ENTRY_DIGEST, span_of(base, sizeof base)));
    round_trip(text_of(ENTRY_GENERATION, span_of(base, sizeof base)));
    round_trip(text_of(ENTRY_UPSTREAM, SPAN("W/\"a b%\t\xff\"")));
    t = text_of(ENTRY_NAMES, SPAN(""));
    t->entry.last_modified = ENTRY_UNDATED;
    t->capsule = SPAN("");
    round_trip(t);
    t = text_of(ENTRY_VERSION, span_of(base, sizeof base));
    t->entry.last_modified = -5;
    t->tags[0] = SPAN("product-42");
    t->tags[1] = SPAN("@group?"); /* a tag that looks like a group stays a tag */
    t->tags[2] = SPAN("with space, comma and 100%");
    t->tags[3] = SPAN("");
    t->tags[4] = span_of(base, sizeof base);
    t->ntags = 5;
    t->groups[0] = SPAN("@");
    t->groups[1] = SPAN("news \r\n SET x y");
    t->ngroups = 2;
    round_trip(t);
}

static void malformed_texts_are_no_entries(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        "2 e 1-1 u:\"x\" 0 - -",
        " 1 e 1-1 u:\"x\" 0 - -",
        "1  e 1-1 u:\"x\" 0 - -",
        "1 e 1-1 u:\"x\" 0 - - ",
        "1 e 1-1 u:\"x\" 0 -",
        "1 e 1-1 u:\"x\" 4 - -",
        "1 e 1-1 u:\"x\" -1 - -",
        "1 e 1-1 u:\"x\" 0 9223372036854775808 -",
        "1 e 1-1 u:\"x\" 0 - abc",
        "1 e 1-1 u:\"x\" 0 - 00112233445566778899AABBCCDDEEFF",
        "1 e 1-1 u:\"x%\" 0 - -",
        "1 e 1-1 u:\"x%4\" 0 - -",
        "1 e 1-1 u:\"x%zz\" 0 - -",
        "1 e 1-1 u:\"x\"\n 0 - -",
        "1 e 1 u:\"x\" 0 - -",
        "1 e 1-1 F:AAAA 0 - -",
        "1 e 1-1 x:AAAA 0 - -",
        "1 e 1-1 d: 0 - -",
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAA 0 - -",
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAAB 0 - -", /* bits behind the 128th */
        "1 e 1-1 d:AAAAAAAAAAAAAAAAAAAAA* 0 - -",
        "1 e 1-1 N:b,a 0 - -",
        "1 e 1-1 N:a,,b 0 - -",
        "1 e 1-1 N:a,a 0 - -",
        "1 e 1-1 N:,a 0 - -",
        "1 e 1-1 N:a, 0 - -",
        "1 e 1-1 u:\"x\" 0 - - @",
        "1 e 1-1 u:\"x\" 0 - - a  b",
    };
    struct entry_text *t = malloc(sizeof *t);
    char *many = malloc(ENTRY_TEXT_MAX + 64);
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (entry_text_read(span_str(bad[i]), t))
            fail_msg("taken: %s", bad[i]);
    }
    assert_true(entry_text_read(SPAN("1 e 1-1 u:\"x\" 0 - - a @b"), t));
    n = (size_t)sprintf(many, "1 e 1-1 u:\"x\" 0 - -");
    for (int i = 0; i <= ENTRY_TEXT_NAMES; i++)
        n += (size_t)sprintf(many + n, " t%d", i);
    assert_false(entry_text_read(span_of(many, n), t));
    memset(many, 'a', ENTRY_TEXT_MAX + 1);
    memcpy(many, "1 e 1-1 u:\"x\" 0 - - ", 20);
    assert_false(entry_text_read(span_of(many, ENTRY_TEXT_MAX + 1), t));
    assert_true(entry_text_read(span_of(many, ENTRY_TEXT_MAX), t));
    free(many);
    free(t);
}

static void texts_that_cannot_be_stored(void **state)
{
    struct entry_text *t = text_of(ENTRY_FILE, SPAN("01234567890123456789012345678901"));
    char buf[ENTRY_TEXT_MAX];

    (void)state;
    assert_int_equal(entry_text_write(buf, sizeof buf, t), 0);
    t->entry.kind = ENTRY_DIGEST; /* of another length */
    assert_int_equal(entry_text_write(buf, sizeof buf, t), 0);
    free(t);
}

static void names_are_united(void **state)
{
    static const struct {
        const char *a, *b, *both;
    } cases[] = {
        { "", "", "" },
        { "a", "", "a" },
        { "", "a,b", "a,b" },
        { "a,c", "b", "a,b,c" },
        { "a,b", "a,b", "a,b" },
        { "accept,accept-language", "accept-language,cookie:x", "accept,accept-language,cookie:x" },
        { "a", "a-b,ab", "a,a-b,ab" },
    };
    char out[64];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int swap = 0; swap < 2; swap++) {
            struct span a = span_str(swap ? cases[i].b : cases[i].a), b = span_str(swap ? cases[i].a : cases[i].b);

            assert_true(entry_text_names_union(a, b, out, sizeof out, &n));
            assert_true(span_eq(span_of(out, n), span_str(cases[i].both)));
            assert_true(entry_text_names_valid(span_of(out, n)));
        }
    }
    assert_false(entry_text_names_union(SPAN("aaaa"), SPAN("b"), out, 5, &n));
    assert_false(entry_text_names_valid(SPAN("b,a")));
    assert_false(entry_text_names_valid(SPAN("a b")));
}

/* ---- hosts and effects ---- */

struct texts {
    char all[4096];
};

static void expect_effect(struct hosts *h, const char *op, const char *arg, const char *expected)
{
    struct span fields[] = { span_str(op), span_str(arg) };
    struct effect e = { 0 };
    char text[4096] = "";

    effect_of(&e, h, fields, 2);
    if (e.all)
        strcpy(text, "all ");
    else
        for (size_t i = 0; i < e.nscopes; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s ", (int)e.scopes[i].n, e.scopes[i].p);
    assert_string_equal(text, expected);
    effect_free(&e);
}

static void names_of_hosts_are_resolved(void **state)
{
    struct hosts *h = hosts_new();

    (void)state;
    expect_effect(h, "url", "anything.example/p", "Uanything.example/p "); /* nobody announced anything */
    assert_true(hosts_announce(h, SPAN("WWW.example.com"), SPAN("example.com")));
    expect_effect(h, "url", "www.example.com/p", "Uwww.example.com/p Uexample.com/p ");
    expect_effect(h, "url", "https://WWW.Example.com/p?q", "Uwww.example.com/p?q Uexample.com/p?q Qwww.example.com/p Qexample.com/p ");
    expect_effect(h, "url", "www.example.com:8080/p", "Uwww.example.com:8080/p Uexample.com/p Uexample.com:8080/p ");
    expect_effect(h, "prefix", "www.example.com/a/", "Pwww.example.com/a Pexample.com/a ");
    expect_effect(h, "host", "www.example.com", "Hwww.example.com Hexample.com ");
    expect_effect(h, "group", "www.example.com news", "Gwww.example.com news Gexample.com news T* ");
    expect_effect(h, "url", "example.com/p", "Uexample.com/p Uexample.com/p ");
    expect_effect(h, "tag", "x", "Tx T* ");
    expect_effect(h, "url", "exmaple.com/p", "all ");
    expect_effect(h, "host", "exmaple.com", "all ");
    expect_effect(h, "group", "exmaple.com news", "all ");
    expect_effect(h, "prefix", "/p/", "all ");
    expect_effect(h, "urll", "example.com/p", "all ");
    expect_effect(h, "by", "me", "");
    /* Two sites behind one alias: both. */
    assert_true(hosts_announce(h, SPAN("www.example.com"), SPAN("other.example:8443")));
    expect_effect(h, "url", "www.example.com/p", "Uwww.example.com/p Uexample.com/p Uother.example:8443/p ");
    expect_effect(h, "host", "other.example", "Hother.example Hother.example ");
    /* A pair that cannot be kept could be any: from now on every host is unknown, tags are not. */
    assert_false(hosts_announce(h, SPAN("bad host"), SPAN("example.com")));
    expect_effect(h, "url", "www.example.com/p", "all ");
    expect_effect(h, "tag", "x", "Tx T* ");
    hosts_free(h);
}

static void on_missing(void *arg, struct span alias, struct span value)
{
    struct texts *t = arg;

    snprintf(t->all + strlen(t->all), sizeof t->all - strlen(t->all), "%.*s=%.*s;", (int)alias.n, alias.p, (int)value.n,
             value.p);
}

static void what_the_hash_lacks_is_announced(void **state)
{
    struct hosts *h = hosts_new();
    struct texts t = { "" };

    (void)state;
    hosts_announce(h, SPAN("a.example"), SPAN("one.example"));
    hosts_shared_begin(h);
    hosts_shared(h, SPAN("a.example"), SPAN("two.example"));
    hosts_missing(h, on_missing, &t);
    assert_string_equal(t.all, "a.example=one.example two.example;"); /* nobody's is taken away */
    t.all[0] = '\0';
    hosts_shared_begin(h);
    hosts_shared(h, SPAN("a.example"), SPAN("one.example  two.example"));
    hosts_missing(h, on_missing, &t);
    assert_string_equal(t.all, "");
    expect_effect(h, "host", "a.example", "Ha.example Hone.example Htwo.example ");
    hosts_free(h);
}

static void one_record_has_one_effect(void **state)
{
    struct span fields[] = { SPAN("url"),    SPAN("h/p"), SPAN("tag"), SPAN("x"),  SPAN("by"),
                             SPAN("me"),     SPAN("settle"), SPAN("250"), SPAN("epoch"), SPAN("abc"),
                             SPAN("x-hosts"), SPAN("changed") };
    struct hosts *h = hosts_new();
    struct effect e = { 0 };

    (void)state;
    effect_of(&e, h, fields, 12);
    assert_true(!e.all && !e.nothing && e.hosts_changed && e.settle_ms == 250 && e.nscopes == 3);
    assert_true(span_eq(e.epoch, SPAN("abc")));
    effect_of(&e, h, fields + 4, 2);
    assert_true(e.nothing && e.nscopes == 0 && e.settle_ms == 0 && !e.hosts_changed);
    effect_of(&e, h, fields, 3); /* half a pair */
    assert_true(e.all);
    effect_free(&e);
    hosts_free(h);
}

/* ---- the embedded store ---- */

#define KEY SPAN("https://www.example.com/shop/products/42?lang=de")
#define PLAIN "https://www.example.com/shop/products/42?lang=de"
#define VARIANT "0123456789abcdef"

struct node {
    struct event_base *base;
    struct store *store;
    struct table *table; /* a reader as httpd is one */
    struct conf conf;
};

static char prefix[] = "etag", socket_path[] = "/tmp/unused.sock", node_name[] = "test";

static int setup(void **state)
{
    struct node *n = calloc(1, sizeof *n);
    const char *why = "";

    n->conf = (struct conf){ .socket = socket_path, .node = node_name, .key_prefix = prefix, .lease_ms = 2000,
                             .horizon_ms = 172800000, .log_max = 1000, .tag_ttl_ms = 86400000,
                             .table_bytes = 4 << 20 };
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

static int teardown(void **state)
{
    struct node *n = *state;

    table_unmap(n->table);
    store_free(n->store);
    event_base_free(n->base);
    free(n);
    return 0;
}

static struct table_snapshot before(const struct node *n)
{
    return table_snapshot(n->table);
}

struct response {
    const char *names, *variant, *tag;
    uint64_t ttl_ms;
    unsigned flags;
};

static enum store_result publish(struct node *n, struct table_snapshot at, const struct response *r, struct span *names)
{
    static const struct span tags[] = { { "product-42", 10 }, { "catalog", 7 } }, groups[] = { { "news desk", 9 } };
    struct entry e = {
        .kind = ENTRY_UPSTREAM, .flags = r->flags, .last_modified = ENTRY_UNDATED, .tag = span_str(r->tag) };
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

static const struct response usual = { "accept-language", VARIANT, "\"v1\"", 0, 0 };

static enum table_result look(const struct node *n, const char *key)
{
    struct table_copy copy;

    return table_lookup(n->table, table_identify(n->table, span_str(key)), &copy);
}

static void learn(struct node *n)
{
    struct span names;

    assert_int_equal(publish(n, before(n), &usual, &names), STORE_OK);
    assert_int_equal(look(n, PLAIN), TABLE_HIT);
    assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
}

static char last_id[64], last_error[128];

static void on_done(void *arg, const char *id, const char *error)
{
    ++*(int *)arg;
    snprintf(last_id, sizeof last_id, "%s", id ? id : "");
    snprintf(last_error, sizeof last_error, "%s", error ? error : "");
}

static void invalidate(struct node *n, const char *op, const char *arg)
{
    struct span fields[] = { span_str(op), span_str(arg) };
    int calls = 0;

    store_invalidate(n->store, fields, 2, on_done, &calls);
    assert_int_equal(calls, 1);
}

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
        { "url", "www.example.com/shop/products/42?lang=de" },
        { "url", "www.example.com/shop/products/42" },
        { "url", "http://WWW.example.com/shop/products/42" },
        { "prefix", "www.example.com/shop/" },
        { "prefix", "www.example.com/shop/products/42" },
        { "prefix", "www.example.com/" },
        { "host", "www.example.com" },
        { "tag", "product-42" },
        { "tag", "catalog" },
        { "group", "www.example.com news desk" },
        { "all", "1" },
        { "prefix", "/shop/" },
        { "tga", "product-42" },
        { "url", "" },
    };
    static const char *const others[][2] = {
        { "url", "www.example.com/shop/products/42?lang=fr" },
        { "url", "www.example.com/shop/products/4" },
        { "url", "www.example.org/shop/products/42" },
        { "prefix", "www.example.com/sho" },
        { "prefix", "www.example.com/shop/products/42/x" },
        { "host", "example.com" },
        { "tag", "product-4" },
        { "group", "www.example.com news" },
        { "group", "www.example.org news desk" },
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
        { "b,a", VARIANT, "\"x\"", 0, 0 }, { "a b", VARIANT, "\"x\"", 0, 0 },   { "", "", "\"x\"", 0, 0 },
        { "", "a#b", "\"x\"", 0, 0 },      { "", "a b", "\"x\"", 0, 0 },        { "", VARIANT, "\"", 0, 0 },
        { "", VARIANT, "\"x\"", 999, 0 },
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(publish(n, before(n), &bad[i], &names), STORE_BAD);
    assert_int_equal(look(n, PLAIN), TABLE_MISS);
}

static void names_only_grow_until_something_covers_them(void **state)
{
    struct node *n = *state;
    struct response without = { "", "ffffffffffffffff", "\"v2\"", 0, 0 }, more = { "accept,cookie:x", VARIANT, "\"v3\"", 0, 0 };
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
    struct span fields[] = { SPAN("tag"), SPAN("x") };
    struct texts t = { "" };
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
    struct texts t = { "" };
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
    static const uint8_t digest[32] = { 1, 2, 3 };
    struct node *n = *state;
    struct table_copy copy;

    assert_true(store_put_file(n->store, SPAN("file 1:2:3"), digest));
    invalidate(n, "all", "1");
    writer_lease(store_writer(n->store), 0);
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN("file 1:2:3")), &copy), TABLE_HIT);
    assert_true(copy.entry.kind == ENTRY_FILE && span_eq(copy.entry.tag, span_of((const char *)digest, 32)));
}

#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_round_trip),
        cmocka_unit_test(malformed_texts_are_no_entries),
        cmocka_unit_test(texts_that_cannot_be_stored),
        cmocka_unit_test(names_are_united),
        cmocka_unit_test(names_of_hosts_are_resolved),
        cmocka_unit_test(what_the_hash_lacks_is_announced),
        cmocka_unit_test(one_record_has_one_effect),
        WITH_NODE(what_was_learned_is_found),
        WITH_NODE(every_operation_invalidates),
        WITH_NODE(any_query_of_the_path_invalidates),
        WITH_NODE(a_fill_begun_before_is_refused),
        WITH_NODE(snapshots_that_mean_nothing_are_refused),
        WITH_NODE(malformed_puts_are_refused),
        WITH_NODE(names_only_grow_until_something_covers_them),
        WITH_NODE(settle_refuses_what_begins_too_soon),
        WITH_NODE(the_lease_lives_with_the_loop),
        WITH_NODE(fetch_tells_what_the_table_holds),
        WITH_NODE(the_log_can_be_read),
        WITH_NODE(people_are_told),
        WITH_NODE(files_do_not_depend_on_lease_or_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
