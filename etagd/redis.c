/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and replies: the only place in the daemon that knows hiredis. */
#include "etagd/redis.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/redis_state.h"
#include "etagd/redis_transport.h"

#define UNPARSED_MAX (UINT64_C(64) << 20) /* bytes of one reply that is not complete yet */

struct command {
    struct command *next;
    void (*reply)(void *arg, const struct redis_reply *reply);
    void *arg;
    uint64_t sent_ms;
};

/* ---- replies: hiredis stays inside this file ---- */

static const redisReply *inner(const struct redis_reply *r)
{
    return (const redisReply *)r;
}

enum redis_kind redis_kind(const struct redis_reply *r)
{
    if (!r)
        return REDIS_LOST;
    switch (inner(r)->type) {
    case REDIS_REPLY_STATUS:
        return REDIS_STATUS;
    case REDIS_REPLY_ERROR:
        return REDIS_FAULT;
    case REDIS_REPLY_INTEGER:
        return REDIS_NUMBER;
    case REDIS_REPLY_STRING:
        return REDIS_TEXT;
    case REDIS_REPLY_ARRAY:
        return REDIS_LIST;
    default:
        return REDIS_NIL;
    }
}

struct span redis_text(const struct redis_reply *r)
{
    enum redis_kind kind = redis_kind(r);

    if (kind == REDIS_TEXT || kind == REDIS_STATUS || kind == REDIS_FAULT)
        return span_of(inner(r)->str, inner(r)->len);
    return span_of(NULL, 0);
}

long long redis_number(const struct redis_reply *r)
{
    return redis_kind(r) == REDIS_NUMBER ? inner(r)->integer : 0;
}

size_t redis_count(const struct redis_reply *r)
{
    return redis_kind(r) == REDIS_LIST ? inner(r)->elements : 0;
}

const struct redis_reply *redis_at(const struct redis_reply *r, size_t i)
{
    return i < redis_count(r) ? (const struct redis_reply *)inner(r)->element[i] : NULL;
}

bool redis_is_fault(const struct redis_reply *r, const char *code)
{
    return redis_kind(r) == REDIS_FAULT && span_starts(redis_text(r), span_str(code));
}

/* ---- the queue ---- */

bool redis_push(struct redis *r, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    struct command *c;
    const char **texts;
    size_t *lengths;
    char *bytes = NULL;
    long long n; /* int before hiredis 1.0 */

    c = calloc(1, sizeof *c + argc * (sizeof *texts + sizeof *lengths));
    if (!c)
        return false;
    texts = (const char **)(c + 1);
    lengths = (size_t *)(texts + argc);
    for (size_t i = 0; i < argc; i++) {
        texts[i] = argv[i].p ? argv[i].p : "";
        lengths[i] = argv[i].n;
    }
    n = redisFormatCommandArgv(&bytes, (int)argc, texts, lengths);
    if (n < 0 || !redis_transport_write(r->transport, bytes, (size_t)n)) {
        redisFreeCommand(bytes);
        free(c);
        return false;
    }
    redisFreeCommand(bytes);
    c->reply = reply;
    c->arg = arg;
    c->sent_ms = clock_mono_ms();
    *r->newest = c;
    r->newest = &c->next;
    r->in_flight++;
    if (r->stage == STAGE_UP && !event_pending(r->timer, EV_TIMEOUT, NULL))
        redis_arm(r, r->options.reply_ms); /* when it fires it looks at the command that is the oldest then */
    return true;
}

bool redis_send(struct redis *r, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    return redis_is_up(r) && r->in_flight < r->options.queue_max && redis_push(r, argc, argv, reply, arg);
}

static struct command *pop(struct redis *r)
{
    struct command *c = r->oldest;

    if (!c)
        return NULL;
    r->oldest = c->next;
    if (!r->oldest)
        r->newest = &r->oldest;
    r->in_flight--;
    return c;
}

void redis_lose(struct redis *r)
{
    struct command *lost = r->oldest;

    r->oldest = NULL;
    r->newest = &r->oldest;
    r->in_flight = 0;
    while (lost) {
        struct command *c = lost;

        lost = c->next;
        if (c->reply)
            c->reply(c->arg, NULL);
        free(c);
    }
}

size_t redis_in_flight(const struct redis *r)
{
    return r->in_flight;
}

uint64_t redis_patience(const struct redis *r)
{
    uint64_t waited = clock_mono_ms() - r->oldest->sent_ms;

    return waited < r->options.reply_ms ? r->options.reply_ms - waited : 0;
}

/* ---- reading ---- */

bool redis_reader_open(struct redis *r)
{
    r->unparsed = 0;
    r->reader = redisReaderCreate();
    return r->reader != NULL;
}

void redis_reader_close(struct redis *r)
{
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
}

static void on_reply(struct redis *r, redisReply *reply)
{
    struct command *c = pop(r);

    if (!c) {
        if (r->options.message)
            r->options.message(r->options.arg, (const struct redis_reply *)reply);
        else
            redis_fail(r, "a reply that nothing asked for");
        return;
    }
    if (c->reply)
        c->reply(c->arg, (const struct redis_reply *)reply);
    free(c);
}

void redis_read(struct redis *r)
{
    struct evbuffer *in = redis_transport_input(r->transport);
    void *reply;

    while (!r->give_up && evbuffer_get_length(in)) {
        size_t n = evbuffer_get_contiguous_space(in);

        if (redisReaderFeed(r->reader, (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n) != REDIS_OK)
            redis_fail(r, "out of memory for a reply");
        evbuffer_drain(in, n);
        r->unparsed += n;
        while (!r->give_up) {
            if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
                redis_fail(
                    r, "what answers there does not speak the Redis protocol: check the Redis URL (rediss:// for TLS)");
                break;
            }
            if (!reply)
                break;
            r->unparsed = 0;
            on_reply(r, reply);
            freeReplyObject(reply);
        }
        if (r->unparsed > UNPARSED_MAX)
            redis_fail(r, "a reply over 64 MiB: a record or entry of that size was not written by etagd; remove it");
    }
}
