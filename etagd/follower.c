/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/follower_state.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/log.h"
#include "etagd/lua.h"

#define BLOCK_MS 1000u /* how long the server holds a read of the log back */
#define BATCH 1000u /* records of one read */
#define FIELDS_MAX 4096u /* of one record; more is everything */
#define PACE_RECORDS 200u /* above so many records a second ... */
#define PACE_MS 5u /* ... reads are gathered, which costs the server less */
#define CONNECT_MS 2000u
#define RECHECK_MS 200u /* after an answer that the tail cannot go on from */

/* ---- the tail ---- */

static void check_epoch(struct follower *f);

static void recheck(struct follower *f)
{
    struct timeval pause = {0, RECHECK_MS * 1000};

    event_add(f->recheck_timer, &pause);
}

/* On a new connection: it may be another server behind the same name. */
static void on_recheck_timer(evutil_socket_t fd, short what, void *arg)
{
    struct follower *f = arg;

    (void)fd;
    (void)what;
    f->restarting = true;
    redis_reconnect(f->tail);
}

/* A read in flight belongs to the old history; on a new connection nothing of it can arrive. */
void follower_restart_tail(struct follower *f)
{
    if (redis_is_up(f->tail) && !f->reading) {
        check_epoch(f);
        return;
    }
    f->restarting = true;
    redis_reconnect(f->tail);
}

static void on_record(struct follower *f, uint64_t generation, const struct redis_reply *record)
{
    static const struct span everything[] = {{"all", 3}, {"1", 1}};
    const struct redis_reply *list = redis_at(record, 1);
    struct span fields[FIELDS_MAX];
    size_t n = redis_count(list);
    struct log_id id;

    if (!log_id_parse(redis_text(redis_at(record, 0)), &id))
        return; /* not applied: the count will not match, so there is no lease over it */
    f->second_records++;
    if (n == 0 || n > FIELDS_MAX) {
        coherence_record(f->coherence, generation, id, everything, 2);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fields[i] = redis_text(redis_at(list, i));
    coherence_record(f->coherence, generation, id, fields, n);
}

/* An isolated record is passed on at once; under load a short pause gathers many in one read. */
static bool is_busy(struct follower *f)
{
    uint64_t now = clock_mono_ms();
    bool busy = f->second_records > PACE_RECORDS;

    if (now - f->second_ms >= 1000) {
        f->second_ms = now;
        f->second_records = 0;
    }
    return busy;
}

static void read_log(struct follower *f);

static void on_pace_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_log(arg);
}

static void on_log(void *arg, const struct redis_reply *reply)
{
    struct follower *f = arg;
    uint64_t generation = f->mark.generation;
    struct timeval pause = {0, PACE_MS * 1000};
    const struct redis_reply *records = redis_at(redis_at(reply, 0), 1);
    size_t n = redis_count(records);

    f->reading = false;
    switch (redis_kind(reply)) {
    case REDIS_LOST:
        return;
    case REDIS_FAULT:
        follower_fault(f, "reading the log", reply);
        recheck(f);
        return;
    default:
        break;
    }
    for (size_t i = 0; i < n; i++)
        on_record(f, generation, redis_at(records, i));
    if (redis_kind(reply) == REDIS_NIL)
        coherence_nothing(f->coherence, &f->mark);
    follower_report(f);
    if (generation != coherence_generation(f->coherence))
        return; /* the tail is being started again */
    /* A full batch means that there is more to catch up with: no pause then. */
    if (n > 0 && n < BATCH && is_busy(f))
        event_add(f->pace_timer, &pause);
    else
        read_log(f);
}

static void read_log(struct follower *f)
{
    char block[16], batch[16], from[LOG_ID_TEXT];

    if (f->reading || !redis_is_up(f->tail))
        return;
    snprintf(block, sizeof block, "%u", BLOCK_MS);
    snprintf(batch, sizeof batch, "%u", BATCH);
    coherence_mark(f->coherence, &f->mark);
    log_id_format(coherence_position(f->coherence), from);
    struct span argv[] = {SPAN_LITERAL("XREAD"), SPAN_LITERAL("BLOCK"),   span_str(block),      SPAN_LITERAL("COUNT"),
                          span_str(batch),       SPAN_LITERAL("STREAMS"), span_str(f->log_key), span_str(from)};
    f->reading = redis_send(f->tail, sizeof argv / sizeof argv[0], argv, on_log, f);
}

static void on_epoch(void *arg, const struct redis_reply *reply)
{
    struct follower *f = arg;

    if (redis_kind(reply) == REDIS_FAULT) {
        follower_fault(f, "reading the epoch", reply);
        recheck(f);
        return;
    }
    if (redis_kind(reply) == REDIS_LOST)
        return;
    if (!span_eq(redis_text(reply), span_str(coherence_epoch(f->coherence)))) {
        follower_renew(f); /* it enters the epoch that stands there then */
        recheck(f);
        return;
    }
    read_log(f);
}

/* Ids only mean something together with the epoch that the lease connection sees. */
static void check_epoch(struct follower *f)
{
    struct span argv[] = {SPAN_LITERAL("HGET"), span_str(f->epoch_key), SPAN_LITERAL("id")};

    redis_send(f->tail, 3, argv, on_epoch, f);
}

static void on_tail_up(void *arg)
{
    struct follower *f = arg;

    event_del(f->pace_timer);
    event_del(f->recheck_timer);
    f->restarting = false;
    if (coherence_epoch(f->coherence)[0])
        check_epoch(f);
}

static void on_tail_down(void *arg, const char *why)
{
    struct follower *f = arg;

    f->reading = false;
    if (!f->restarting)
        follower_error(f, "tail connection", why);
}

/* ---- life ---- */

static bool make_timers(struct follower *f)
{
    f->renew_timer = event_new(f->base, -1, EV_PERSIST, follower_lease_timer, f);
    f->pace_timer = event_new(f->base, -1, 0, on_pace_timer, f);
    f->recheck_timer = event_new(f->base, -1, 0, on_recheck_timer, f);
    return f->renew_timer && f->pace_timer && f->recheck_timer;
}

struct follower *follower_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                              struct witnesses *witnesses, const struct coherence_events *events)
{
    struct follower *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->conf = conf;
    f->base = base;
    f->url = *url;
    f->witnesses = witnesses;
    f->majority = (struct witness_wait){.majority = follower_majority, .arg = f};
    snprintf(f->epoch_key, sizeof f->epoch_key, "{%s}:epoch", conf->key_prefix);
    snprintf(f->log_key, sizeof f->log_key, "{%s}:log", conf->key_prefix);
    snprintf(f->nodes_key, sizeof f->nodes_key, "{%s}:nodes", conf->key_prefix);
    f->coherence = coherence_new(conf->lease_ms, events);
    if (f->coherence && make_timers(f) && script_init(&f->renew, lua_renew))
        return f;
    follower_free(f);
    return NULL;
}

void follower_free(struct follower *f)
{
    if (!f)
        return;
    redis_free(f->tail);
    redis_free(f->lease);
    if (f->renew_timer)
        event_free(f->renew_timer);
    if (f->pace_timer)
        event_free(f->pace_timer);
    if (f->recheck_timer)
        event_free(f->recheck_timer);
    coherence_free(f->coherence);
    free(f);
}

static struct redis *connect_as(struct follower *f, const char *role, unsigned reply_ms, void (*up)(void *),
                                void (*down)(void *, const char *))
{
    char name[128];
    struct redis_options options = {
        .url = &f->url,
        .tls = f->conf->tls,
        .user = f->conf->redis_user,
        .password_file = f->conf->redis_password_file,
        .name = name,
        .master = f->witnesses != NULL,
        .connect_ms = CONNECT_MS,
        .reply_ms = reply_ms,
        .queue_max = 16,
        .up = up,
        .down = down,
        .arg = f,
    };

    redis_connection_name(f->conf->node, role, name, sizeof name);
    return redis_new(f->base, &options);
}

void follower_start(struct follower *f)
{
    uint64_t period = f->conf->lease_ms / 5;
    struct timeval every = {(time_t)(period / 1000), (suseconds_t)(period % 1000 * 1000)};

    if (f->lease)
        return;
    /* An answer older than the lease would give none. */
    f->lease = connect_as(f, "lease", (unsigned)f->conf->lease_ms, follower_lease_up, follower_lease_down);
    f->tail = connect_as(f, "tail", 2 * BLOCK_MS, on_tail_up, on_tail_down);
    if (!f->lease || !f->tail || event_add(f->renew_timer, &every) != 0)
        log_error("out of memory: no lease; restart etagd");
}

void follower_move(struct follower *f, const struct redis_address *to)
{
    f->url.at = *to;
    if (!f->lease)
        return;
    redis_move(f->lease, to);
    redis_move(f->tail, to);
}

const struct coherence *follower_coherence(const struct follower *f)
{
    return f->coherence;
}
