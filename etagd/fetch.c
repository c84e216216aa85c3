/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/lib/key.h"
#include "etagd/lib/xxh.h"

#define BUCKETS 1024u
#define FETCHES_MAX 1024u /* keys on their way */
#define WAITERS_MAX 65536u
#define CAPSULES 512u /* kept, by the front of their id */
#define CAPSULE_AGAIN_MS 60000u
#define KEY_ROOM (KEY_SIZE + 128)

struct waiter {
    struct waiter *next;
    void (*done)(void *arg, bool known); /* NULL: forgotten */
    void *arg;
};

struct fetch {
    struct fetch *next;
    struct fetches *all;
    struct routes *routes;
    struct waiter *waiters;
    bool lived; /* its life was answered, which is asked before the value so that it is never too long */
    bool half; /* no value will come after that */
    uint64_t ttl_ms;
    struct entry_text *text; /* while its capsule is on its way */
    struct span key;
    char key_text[KEY_SIZE];
};

struct capsule {
    char id[ENTRY_TEXT_CAPSULE + 1];
    uint64_t shared_ms; /* 0: not by us */
    size_t n;
    char bytes[CAPSULE_MAX];
};

struct fetches {
    char prefix[64];
    bool (*entry)(void *arg, struct span key, const struct entry_text *text, struct span capsule, uint64_t ttl_ms);
    void *arg;
    struct fetch *buckets[BUCKETS];
    struct fetch *finishing; /* no longer in a bucket, some waiters not told yet; the newest first */
    struct capsule capsules[CAPSULES];
    struct entry_text text; /* scratch: large */
    size_t waiting;
    struct fetch_stats stats;
};

struct fetches *fetches_new(const char *prefix,
                            bool (*entry)(void *arg, struct span key, const struct entry_text *text,
                                          struct span capsule, uint64_t ttl_ms),
                            void *arg)
{
    struct fetches *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    snprintf(f->prefix, sizeof f->prefix, "%s", prefix);
    f->entry = entry;
    f->arg = arg;
    return f;
}

static void fetch_free(struct fetch *x)
{
    for (struct waiter *w = x->waiters, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    free(x->text);
    free(x);
}

void fetches_free(struct fetches *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct fetch *x = f->buckets[i], *next; x; x = next) {
            next = x->next;
            fetch_free(x);
        }
    }
    free(f);
}

void fetches_stats(const struct fetches *f, struct fetch_stats *out)
{
    *out = f->stats;
}

/* ---- who waits ---- */

static struct fetch **bucket_of(struct fetches *f, struct span key)
{
    return &f->buckets[XXH3_64bits(key.p, key.n) % BUCKETS];
}

static bool add_waiter(struct fetch *x, void (*done)(void *arg, bool known), void *arg)
{
    struct waiter *w;

    if (!done)
        return true;
    w = x->all->waiting < WAITERS_MAX ? malloc(sizeof *w) : NULL;
    if (!w)
        return false;
    *w = (struct waiter){x->waiters, done, arg};
    x->waiters = w;
    x->all->waiting++;
    return true;
}

static void finish(struct fetch *x, bool known)
{
    struct fetches *f = x->all;
    struct fetch **at = bucket_of(f, x->key);

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    f->stats.in_flight--;
    /* A waiter may ask again, so the fetch is out of sight before the first hears of it. And it may end its
     * connection, on which others of this fetch waited: fetches_forget must find those. */
    x->next = f->finishing;
    f->finishing = x;
    while (x->waiters) {
        struct waiter *w = x->waiters;

        x->waiters = w->next;
        f->waiting--;
        if (w->done)
            w->done(w->arg, known);
        free(w);
    }
    f->finishing = x->next;
    fetch_free(x);
}

static void forget_in(struct fetch *list, const void *arg)
{
    for (struct fetch *x = list; x; x = x->next)
        for (struct waiter *w = x->waiters; w; w = w->next)
            if (w->arg == arg)
                w->done = NULL;
}

void fetches_forget(struct fetches *f, void *arg)
{
    if (f->waiting == 0)
        return;
    forget_in(f->finishing, arg);
    for (size_t i = 0; i < BUCKETS; i++)
        forget_in(f->buckets[i], arg);
}

/* ---- capsules ---- */

static struct capsule *capsule_slot(struct fetches *f, const char *id)
{
    return &f->capsules[XXH3_64bits(id, ENTRY_TEXT_CAPSULE) % CAPSULES];
}

static void keep_capsule(struct fetches *f, const char *id, struct span bytes)
{
    struct capsule *c = capsule_slot(f, id);

    if (strcmp(c->id, id) == 0)
        return;
    memcpy(c->id, id, sizeof c->id);
    memcpy(c->bytes, bytes.p, bytes.n);
    c->n = bytes.n;
    c->shared_ms = 0;
}

static size_t capsule_key(const struct fetches *f, const char *id, char out[KEY_ROOM])
{
    return (size_t)snprintf(out, KEY_ROOM, "%s:h:%s", f->prefix, id);
}

bool fetches_share_capsule(struct fetches *f, struct routes *routes, struct span capsule, uint64_t ttl_ms,
                           char id[ENTRY_TEXT_CAPSULE + 1])
{
    char key[KEY_ROOM], ttl[24];
    uint64_t now = clock_mono_ms();
    struct capsule *c;
    size_t n;

    if (capsule.n > CAPSULE_MAX || !entry_text_capsule_id(capsule, id))
        return false;
    keep_capsule(f, id, capsule);
    c = capsule_slot(f, id);
    if (c->shared_ms && now - c->shared_ms < CAPSULE_AGAIN_MS)
        return true;
    n = capsule_key(f, id, key);
    /* It has to outlive every entry that is stored until it is stored again. */
    snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms + 2 * CAPSULE_AGAIN_MS);
    struct span argv[] = {SPAN_LITERAL("SET"), span_of(key, n), capsule, SPAN_LITERAL("PX"), span_str(ttl)};
    if (!routes_send(routes, argv[1], 5, argv, NULL, NULL))
        return false;
    c->shared_ms = now;
    return true;
}

void fetches_capsules_lost(struct fetches *f)
{
    for (size_t i = 0; i < CAPSULES; i++)
        f->capsules[i].shared_ms = 0;
}

/* ---- one key ---- */

static void take(struct fetch *x, const struct entry_text *text, struct span capsule)
{
    struct fetches *f = x->all;

    f->stats.found++;
    finish(x, f->entry(f->arg, x->key, text, capsule, x->ttl_ms));
}

static void on_capsule(void *arg, const struct redis_reply *reply)
{
    struct fetch *x = arg;
    struct span bytes = redis_text(reply);
    char id[ENTRY_TEXT_CAPSULE + 1];

    if (redis_kind(reply) != REDIS_TEXT || bytes.n > CAPSULE_MAX || !entry_text_capsule_id(bytes, id) ||
        !span_eq(span_str(id), x->text->capsule)) {
        x->all->stats.failed++;
        finish(x, false);
        return;
    }
    keep_capsule(x->all, id, bytes);
    take(x, x->text, bytes);
}

/* The text is copied: its words point into its own storage. */
static bool keep_text(struct fetch *x, struct span value)
{
    x->text = malloc(sizeof *x->text);
    return x->text && entry_text_read(value, x->text);
}

static void with_capsule(struct fetch *x, struct span value, const struct entry_text *text)
{
    struct fetches *f = x->all;
    char id[ENTRY_TEXT_CAPSULE + 1], key[KEY_ROOM];
    const struct capsule *c;

    if (text->capsule.n == 0) {
        take(x, text, span_of(NULL, 0));
        return;
    }
    memcpy(id, text->capsule.p, ENTRY_TEXT_CAPSULE);
    id[ENTRY_TEXT_CAPSULE] = '\0';
    c = capsule_slot(f, id);
    if (strcmp(c->id, id) == 0) {
        take(x, text, span_of(c->bytes, c->n));
        return;
    }
    struct span argv[] = {SPAN_LITERAL("GET"), span_of(key, capsule_key(f, id, key))};
    if (!keep_text(x, value) || !routes_send(x->routes, argv[1], 2, argv, on_capsule, x)) {
        f->stats.failed++;
        finish(x, false);
    }
}

static void on_value(void *arg, const struct redis_reply *reply)
{
    struct fetch *x = arg;
    struct fetches *f = x->all;

    if (!x->lived) {
        x->half = true; /* the life is still being looked for at another server */
    } else if (redis_kind(reply) != REDIS_TEXT || x->ttl_ms == 0) {
        f->stats.failed += redis_kind(reply) != REDIS_NIL;
        finish(x, false);
    } else if (!entry_text_read(redis_text(reply), &f->text)) {
        f->stats.failed++;
        finish(x, false);
    } else {
        with_capsule(x, redis_text(reply), &f->text);
    }
}

static void on_life(void *arg, const struct redis_reply *reply)
{
    struct fetch *x = arg;
    long long ms = redis_number(reply);

    /* -2: there is none; -1: it has no end, which etagd never writes. */
    x->ttl_ms = ms > 0 ? (uint64_t)ms : 0;
    x->lived = true;
    if (x->half)
        finish(x, false);
}

static struct fetch *begin(struct fetches *f, struct routes *routes, struct span key)
{
    struct fetch *x, **bucket = bucket_of(f, key);

    if (f->stats.in_flight == FETCHES_MAX || !(x = calloc(1, sizeof *x)))
        return NULL;
    x->all = f;
    x->routes = routes;
    memcpy(x->key_text, key.p, key.n);
    x->key = span_of(x->key_text, key.n);
    x->next = *bucket;
    *bucket = x;
    f->stats.in_flight++;
    return x;
}

void fetches_ask(struct fetches *f, struct routes *routes, struct span key, void (*done)(void *arg, bool known),
                 void *arg)
{
    char name[KEY_ROOM];
    struct span life[] = {SPAN_LITERAL("PTTL"), {name, 0}}, get[] = {SPAN_LITERAL("GET"), {name, 0}};
    struct fetch *x = *bucket_of(f, key);

    while (x && !span_eq(x->key, key))
        x = x->next;
    if (x) {
        if (!add_waiter(x, done, arg))
            done(arg, false);
        return;
    }
    life[1].n = get[1].n = (size_t)snprintf(name, sizeof name, "%s:e:%.*s", f->prefix, (int)key.n, key.p);
    x = key.n <= KEY_SIZE && routes_is_up(routes, get[1]) ? begin(f, routes, key) : NULL;
    if (!x || !add_waiter(x, done, arg)) {
        if (x)
            finish(x, false);
        if (done)
            done(arg, false);
        return;
    }
    f->stats.asked++;
    if (!routes_send(routes, life[1], 2, life, on_life, x))
        finish(x, false);
    else
        x->half = !routes_send(routes, get[1], 2, get, on_value, x);
}
