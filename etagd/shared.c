/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/shared.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/lib/key.h"
#include "etagd/log.h"
#include "etagd/lua.h"
#include "etagd/shared_state.h"

#define CONNECT_MS 2000u
#define REPLY_MS 2000u
#define QUEUE_MAX 8192u
#define PUTS_MAX 4096u /* in flight above which entries are not shared: the rest is for what must go */
#define UNSENT_MAX 4096u
#define LOAD_MS 1000u /* at least between loading the scripts */

/* What put.lua answers. */
enum put_result { PUT_NEWER = 0, PUT_STORED = 1, PUT_REPLACED = 2, PUT_CONFLICT = 3 };

/* ---- entries ---- */

static void load_scripts(struct shared *s)
{
    uint64_t now = clock_mono_ms();

    if (s->script_ms && now - s->script_ms < LOAD_MS)
        return;
    s->script_ms = now;
    script_load(&s->put, s->data);
    script_load(&s->names, s->data);
    script_load(&s->name, s->data);
}

bool shared_is_answer(struct shared *s, const struct redis_reply *reply)
{
    if (redis_is_fault(reply, "NOSCRIPT"))
        load_scripts(s);
    else if (redis_kind(reply) == REDIS_FAULT)
        shared_report(s, reply, "an entry");
    else if (redis_kind(reply) != REDIS_LOST)
        return true;
    s->stats.puts_dropped++;
    return false;
}

/* An entry on its way: key, then value. */
struct put_call {
    struct shared *shared;
    bool conflict, announce, again; /* it is a mark; nobody knows of it yet; the second try */
    uint64_t ttl_ms;
    size_t nkey, nvalue;
    char bytes[];
};

/* Whatever is known of the resource is void on every node then. */
void shared_forget_url(struct shared *s, struct span key)
{
    const char *variant = memchr(key.p, '#', key.n);
    struct span fields[] = {
        SPAN_LITERAL("url"), {key.p, (size_t)(variant - key.p)}, SPAN_LITERAL("why"), SPAN_LITERAL("conflict")};

    shared_append(s, fields, 4);
}

static void announce_conflict(struct shared *s, struct span key, bool stands)
{
    struct span fields[] = {SPAN_LITERAL("x-conflict"), key};

    if (stands)
        shared_append(s, fields, 2);
    else
        shared_forget_url(s, key);
}

size_t shared_entry_key(const struct shared *s, struct span key, char *out, size_t size)
{
    int n = snprintf(out, size, "%s:e:%.*s", s->conf->key_prefix, (int)key.n, key.p);

    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static struct span word(struct span value, int n)
{
    const char *space;

    for (int i = 0; i < n; i++) {
        space = memchr(value.p, ' ', value.n);
        value = span_of(space + 1, value.n - (size_t)(space + 1 - value.p));
    }
    space = memchr(value.p, ' ', value.n);
    return span_of(value.p, (size_t)(space - value.p));
}

bool shared_has_room(struct shared *s)
{
    if (redis_is_up(s->data) && redis_in_flight(s->data) < PUTS_MAX)
        return true;
    s->stats.puts_dropped++;
    return false;
}

static void on_put(void *arg, const struct redis_reply *reply);

/* since: the script's sixth argument. False: not on its way. */
static bool send_put(struct put_call *call, struct span since)
{
    struct shared *s = call->shared;
    struct span value = span_of(call->bytes + call->nkey, call->nvalue);
    char name[KEY_SIZE + 128], ttl[24];
    size_t n = shared_entry_key(s, span_of(call->bytes, call->nkey), name, sizeof name);

    snprintf(ttl, sizeof ttl, "%" PRIu64, call->ttl_ms);
    struct span args[] = {span_of(name, n), value,         word(value, 1), word(value, 2),
                          word(value, 3),   span_str(ttl), since};
    return n && script_call(&s->put, s->data, 1, 7, args, on_put, call);
}

/* The mark that stands there is void: it has other scopes than the entry, so the script could not know. */
static bool put_again(struct put_call *call, const struct entry_text *there)
{
    char since[LOG_ID_TEXT];

    if (call->again)
        return false;
    call->again = true;
    log_id_format((struct log_id){there->as_of.ms, there->as_of.seq + 1}, since);
    return send_put(call, span_str(since));
}

/* True when the call goes on. */
static bool meet(struct put_call *call, const struct redis_reply *reply)
{
    struct shared *s = call->shared;
    long long ttl_ms = redis_number(redis_at(reply, 2));
    struct entry_text *text = malloc(sizeof *text);
    bool again = false;

    if (text && ttl_ms > 0 && entry_text_read(redis_text(redis_at(reply, 1)), text))
        again = !s->events.met(s->events.log.arg, span_of(call->bytes, call->nkey), text, (uint64_t)ttl_ms) &&
                redis_number(redis_at(reply, 0)) == PUT_CONFLICT && put_again(call, text);
    free(text);
    return again;
}

static void on_put(void *arg, const struct redis_reply *reply)
{
    struct put_call *call = arg;
    struct shared *s = call->shared;
    bool answered = shared_is_answer(s, reply), on = false;
    long long what = answered ? redis_number(redis_at(reply, 0)) : PUT_NEWER;

    s->stats.puts += answered;
    s->stats.puts_newer += answered && what == PUT_NEWER;
    s->stats.puts_replaced += what == PUT_REPLACED;
    s->stats.puts_conflict += what == PUT_CONFLICT;
    if (call->announce)
        announce_conflict(s, span_of(call->bytes, call->nkey), what == PUT_STORED || what == PUT_REPLACED);
    else if (answered && !call->conflict && what != PUT_STORED)
        on = meet(call, reply);
    if (!on)
        free(call);
}

static struct put_call *put_call(struct shared *s, struct span key, struct entry_text *text, uint64_t ttl_ms)
{
    char value[ENTRY_TEXT_MAX];
    size_t length;
    struct put_call *call;

    text->epoch = span_str(coherence_epoch(follower_coherence(s->follower)));
    length = entry_text_write(value, sizeof value, text);
    call = length ? malloc(sizeof *call + key.n + length) : NULL;
    if (!call)
        return NULL;
    *call = (struct put_call){.shared = s, .ttl_ms = ttl_ms, .nkey = key.n, .nvalue = length};
    memcpy(call->bytes, key.p, key.n);
    memcpy(call->bytes + key.n, value, length);
    return call;
}

static bool share_capsule(struct shared *s, struct entry_text *text, struct span capsule,
                          char id[ENTRY_TEXT_CAPSULE + 1])
{
    text->capsule = span_of(NULL, 0);
    if (capsule.n == 0)
        return true;
    if (!fetches_share_capsule(s->fetches, s->data, capsule, s->conf->horizon_ms / 2, id))
        return false;
    text->capsule = span_str(id);
    return true;
}

void shared_put(struct shared *s, struct span key, struct entry_text *text, struct span capsule,
                struct log_id marks_since, uint64_t ttl_ms)
{
    char id[ENTRY_TEXT_CAPSULE + 1], since[LOG_ID_TEXT];
    struct put_call *call;

    if (!shared_has_room(s))
        return;
    log_id_format(marks_since, since);
    call = share_capsule(s, text, capsule, id) ? put_call(s, key, text, ttl_ms) : NULL;
    if (call && send_put(call, span_str(since)))
        return;
    s->stats.puts_dropped++;
    free(call);
}

void shared_put_conflict(struct shared *s, struct span key, struct entry_text *text, bool announce, uint64_t ttl_ms)
{
    struct put_call *call;

    text->capsule = span_of(NULL, 0);
    call = shared_has_room(s) ? put_call(s, key, text, ttl_ms) : NULL;
    if (call) {
        call->conflict = true;
        call->announce = announce;
        if (send_put(call, SPAN_LITERAL("-")))
            return;
        s->stats.puts_dropped++;
        free(call);
    }
    if (announce)
        announce_conflict(s, key, false);
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

    if (shared_is_answer(s, reply) && (text = malloc(sizeof *text))) {
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
    size_t n = shared_entry_key(s, key, name, sizeof name);
    struct names_call *call = shared_has_room(s) && n ? malloc(sizeof *call + key.n) : NULL;

    if (!call)
        return;
    *call = (struct names_call){s, ttl_ms, key.n};
    memcpy(call->key, key.p, key.n);
    log_id_format(as_of, position);
    log_id_format(valid_since, since);
    snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms);
    struct span args[] = {span_of(name, n),   span_str(coherence_epoch(follower_coherence(s->follower))),
                          span_str(position), names,
                          span_str(since),    span_str(ttl)};
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
    shared_log_up(s);
}

static void on_down(void *arg, const char *why)
{
    struct shared *s = arg;

    shared_log_down(s);
    if (!s->moving && strcmp(why, s->error) != 0)
        log_warn("Redis: %s", why);
    if (!s->moving)
        snprintf(s->error, sizeof s->error, "%s", why);
    s->moving = false;
}

static void on_retry_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    shared_log_retry(arg);
}

static void on_marker_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shared *s = arg;

    (void)fd;
    (void)what;
    unsent_settle(s->unsent);
}

void shared_entered(struct shared *s)
{
    bool first = !s->entered;

    s->entered = true;
    fetches_capsules_lost(s->fetches);
    if (first || !redis_is_up(s->data))
        return;
    s->moving = true;
    redis_reconnect(s->data);
}

/* ---- life ---- */

static struct unsent *make_unsent(const struct conf *conf)
{
    char path[4096];

    return conf_state_file(conf, ".unsent", path, sizeof path) ? unsent_new(UNSENT_MAX, path) : NULL;
}

static void on_master(void *arg, const struct redis_address *at)
{
    struct shared *s = arg;

    s->moving = redis_is_up(s->data);
    redis_move(s->data, at);
    follower_move(s->follower, at);
}

static bool make_sentinels(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    struct sentinel_events events = {.master = on_master, .arg = s};

    s->majority = (struct sentinel_wait){.majority = shared_log_majority, .arg = s};
    if (url->nsentinels)
        s->sentinels = sentinels_new(base, s->conf, url, &events);
    return url->nsentinels == 0 || s->sentinels;
}

static bool make_connection(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    char name[128];
    struct redis_options options = {
        .url = url,
        .tls = s->conf->tls,
        .user = s->conf->redis_user,
        .password_file = s->conf->redis_password_file,
        .name = name,
        .master = s->sentinels != NULL,
        .connect_ms = CONNECT_MS,
        .reply_ms = REPLY_MS,
        .queue_max = QUEUE_MAX,
        .up = on_up,
        .down = on_down,
        .arg = s,
    };

    redis_connection_name(s->conf->node, "data", name, sizeof name);
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
    if (!make_sentinels(s, base, &url))
        goto fail;
    s->follower = follower_new(base, conf, &url, s->sentinels, &events->log);
    s->fetches = fetches_new(conf->key_prefix, events->entry, events->log.arg);
    s->retry_timer = event_new(base, -1, 0, on_retry_timer, s);
    s->marker_timer = event_new(base, -1, 0, on_marker_timer, s);
    if (!s->unsent || !s->follower || !s->fetches || !s->retry_timer || !s->marker_timer ||
        !script_init(&s->put, lua_put) || !script_init(&s->names, lua_names) || !script_init(&s->name, lua_name) ||
        !make_connection(s, base, &url))
        goto fail;
    shared_log_recover(s);
    return s;
fail:
    shared_free(s);
    return NULL;
}

void shared_free(struct shared *s)
{
    if (!s)
        return;
    sentinels_free(s->sentinels);
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
    if (s->sentinels)
        sentinels_stats(s->sentinels, &out->sentinels);
    out->connected = redis_is_up(s->data);
    out->state = follower.state;
    out->replicas = follower.replicas;
    out->renewals = follower.renewals;
    out->refusals = follower.refusals;
    snprintf(out->error, sizeof out->error, "%s",
             follower.error[0] ? follower.error
             : s->error[0]     ? s->error
             : s->sentinels    ? out->sentinels.error
                               : "");
}
