/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/shared.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/fetch.h"
#include "etagd/follower.h"
#include "etagd/lib/key.h"
#include "etagd/log.h"
#include "etagd/lua.h"
#include "etagd/script.h"
#include "etagd/unsent.h"

#define CONNECT_MS 2000u
#define REPLY_MS 2000u
#define QUEUE_MAX 8192u
#define PUTS_MAX 4096u    /* in flight above which entries are not shared: the rest is for what must go */
#define UNSENT_MAX 4096u
#define RETRY_MS 1000u

struct shared {
    const struct conf *conf;
    struct hosts *hosts;
    struct shared_events events;
    struct follower *follower;
    struct redis *data;
    struct fetches *fetches;
    struct script put, names;
    char log_key[160], hosts_key[160];
    char epoch[COHERENCE_EPOCH + 1]; /* under which capsules were stored */

    struct unsent *unsent;
    size_t appending;     /* records in flight */
    bool append_failed;   /* one of them was refused: all are sent again, in order */
    uint64_t restart;     /* serial that must be in the log before the first lease, 0: none */
    struct event *retry_timer, *marker_timer;

    bool hosts_known, hosts_reading, hosts_again;
    uint64_t script_ms;   /* last time the scripts were loaded */
    char error[256];
    struct shared_stats stats;
};

static void report(struct shared *s, const struct redis_reply *reply, const char *key)
{
    char why[sizeof s->error];

    redis_explain(redis_text(reply), redis_is_fault(reply, "WRONGTYPE") ? key : NULL, why, sizeof why);
    if (strcmp(why, s->error) != 0)
        log_error("%s", why);
    memcpy(s->error, why, sizeof why);
}

static void retry_later(struct shared *s)
{
    struct timeval pause = { RETRY_MS / 1000, 0 };

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

static void append_waiting(struct shared *s);

static void on_append_refused(struct shared *s, const struct redis_reply *reply)
{
    s->append_failed = true;
    report(s, reply, s->log_key);
    retry_later(s);
}

static void on_append(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;
    struct timeval second = { 1, 0 };
    struct fields *fields;
    struct log_id id;
    uint64_t serial;

    if (s->appending)
        s->appending--;
    if (redis_kind(reply) == REDIS_LOST)
        return; /* on_down sends them again */
    if (redis_kind(reply) != REDIS_TEXT || !log_id_parse(redis_text(reply), &id)) {
        on_append_refused(s, reply);
        return;
    }
    if (s->append_failed)
        return; /* it is in the log, but one before it is not: both are sent again */
    serial = unsent_acknowledge(s->unsent, &fields);
    s->stats.appended++;
    s->events.appended(s->events.log.arg, serial, id, fields->at, fields->n);
    free(fields);
    if (s->restart && serial >= s->restart) {
        s->restart = 0;
        start_when_ready(s);
    }
    if (unsent_count(s->unsent) == 0)
        event_add(s->marker_timer, &second);
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
    while (redis_is_up(s->data) && (f = unsent_next(s->unsent))) {
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

static void on_marker_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shared *s = arg;

    (void)fd;
    (void)what;
    unsent_settle(s->unsent);
}

/* ---- names of hosts ---- */

static void read_hosts(struct shared *s);

struct announcement {
    struct shared *shared;
    size_t n;
};

static void announce(void *arg, struct span alias, struct span value)
{
    struct announcement *a = arg;
    struct span argv[] = { SPAN_LITERAL("HSET"), span_str(a->shared->hosts_key), alias, value };

    redis_send(a->shared->data, 4, argv, NULL, NULL);
    a->n++;
}

/* Every node reads the hash again when this remark comes by. */
static void announce_missing(struct shared *s)
{
    struct announcement a = { s, 0 };
    struct span argv[] = { SPAN_LITERAL("XADD"), span_str(s->log_key), SPAN_LITERAL("*"), SPAN_LITERAL("x-hosts"),
                           SPAN_LITERAL("changed"), SPAN_LITERAL("by"), span_str(s->conf->node) };

    hosts_missing(s->hosts, announce, &a);
    if (a.n)
        redis_send(s->data, 7, argv, NULL, NULL);
}

static void on_hosts(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;

    s->hosts_reading = false;
    if (redis_kind(reply) == REDIS_LOST)
        return;
    if (redis_kind(reply) != REDIS_LIST) {
        report(s, reply, s->hosts_key);
        retry_later(s);
        return;
    }
    hosts_shared_begin(s->hosts);
    for (size_t i = 0; i + 1 < redis_count(reply); i += 2)
        hosts_shared(s->hosts, redis_text(redis_at(reply, i)), redis_text(redis_at(reply, i + 1)));
    announce_missing(s);
    s->hosts_known = true;
    start_when_ready(s);
    if (s->hosts_again)
        read_hosts(s);
}

static void read_hosts(struct shared *s)
{
    struct span argv[] = { SPAN_LITERAL("HGETALL"), span_str(s->hosts_key) };

    s->hosts_again = s->hosts_reading;
    if (!s->hosts_reading)
        s->hosts_reading = redis_send(s->data, 2, argv, on_hosts, s);
}

void shared_hosts_changed(struct shared *s)
{
    read_hosts(s);
}

/* ---- entries ---- */

static void load_scripts(struct shared *s)
{
    uint64_t now = clock_mono_ms();

    if (s->script_ms && now - s->script_ms < RETRY_MS)
        return;
    s->script_ms = now;
    script_load(&s->put, s->data);
    script_load(&s->names, s->data);
}

static bool is_answer(struct shared *s, const struct redis_reply *reply)
{
    if (redis_is_fault(reply, "NOSCRIPT"))
        load_scripts(s);
    else if (redis_kind(reply) == REDIS_FAULT)
        report(s, reply, "an entry");
    else if (redis_kind(reply) != REDIS_LOST)
        return true;
    s->stats.puts_dropped++;
    return false;
}

static void on_put(void *arg, const struct redis_reply *reply)
{
    struct shared *s = arg;

    if (!is_answer(s, reply))
        return;
    s->stats.puts++;
    s->stats.puts_newer += redis_number(redis_at(reply, 0)) == 0;
    s->stats.puts_replaced += redis_number(redis_at(reply, 0)) == 2;
}

/* The key in Redis; 0: too long. */
static size_t entry_key(const struct shared *s, struct span key, char *out, size_t size)
{
    int n = snprintf(out, size, "%s:e:%.*s", s->conf->key_prefix, (int)key.n, key.p);

    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static struct span fourth_word(struct span value)
{
    for (int i = 0; i < 3; i++) {
        const char *space = memchr(value.p, ' ', value.n);

        value = span_of(space + 1, value.n - (size_t)(space + 1 - value.p));
    }
    return span_of(value.p, (size_t)((const char *)memchr(value.p, ' ', value.n) - value.p));
}

static bool has_room(struct shared *s)
{
    if (redis_is_up(s->data) && redis_in_flight(s->data) < PUTS_MAX)
        return true;
    s->stats.puts_dropped++;
    return false;
}

void shared_put(struct shared *s, struct span key, struct entry_text *text, struct span capsule, uint64_t ttl_ms)
{
    const char *epoch = coherence_epoch(follower_coherence(s->follower));
    char name[KEY_SIZE + 128], value[ENTRY_TEXT_MAX], id[ENTRY_TEXT_CAPSULE + 1], as_of[LOG_ID_TEXT], ttl[24];
    size_t n = entry_key(s, key, name, sizeof name), length;

    if (!has_room(s) || n == 0)
        return;
    if (strcmp(s->epoch, epoch) != 0) {
        fetches_capsules_lost(s->fetches);
        snprintf(s->epoch, sizeof s->epoch, "%s", epoch);
    }
    text->epoch = span_str(epoch);
    text->capsule = span_of(NULL, 0);
    if (capsule.n) {
        if (!fetches_share_capsule(s->fetches, s->data, capsule, s->conf->horizon_ms / 2, id)) {
            s->stats.puts_dropped++;
            return;
        }
        text->capsule = span_str(id);
    }
    length = entry_text_write(value, sizeof value, text);
    if (length == 0) {
        s->stats.puts_dropped++;
        return;
    }
    log_id_format(text->as_of, as_of);
    snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms);
    struct span args[] = { span_of(name, n), span_of(value, length), span_str(epoch), span_str(as_of),
                           fourth_word(span_of(value, length)), span_str(ttl) };
    if (!script_call(&s->put, s->data, 1, 6, args, on_put, s))
        s->stats.puts_dropped++;
}

struct names_call {
    struct shared *shared;
    uint64_t ttl_ms;
    size_t n;
    char key[];
};

static void on_names(void *arg, const struct redis_reply *reply)
{
    struct names_call *call = arg;
    struct shared *s = call->shared;
    struct entry_text *text;

    if (is_answer(s, reply) && (text = malloc(sizeof *text))) {
        if (entry_text_read(redis_text(reply), text))
            s->events.entry(s->events.log.arg, span_of(call->key, call->n), text, span_of(NULL, 0), call->ttl_ms);
        free(text);
    }
    free(call);
}

void shared_names(struct shared *s, struct span key, struct log_id as_of, struct span names, struct log_id valid_since,
                  uint64_t ttl_ms)
{
    char name[KEY_SIZE + 128], position[LOG_ID_TEXT], since[LOG_ID_TEXT], ttl[24];
    size_t n = entry_key(s, key, name, sizeof name);
    struct names_call *call = has_room(s) && n ? malloc(sizeof *call + key.n) : NULL;

    if (!call)
        return;
    *call = (struct names_call){ s, ttl_ms, key.n };
    memcpy(call->key, key.p, key.n);
    log_id_format(as_of, position);
    log_id_format(valid_since, since);
    snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms);
    struct span args[] = { span_of(name, n), span_str(coherence_epoch(follower_coherence(s->follower))),
                           span_str(position), names, span_str(since), span_str(ttl) };
    if (script_call(&s->names, s->data, 1, 6, args, on_names, call))
        return;
    s->stats.puts_dropped++;
    free(call);
}

void shared_fetch(struct shared *s, struct span key, void (*done)(void *arg, bool known), void *arg)
{
    fetches_ask(s->fetches, s->data, key, done, arg);
}

void shared_forget(struct shared *s, void *arg)
{
    fetches_forget(s->fetches, arg);
}

/* ---- the connection ---- */

static void on_up(void *arg)
{
    struct shared *s = arg;

    s->script_ms = 0;
    s->error[0] = '\0';
    load_scripts(s);
    read_hosts(s);
    append_waiting(s);
}

static void on_down(void *arg, const char *why)
{
    struct shared *s = arg;

    s->appending = 0;
    s->append_failed = false;
    unsent_rewind(s->unsent);
    if (strcmp(why, s->error) != 0)
        log_warn("Redis: %s", why);
    snprintf(s->error, sizeof s->error, "%s", why);
}

static void on_retry_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shared *s = arg;

    (void)fd;
    (void)what;
    if (s->append_failed && s->appending) {
        retry_later(s); /* some answers are still out */
        return;
    }
    if (s->append_failed) {
        s->append_failed = false;
        unsent_rewind(s->unsent);
    }
    append_waiting(s);
    if (!s->hosts_known)
        read_hosts(s);
}

/* ---- life ---- */

static struct unsent *make_unsent(const struct conf *conf)
{
    const char *name = strrchr(conf->socket, '/');
    char path[4096];

    name = name ? name + 1 : conf->socket;
    if (conf->state_dir)
        snprintf(path, sizeof path, "%s/%s.unsent", conf->state_dir, name);
    else
        snprintf(path, sizeof path, "%s.unsent", conf->socket);
    return unsent_new(UNSENT_MAX, path);
}

/* Invalidations of a former etagd may never have reached the log. */
static void recover(struct shared *s)
{
    static const struct span everything[] = { { "all", 3 }, { "1", 1 }, { "why", 3 }, { "unsent-at-restart", 17 } };

    if (!unsent_found(s->unsent))
        return;
    log_warn("a former etagd ended with invalidations that Redis had not acknowledged: everything is invalidated");
    s->restart = unsent_add(s->unsent, everything, 4);
}

static bool make_connection(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    char name[128];
    struct redis_options options = {
        .url = url,
        .user = s->conf->redis_user,
        .password_file = s->conf->redis_password_file,
        .name = name,
        .connect_ms = CONNECT_MS,
        .reply_ms = REPLY_MS,
        .queue_max = QUEUE_MAX,
        .up = on_up,
        .down = on_down,
        .arg = s,
    };

    follower_connection_name(s->conf, "data", name, sizeof name);
    s->data = redis_new(base, &options);
    return s->data != NULL;
}

struct shared *shared_new(struct event_base *base, const struct conf *conf, struct hosts *hosts,
                          const struct shared_events *events, const char **why)
{
    struct shared *s = calloc(1, sizeof *s);
    struct redis_url url;

    *why = "out of memory";
    if (!s)
        return NULL;
    s->conf = conf;
    s->hosts = hosts;
    s->events = *events;
    snprintf(s->log_key, sizeof s->log_key, "{%s}:log", conf->key_prefix);
    snprintf(s->hosts_key, sizeof s->hosts_key, "{%s}:hosts", conf->key_prefix);
    if (!redis_url_parse(conf->redis, &url, why))
        goto fail;
    s->unsent = make_unsent(conf);
    s->follower = follower_new(base, conf, &url, &events->log);
    s->fetches = fetches_new(conf->key_prefix, events->entry, events->log.arg);
    s->retry_timer = event_new(base, -1, 0, on_retry_timer, s);
    s->marker_timer = event_new(base, -1, 0, on_marker_timer, s);
    if (!s->unsent || !s->follower || !s->fetches || !s->retry_timer || !s->marker_timer ||
        !script_init(&s->put, lua_put) || !script_init(&s->names, lua_names) || !make_connection(s, base, &url))
        goto fail;
    recover(s);
    return s;
fail:
    shared_free(s);
    return NULL;
}

void shared_free(struct shared *s)
{
    if (!s)
        return;
    redis_free(s->data);
    follower_free(s->follower);
    fetches_free(s->fetches);
    unsent_free(s->unsent);
    if (s->retry_timer)
        event_free(s->retry_timer);
    if (s->marker_timer)
        event_free(s->marker_timer);
    free(s);
}

const struct coherence *shared_coherence(const struct shared *s)
{
    return follower_coherence(s->follower);
}

void shared_renew(struct shared *s)
{
    follower_renew(s->follower);
}

void shared_stats(const struct shared *s, struct shared_stats *out)
{
    struct follower_stats follower;
    struct fetch_stats fetches;

    *out = s->stats;
    follower_stats(s->follower, &follower);
    fetches_stats(s->fetches, &fetches);
    out->gets = fetches.asked;
    out->gets_found = fetches.found;
    out->gets_failed = fetches.failed;
    out->fetching = fetches.in_flight;
    out->unsent = unsent_count(s->unsent);
    out->widened = unsent_widened(s->unsent);
    out->connected = redis_is_up(s->data);
    out->state = follower.state;
    out->renewals = follower.renewals;
    out->refusals = follower.refusals;
    snprintf(out->error, sizeof out->error, "%s", follower.error[0] ? follower.error : s->error);
}
