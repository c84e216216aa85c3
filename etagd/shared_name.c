/* SPDX-License-Identifier: Apache-2.0 */
/* Names on their way to Redis and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/lib/key.h"
#include "etagd/shared_state.h"

struct call {
    struct shared *shared;
    void (*done)(void *arg, const struct shared_name *there);
    void *arg;
};

static uint64_t positive(const struct redis_reply *r)
{
    long long n = redis_number(r);

    return n > 0 ? (uint64_t)n : 0;
}

static void on_name(void *arg, const struct redis_reply *reply)
{
    struct call call = *(struct call *)arg;
    struct shared_name there;

    free(arg);
    if (!shared_is_answer(call.shared, reply) || redis_count(reply) != 4) {
        call.done(call.arg, NULL);
        return;
    }
    there = (struct shared_name){
        .value = redis_text(redis_at(reply, 0)),
        .ttl_ms = positive(redis_at(reply, 1)),
        .now_ms = positive(redis_at(reply, 2)),
        .mine = redis_number(redis_at(reply, 3)) == 1,
    };
    call.done(call.arg, &there);
}

bool shared_name(struct shared *s, struct span key, struct span judged, struct entry_text *text, uint64_t ttl_ms,
                 void (*done)(void *arg, const struct shared_name *there), void *arg)
{
    char name[KEY_SIZE + 128], value[ENTRY_TEXT_MAX], ttl[24];
    size_t n = shared_entry_key(s, key, name, sizeof name), length = 0;
    struct call *call;

    if (text) {
        text->epoch = span_str(coherence_epoch(follower_coherence(s->follower)));
        text->capsule = span_of(NULL, 0);
        length = entry_text_write(value, sizeof value, text);
    }
    if (n == 0 || (text && length == 0) || !shared_has_room(s, key) || !(call = malloc(sizeof *call)))
        return false;
    *call = (struct call){s, done, arg};
    snprintf(ttl, sizeof ttl, "%" PRIu64, ttl_ms);
    struct span args[] = {span_of(name, n), judged, span_of(value, length), span_str(ttl)};
    if (routes_call(s->routes, &s->name, 4, args, on_name, call))
        return true;
    free(call);
    return false;
}
