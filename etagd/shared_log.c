/* SPDX-License-Identifier: Apache-2.0 */
/* What this node writes into the log: its own invalidations, and which names its hosts have. */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/log.h"
#include "etagd/shared_state.h"

#define RETRY_MS 1000u
#define ERROR_LINE_MS 10000u /* between lines about refusals; INFO has the last one */

/* Answers name the script, so they differ from one entry to the next where the trouble is the same. */
void shared_report(struct shared *s, const struct redis_reply *reply, const char *key)
{
    uint64_t now = clock_mono_ms();

    redis_explain(redis_text(reply), redis_is_fault(reply, "WRONGTYPE") ? key : NULL, s->error, sizeof s->error);
    if (strcmp(s->error, s->logged) == 0 || (s->logged_ms && now - s->logged_ms < ERROR_LINE_MS))
        return;
    s->logged_ms = now;
    memcpy(s->logged, s->error, sizeof s->logged);
    log_error("%s", s->error);
}

static void retry_later(struct shared *s)
{
    struct timeval pause = {RETRY_MS / 1000, 0};

    if (!event_pending(s->retry_timer, EV_TIMEOUT, NULL))
        event_add(s->retry_timer, &pause);
}

/* ---- the first lease ---- */

/* Records must not be judged before names of hosts are known, nor before what a former etagd may have
 * kept back is in the log. */
static void start_when_ready(struct shared *s)
{
    if (s->hosts_known && s->restart == 0)
        follower_start(s->follower);
}

/* ---- our own invalidations ---- */

static void on_append_refused(struct shared *s, const struct redis_reply *reply)
{
    s->append_failed = true;
    shared_report(s, reply, s->log_key);
    retry_later(s);
}

static void append_waiting(struct shared *s);

/* The oldest n of those in the log are safe: nothing that may happen to the master takes them back. */
static void acknowledge(struct shared *s, size_t n)
{
    struct timeval second = {1, 0};
    struct fields *fields;
    uint64_t serial;

    for (size_t i = 0; i < n; i++) {
        serial = unsent_acknowledge(s->unsent, &fields);
        s->stats.appended++;
        s->events.appended(s->events.log.arg, serial, s->answered[i], fields->at, fields->n);
        free(fields);
        if (s->restart && serial >= s->restart) {
            s->restart = 0;
            start_when_ready(s);
        }
    }
    s->nanswered -= n;
    memmove(s->answered, s->answered + n, s->nanswered * sizeof s->answered[0]);
    if (unsent_count(s->unsent) == 0)
        event_add(s->marker_timer, &second);
    append_waiting(s);
}

static void confirm(struct shared *s);

static void on_confirmed(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;
    size_t n = s->confirming;

    s->confirming = 0;
    if (redis_kind(reply) == REDIS_LOST)
        return; /* shared_log_down has them sent again */
    if (redis_kind(reply) != REDIS_NUMBER || redis_number(reply) < (long long)s->replicas) {
        if (redis_kind(reply) == REDIS_FAULT)
            shared_report(s, reply, s->log_key);
        retry_later(s);
        return;
    }
    acknowledge(s, n);
    confirm(s);
}

/* WAIT is about everything that this connection has written. */
static void wait_for_replicas(struct shared *s, size_t n, unsigned replicas)
{
    char count[16], patience[24];

    s->replicas = replicas > s->conf->wait_replicas ? replicas : s->conf->wait_replicas;
    if (s->replicas == 0) {
        acknowledge(s, n);
        confirm(s);
        return;
    }
    snprintf(count, sizeof count, "%u", s->replicas);
    snprintf(patience, sizeof patience, "%" PRIu64, s->conf->lease_ms / 4);
    struct span wait[] = {SPAN_LITERAL("WAIT"), span_str(count), span_str(patience)};
    if (redis_send(s->data, 3, wait, on_confirmed, s))
        s->confirming = n;
    else
        retry_later(s);
}

void shared_log_majority(void *arg, unsigned replicas)
{
    struct shared *s = arg;
    size_t n = s->asked;

    s->asked = 0;
    /* They may agree about another master than the one that has these: the connection is given up then. */
    if (n && !s->confirming && redis_is_up(s->data))
        wait_for_replicas(s, n, replicas);
}

/* The same proof as of a lease: no other master had been made when these were in the log, so whoever is made one
 * later either has them or begins another epoch without them. */
static void confirm(struct shared *s)
{
    if (s->nanswered == 0 || s->confirming || s->asked)
        return;
    if (!s->witnesses) {
        wait_for_replicas(s, s->nanswered, 0);
        return;
    }
    s->asked = s->nanswered;
    witnesses_ask(s->witnesses, &s->majority);
    retry_later(s);
}

static void on_append(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;
    struct log_id id;

    if (s->appending)
        s->appending--;
    if (redis_kind(reply) == REDIS_LOST)
        return; /* shared_log_down has them sent again */
    if (redis_kind(reply) != REDIS_TEXT || !log_id_parse(redis_text(reply), &id)) {
        on_append_refused(s, reply);
        return;
    }
    if (s->append_failed)
        return; /* it is in the log, but one before it is not: both are sent again */
    s->answered[s->nanswered++] = id;
    confirm(s);
}

static bool has_author(const struct fields *f)
{
    for (size_t i = 0; i + 1 < f->n; i += 2)
        if (span_eq(f->at[i], SPAN_LITERAL("by")))
            return true;
    return false;
}

static bool append(struct shared *s, const struct fields *f)
{
    struct span *argv = malloc((f->n + 5) * sizeof *argv);
    size_t n = 3;
    bool sent;

    if (!argv)
        return false;
    argv[0] = SPAN_LITERAL("XADD");
    argv[1] = span_str(s->log_key);
    argv[2] = SPAN_LITERAL("*");
    memcpy(argv + n, f->at, f->n * sizeof *argv);
    n += f->n;
    if (!has_author(f)) {
        argv[n++] = SPAN_LITERAL("by");
        argv[n++] = span_str(s->conf->node);
    }
    sent = redis_send(s->data, n, argv, on_append, s);
    free(argv);
    return sent;
}

static void append_waiting(struct shared *s)
{
    const struct fields *f;

    if (s->append_failed)
        return;
    while (redis_is_up(s->data) && s->nanswered + s->appending < UNCONFIRMED_MAX && (f = unsent_next(s->unsent))) {
        if (!append(s, f)) {
            retry_later(s);
            return;
        }
        unsent_sent(s->unsent);
        s->appending++;
    }
}

uint64_t shared_append(struct shared *s, const struct span *fields, size_t n)
{
    uint64_t serial = unsent_add(s->unsent, fields, n);

    append_waiting(s);
    return serial;
}

/* ---- names of hosts ---- */

static void read_hosts(struct shared *s);

/* Every node reads the hash again when this remark comes by. */
static void tell_nodes(struct shared *s)
{
    struct span argv[] = {SPAN_LITERAL("XADD"),    span_str(s->log_key),    SPAN_LITERAL("*"),
                          SPAN_LITERAL("x-hosts"), SPAN_LITERAL("changed"), SPAN_LITERAL("by"),
                          span_str(s->conf->node)};

    redis_send(s->data, 7, argv, NULL, NULL);
}

static void on_announced(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;

    s->announcing--;
    if (redis_kind(reply) == REDIS_NUMBER)
        s->announced = true;
    else if (redis_kind(reply) == REDIS_FAULT)
        shared_report(s, reply, s->hosts_key);
    if (s->announcing == 0 && s->announced)
        tell_nodes(s);
}

static void announce(void *arg, struct span alias, struct span value)
{
    struct shared *s = arg;
    struct span argv[] = {SPAN_LITERAL("HSET"), span_str(s->hosts_key), alias, value};

    s->announcing += redis_send(s->data, 4, argv, on_announced, s);
}

/* Not more often than once in a while: nodes that never agree, or a hash that cannot be written, must not
 * fill the log with remarks. */
static void announce_missing(struct shared *s)
{
    uint64_t now = clock_mono_ms();

    if (s->announcing || (s->announced_ms && now - s->announced_ms < RETRY_MS)) {
        s->hosts_again = true;
        retry_later(s);
        return;
    }
    s->announced = false;
    hosts_missing(s->hosts, announce, s);
    if (s->announcing)
        s->announced_ms = now;
}

static void on_hosts(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;

    bool again = s->hosts_again;

    s->hosts_reading = s->hosts_again = false;
    if (redis_kind(reply) == REDIS_LOST)
        return;
    if (redis_kind(reply) != REDIS_LIST) {
        shared_report(s, reply, s->hosts_key);
        s->hosts_again = true;
        retry_later(s);
        return;
    }
    hosts_shared_begin(s->hosts);
    for (size_t i = 0; i + 1 < redis_count(reply); i += 2)
        hosts_shared(s->hosts, redis_text(redis_at(reply, i)), redis_text(redis_at(reply, i + 1)));
    announce_missing(s);
    s->events.hosts(s->events.log.arg);
    s->hosts_known = true;
    start_when_ready(s);
    if (again)
        read_hosts(s);
}

static void read_hosts(struct shared *s)
{
    struct span argv[] = {SPAN_LITERAL("HGETALL"), span_str(s->hosts_key)};

    s->hosts_again = s->hosts_reading;
    if (!s->hosts_reading)
        s->hosts_reading = redis_send(s->data, 2, argv, on_hosts, s);
}

void shared_hosts_changed(struct shared *s)
{
    read_hosts(s);
}

/* ---- the connection ---- */

void shared_log_up(struct shared *s)
{
    read_hosts(s);
    append_waiting(s);
}

void shared_log_down(struct shared *s)
{
    s->appending = s->nanswered = s->asked = s->confirming = 0;
    s->append_failed = false;
    unsent_rewind(s->unsent);
}

void shared_log_retry(struct shared *s)
{
    if (s->append_failed && (s->appending || s->confirming)) {
        retry_later(s); /* some answers are still out */
        return;
    }
    if (s->append_failed) {
        s->append_failed = false;
        s->nanswered = 0;
        unsent_rewind(s->unsent);
    }
    append_waiting(s);
    s->asked = 0; /* the witnesses have not agreed for so long: they are asked again */
    confirm(s);
    if (s->hosts_again)
        read_hosts(s);
}

void shared_log_recover(struct shared *s)
{
    static const struct span everything[] = {{"all", 3}, {"1", 1}, {"why", 3}, {"unsent-at-restart", 17}};

    if (!unsent_found(s->unsent))
        return;
    log_warn("a former etagd ended with invalidations that Redis had not acknowledged: everything is invalidated");
    s->restart = unsent_add(s->unsent, everything, 4);
}
