/* SPDX-License-Identifier: Apache-2.0 */
/* Entries on their way to Redis and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/lib/key.h"
#include "etagd/shared_state.h"

#define PUTS_MAX 4096u /* in flight above which entries are not shared: the rest is for what must go */
#define LOAD_MS 1000u /* at least between loading the scripts */

/* What put.lua answers. */
enum put_result { PUT_NEWER = 0, PUT_STORED = 1, PUT_REPLACED = 2, PUT_CONFLICT = 3 };

static void load_scripts_again(struct shared *s)
{
    uint64_t now = clock_mono_ms();

    if (s->script_ms && now - s->script_ms < LOAD_MS)
        return;
    s->script_ms = now;
    routes_load(s->routes, &s->put);
    routes_load(s->routes, &s->names);
    routes_load(s->routes, &s->name);
}

bool shared_is_answer(struct shared *s, const struct redis_reply *reply)
{
    if (redis_is_fault(reply, "NOSCRIPT"))
        load_scripts_again(s);
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

bool shared_has_room(struct shared *s, struct span key)
{
    char text[KEY_SIZE + 128];
    struct span name = span_of(text, shared_entry_key(s, key, text, sizeof text));

    if (name.n && routes_is_up(s->routes, name) && routes_in_flight(s->routes, name) < PUTS_MAX)
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
    return n && routes_call(s->routes, &s->put, 7, args, on_put, call);
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
    if (!fetches_share_capsule(s->fetches, s->routes, capsule, s->conf->horizon_ms / 2, id))
        return false;
    text->capsule = span_str(id);
    return true;
}

void shared_put(struct shared *s, struct span key, struct entry_text *text, struct span capsule,
                struct log_id marks_since, uint64_t ttl_ms)
{
    char id[ENTRY_TEXT_CAPSULE + 1], since[LOG_ID_TEXT];
    struct put_call *call;

    if (!shared_has_room(s, key))
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
    call = shared_has_room(s, key) ? put_call(s, key, text, ttl_ms) : NULL;
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

/* Nodes that know fewer names would go on answering by them. "*": more than can be held. */
static void announce_names(struct shared *s, struct span key, struct span names)
{
    char text[KEY_SIZE + 1 + ENTRY_TAG_MAX + 1];
    int n = snprintf(text, sizeof text, "%.*s %.*s", (int)key.n, key.p, (int)names.n, names.p);
    struct span fields[] = {SPAN_LITERAL("x-names"), {text, (size_t)n}};

    shared_append(s, fields, 2);
}

static void on_names(void *arg, const struct redis_reply *reply)
{
    struct names_call *call = arg;
    struct shared *s = call->shared;
    struct entry_text *text;

    if (shared_is_answer(s, reply) && (text = malloc(sizeof *text))) {
        const struct span key = span_of(call->key, call->n);

        const bool fits = entry_text_read(redis_text(redis_at(reply, 0)), text);

        if (fits)
            s->events.entry(s->events.log.arg, key, text, span_of(NULL, 0), call->ttl_ms);
        if (redis_number(redis_at(reply, 1)))
            announce_names(s, key, fits ? text->entry.tag : SPAN_LITERAL("*"));
        free(text);
    }
    free(call);
}

void shared_names(struct shared *s, struct span key, struct log_id as_of, struct span names, struct log_id valid_since,
                  uint64_t ttl_ms)
{
    char name[KEY_SIZE + 128], position[LOG_ID_TEXT], since[LOG_ID_TEXT], ttl[24];
    size_t n = shared_entry_key(s, key, name, sizeof name);
    struct names_call *call = shared_has_room(s, key) ? malloc(sizeof *call + key.n) : NULL;

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
    if (routes_call(s->routes, &s->names, 6, args, on_names, call))
        return;
    s->stats.puts_dropped++;
    free(call);
}

void shared_fetch(struct shared *s, struct span key, void (*done)(void *arg, bool known), void *arg)
{
    fetches_ask(s->fetches, s->routes, key, done, arg);
}

void shared_forget(struct shared *s, void *arg)
{
    fetches_forget(s->fetches, arg);
}
