/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to Redis, kept up for ever. hiredis is the codec, redis_transport.h carries the bytes. Commands are
 * pipelined; replies come back in order, one per command. After connecting it authenticates, selects the database and
 * names itself; only then is it up. When it breaks, everything in flight is answered by "lost", and it connects again
 * after a pause of 50 ms, doubling to 2 s, with a random part, so that many nodes do not come back at one moment. A URL
 * that names no server (sentinel://) waits for redis_move. Event-loop thread only.
 */
#ifndef ETAGD_REDIS_H
#define ETAGD_REDIS_H

#include <stdint.h>

#include "etagd/lib/span.h"
#include "etagd/redis_url.h"

struct event_base;
struct redis;
struct redis_reply;
struct tls;

enum redis_kind {
    REDIS_LOST, /* no reply: the connection broke first; the command may have run */
    REDIS_NIL,
    REDIS_STATUS,
    REDIS_FAULT, /* an error reply; its text begins with a code in capitals */
    REDIS_NUMBER,
    REDIS_TEXT,
    REDIS_LIST
};

/* A reply lives during its callback. All of these take NULL, the lost reply. */
enum redis_kind redis_kind(const struct redis_reply *r);
struct span redis_text(const struct redis_reply *r); /* of a text, status or fault, else empty */
long long redis_number(const struct redis_reply *r); /* of a number, else 0 */
size_t redis_count(const struct redis_reply *r); /* of a list, else 0 */
const struct redis_reply *redis_at(const struct redis_reply *r, size_t i); /* NULL: no such element */
bool redis_is_fault(const struct redis_reply *r, const char *code);

struct redis_options {
    const struct redis_url *url; /* copied */
    const struct tls *tls; /* for a URL that wants TLS; outlives the connection */
    const char *user; /* NULL: the URL's; copied */
    const char *password_file; /* NULL: none; read at every connect, so that it can be changed; copied */
    const char *name; /* CLIENT SETNAME; copied */
    bool master; /* a server that is no master (ROLE) is given up: for one that others named */
    unsigned connect_ms; /* until up */
    unsigned reply_ms; /* for the oldest command in flight; then the connection is given up */
    size_t queue_max; /* commands in flight */
    void (*up)(void *arg);
    void (*down)(void *arg, const char *why); /* also when connecting failed */
    /* What no command asked for: messages of a subscription. NULL: the connection is given up then. */
    void (*message)(void *arg, const struct redis_reply *message);
    void *arg;
};

/* Begins to connect. NULL: out of memory. */
struct redis *redis_new(struct event_base *base, const struct redis_options *options);
/* Not from one of its own callbacks. What is in flight is lost: its callbacks are called, down is not. */
void redis_free(struct redis *r);

/* False when not up or the queue is full: the callback is then not called. Else it is called exactly
 * once, later. reply NULL: nobody wants to know. */
bool redis_send(struct redis *r, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg);

/* Gives the connection up and makes a new one at once. Allowed in callbacks. */
void redis_reconnect(struct redis *r);

/* Another server from now on, also when it is the same again: as redis_reconnect. */
void redis_move(struct redis *r, const struct redis_address *to);

bool redis_is_up(const struct redis *r);
size_t redis_in_flight(const struct redis *r);

/* "etagd:<node>:<role>" as a connection's name; characters Redis does not allow become "-". */
void redis_connection_name(const char *node, const char *role, char *out, size_t size);

/* For people: what went wrong and what to do about it; key names the key a command was about or is NULL. */
void redis_explain(struct span fault, const char *key, char *out, size_t size);

#endif
