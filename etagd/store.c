/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/store.h"

#include <event2/event.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/fields.h"
#include "etagd/lib/digest.h"
#include "etagd/log.h"
#include "etagd/redis_url.h"
#include "etagd/store_state.h"

/* A scope that no record has: invalidating it only takes a seq. */
#define NO_SCOPE SPAN_LITERAL("-")

/* ---- what the log says ---- */

static void report_widened(struct store *s, const struct span *fields, size_t n, const char *id)
{
    uint64_t now = clock_mono_ms();
    char text[200];

    s->counts.widened += s->effect.widened;
    if (s->warned_ms && now - s->warned_ms < 1000)
        return; /* a replay may hold many; INFO counts them */
    s->warned_ms = now;
    fields_text(fields, n, text, sizeof text);
    log_warn("record %s forgets %s (%s): %s; operations are listed in docs/protocol.md", id,
             s->effect.all ? "everything" : "more than it says", s->effect.reason, text);
}

static void arm_settle_timer(struct store *s, uint64_t ms)
{
    struct timeval after = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    event_add(s->settle_timer, &after);
}

static void settle(struct store *s, uint64_t ms)
{
    uint64_t until = clock_boot_ms() + ms;

    if (until <= s->settle_until_ms)
        return;
    s->settle_until_ms = until;
    arm_settle_timer(s, ms);
}

/* A snapshot carries no time. So the time is over with a seq of its own: what is published with a smaller
 * one was begun before. */
static void on_settled(evutil_socket_t fd, short what, void *arg)
{
    struct store *s = arg;
    struct span scope = NO_SCOPE;
    uint64_t now = clock_boot_ms();

    (void)fd;
    (void)what;
    if (now < s->settle_until_ms) {
        arm_settle_timer(s, s->settle_until_ms - now); /* the loop's idea of now was behind */
        return;
    }
    s->settle_seq = writer_invalidate(s->writer, &scope, 1);
    s->settle_until_ms = 0;
}

/* The table, in one step. Returns its seq: one of its own for every record, so that a response that is begun
 * after one is known to be. */
static uint64_t apply(struct store *s)
{
    const struct effect *e = &s->effect;
    struct span none = NO_SCOPE;

    if (e->all)
        return writer_invalidate(s->writer, NULL, 0);
    if (e->nscopes)
        return writer_invalidate(s->writer, e->scopes, e->nscopes);
    return writer_invalidate(s->writer, &none, 1);
}

static void mark(struct store *s, struct log_id id)
{
    const struct effect *e = &s->effect;

    if (e->all)
        positions_mark_all(s->positions, id);
    else
        for (size_t i = 0; i < e->nscopes; i++)
            positions_mark(s->positions, e->scopes[i], id);
}

static void on_record(void *arg, struct log_id id, const struct span *fields, size_t n)
{
    struct store *s = arg;
    char text[LOG_ID_TEXT];
    uint64_t seq;

    effect_of(&s->effect, s->hosts, fields, n);
    seq = apply(s);
    mark(s, id);
    if (s->effect.all)
        store_versions_forget(s);
    store_versions_told(s, id);
    if (s->effect.settle_ms)
        settle(s, s->effect.settle_ms);
    positions_record(s->positions, seq, id, clock_ns(CLOCK_MONOTONIC));
    s->counts.records++;
    fields_text(fields, n, s->last_operation, sizeof s->last_operation);
    if (s->effect.widened) {
        log_id_format(id, text);
        report_widened(s, fields, n, text);
    }
    if (s->shared && s->effect.hosts_changed)
        shared_hosts_changed(s->shared);
    if (s->effect.conflict.n)
        store_conflict_announced(s, id);
    if (s->shared && s->effect.names.n)
        store_names_announced(s);
    if (s->shared && s->effect.epoch.n && !span_eq(s->effect.epoch, span_str(store_epoch(s))))
        shared_renew(s->shared);
}

static void on_entered(void *arg, struct log_id position)
{
    struct store *s = arg;

    positions_reset(s->positions, writer_invalidate(s->writer, NULL, 0), position);
    store_versions_forget(s);
    if (s->shared)
        shared_entered(s->shared);
}

static void on_missed(void *arg, struct log_id position)
{
    struct store *s = arg;

    positions_flush(s->positions, writer_invalidate(s->writer, NULL, 0), position);
    store_versions_forget(s);
}

static void on_lease(void *arg, uint64_t until_ms)
{
    struct store *s = arg;

    writer_lease(s->writer, until_ms);
}

/* Names that became one site may have been named by records that are applied already, by invalidations of
 * ours that are not, and by what is stored: all of them were judged while the names were apart. So whatever
 * is older than now may be covered. */
static void on_hosts(void *arg)
{
    struct store *s = arg;
    struct log_id position = s->shared ? coherence_position(shared_coherence(s->shared)) : embedded_last(s->embedded);
    uint64_t version = hosts_version(s->hosts);

    if (version == s->hosts_version)
        return;
    s->hosts_version = version;
    positions_flush(s->positions, writer_invalidate(s->writer, NULL, 0), position);
    positions_mark_all(s->positions, position);
    positions_rename(s->positions);
}

/* Our own invalidation has its place in the log: entries from behind it are good again. */
static void on_appended(void *arg, uint64_t serial, struct log_id id, const struct span *fields, size_t n)
{
    struct store *s = arg;

    effect_of(&s->effect, s->hosts, fields, n);
    mark(s, id);
    positions_acknowledge(s->positions, serial);
}

/* ---- life ---- */

static void on_clean_timer(evutil_socket_t fd, short what, void *arg)
{
    struct store *s = arg;

    (void)fd;
    (void)what;
    writer_clean(s->writer, s->clean_seq);
    s->clean_seq = writer_seq(s->writer);
}

static void on_lease_timer(evutil_socket_t fd, short what, void *arg)
{
    struct store *s = arg;

    (void)fd;
    (void)what;
    writer_lease(s->writer, clock_boot_ms() + s->conf->lease_ms);
}

/* A timer that comes again and again; NULL: out of memory. */
static struct event *periodic(struct event_base *base, uint64_t ms, event_callback_fn call, struct store *s)
{
    struct timeval every = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    struct event *timer = event_new(base, -1, EV_PERSIST, call, s);

    if (timer && event_add(timer, &every) != 0) {
        event_free(timer);
        return NULL;
    }
    return timer;
}

static bool start_embedded(struct store *s, struct event_base *base, const char **why)
{
    unsigned char id[16];

    *why = "out of memory";
    s->embedded = embedded_new(s->conf->log_max, s->conf->horizon_ms);
    s->lease_timer = periodic(base, s->conf->lease_ms / 5, on_lease_timer, s);
    if (!s->embedded || !s->lease_timer)
        return false;
    if (RAND_bytes(id, sizeof id) != 1) {
        *why = "libcrypto has no random numbers";
        return false;
    }
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(s->embedded_epoch + 2 * i, 3, "%02x", id[i]);
    on_entered(s, (struct log_id){0, 0});
    on_lease_timer(-1, 0, s);
    return true;
}

static bool start_shared(struct store *s, struct event_base *base, const char **why)
{
    struct shared_events events = {
        .log = {.entered = on_entered, .missed = on_missed, .record = on_record, .lease = on_lease, .arg = s},
        .entry = store_take_entry,
        .met = store_meet_entry,
        .hosts = on_hosts,
        .appended = on_appended,
    };
    struct redis_url url;

    if (!redis_url_parse(s->conf->redis, &url, why))
        return false;
    redis_url_text(&url, s->url, sizeof s->url);
    s->shared = shared_new(base, s->conf, s->hosts, &events, why);
    return s->shared != NULL;
}

static void restore_file(void *arg, struct span identity, const uint8_t *digest)
{
    store_insert_file(arg, identity, digest);
}

/* Files are true whatever Redis says: they are in the table before anybody can have it. */
static bool restore_files(struct store *s, struct event_base *base)
{
    char path[4096];

    if (!conf_digest_file(s->conf, path, sizeof path))
        return true;
    s->digests = digests_new(base, path, DIGESTS_SAVE_EVERY_MS);
    if (!s->digests)
        return false;
    digests_each(s->digests, restore_file, s);
    return true;
}

void store_save_files(struct store *s)
{
    digests_save(s->digests);
}

struct store *store_new(struct event_base *base, const struct conf *conf, const char **why)
{
    struct writer_size size = {.bytes = conf->table_bytes};
    struct store *s = calloc(1, sizeof *s);

    *why = "out of memory";
    if (!s)
        return NULL;
    s->conf = conf;
    s->positions = positions_new();
    s->hosts = hosts_new();
    s->versions = versions_new();
    s->settle_timer = event_new(base, -1, 0, on_settled, s);
    s->clean_timer = periodic(base, store_longest_ms(s), on_clean_timer, s);
    s->digest = digest_new();
    if (!s->positions || !s->hosts || !s->versions || !s->settle_timer || !s->clean_timer || !s->digest)
        goto fail;
    s->writer = writer_create(&size, why);
    if (!s->writer)
        goto fail;
    s->birth_ms = clock_boot_ms();
    if (!restore_files(s, base))
        goto fail;
    if (conf->redis ? start_shared(s, base, why) : start_embedded(s, base, why))
        return s;
fail:
    store_free(s);
    return NULL;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    shared_free(s->shared);
    embedded_free(s->embedded);
    if (s->lease_timer)
        event_free(s->lease_timer);
    if (s->settle_timer)
        event_free(s->settle_timer);
    if (s->clean_timer)
        event_free(s->clean_timer);
    digests_free(s->digests);
    writer_leave(s->writer);
    positions_free(s->positions);
    hosts_free(s->hosts);
    versions_free(s->versions);
    effect_free(&s->effect);
    digest_free(s->digest);
    free(s);
}

struct writer *store_writer(struct store *s)
{
    return s->writer;
}

bool store_embedded(const struct store *s)
{
    return s->embedded != NULL;
}

/* ---- invalidations of this node ---- */

static void append_embedded(struct store *s, const struct span *fields, size_t n, char id[LOG_ID_TEXT])
{
    struct log_id at = embedded_add(s->embedded, fields, n);

    on_record(s, at, fields, n);
    log_id_format(at, id);
}

/* On this node it is over before the answer leaves; the log may take its time. Until it has given an id,
 * nothing that other nodes stored counts as newer. */
static void append_shared(struct store *s, const struct span *fields, size_t n)
{
    uint64_t serial = shared_append(s->shared, fields, n);
    const struct effect *e = &s->effect;

    effect_of(&s->effect, s->hosts, fields, n);
    apply(s);
    if (e->all)
        positions_pend_all(s->positions, serial);
    else
        for (size_t i = 0; i < e->nscopes; i++)
            positions_pend(s->positions, e->scopes[i], serial);
}

static const char *check_fields(const struct span *fields, size_t n)
{
    struct scope scope;
    bool any = false;

    if (n == 0 || n % 2 != 0)
        return "operations and arguments come in pairs: op arg [op arg...]";
    for (size_t i = 0; i < n; i += 2) {
        scope_from_operation(fields[i], fields[i + 1], &scope);
        /* Here it would be known before the log has given it its place among others. */
        if (scope.kind == SCOPE_VERSION)
            return "a version is told to the log itself: XADD {etag}:log '*' version 'name value'";
        any |= scope.kind != SCOPE_NONE;
    }
    return any ? NULL : "nothing to invalidate: by, why, note, epoch and x-* are remarks";
}

void store_append(struct store *s, const struct span *fields, size_t n, char id[LOG_ID_TEXT])
{
    memcpy(id, "local", sizeof "local");
    if (s->embedded)
        append_embedded(s, fields, n, id);
    else
        append_shared(s, fields, n);
}

void store_invalidate(struct store *s, const struct span *fields, size_t nfields,
                      void (*done)(void *arg, const char *id, const char *error), void *arg)
{
    const char *error = check_fields(fields, nfields);
    char id[LOG_ID_TEXT];

    if (error) {
        done(arg, NULL, error);
        return;
    }
    s->counts.invalidations++;
    store_append(s, fields, nfields, id);
    done(arg, id, NULL);
}

bool store_log_add(struct store *s, const struct span *fields, size_t nfields, char id[48], const char **error)
{
    if (s->embedded && nfields && nfields % 2 == 0) {
        append_embedded(s, fields, nfields, id);
        return true;
    }
    *error = s->embedded ? "operations and arguments come in pairs: op arg [op arg...]" : s->url;
    return false;
}

size_t store_log_length(const struct store *s)
{
    return s->embedded ? embedded_length(s->embedded) : 0;
}

void store_log_range(const struct store *s, bool reverse, size_t limit,
                     void (*row)(void *arg, const char *id, const struct span *fields, size_t n), void *arg)
{
    if (s->embedded)
        embedded_range(s->embedded, reverse, limit, row, arg);
}

uint64_t store_applied_at(const struct store *s, const char *id)
{
    struct log_id at;

    return log_id_parse(span_str(id), &at) ? positions_visible_at(s->positions, at) : 0;
}

void store_hosts(struct store *s, const struct span *pairs, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        if (!hosts_announce(s->hosts, pairs[i], pairs[i + 1]))
            log_warn("virtual host \"%.*s\" cannot be announced: from now on every operation that names a host "
                     "counts as all",
                     (int)(pairs[i].n < 255 ? pairs[i].n : 255), pairs[i].p);
    on_hosts(s);
    if (s->shared)
        shared_hosts_changed(s->shared);
}
