/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one connection to Redis, over a unix socket or TCP, brought up without blocking the event loop.
 * Knows nothing of Redis' protocol and sets no time limits: who uses it bounds how long it may take. Event-loop
 * thread only.
 */
#ifndef ETAGD_REDIS_TRANSPORT_H
#define ETAGD_REDIS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

struct evbuffer;
struct event_base;
struct redis_transport;
struct redis_url;

/* All may close the transport. */
struct redis_transport_events {
    void (*open)(void *arg); /* bytes arrive at the server */
    void (*readable)(void *arg); /* there is more in redis_transport_input */
    void (*broken)(void *arg, const char *why); /* nothing arrives any more; close it */
    void *arg;
};

/* NULL: out of memory. */
struct redis_transport *redis_transport_new(struct event_base *base, const struct redis_transport_events *events);
void redis_transport_free(struct redis_transport *t);

/* To the server that the URL names; closed before. Events may already come before this returns. */
void redis_transport_connect(struct redis_transport *t, const struct redis_url *url);

/* No events afterwards. NULL: nothing to do. */
void redis_transport_close(struct redis_transport *t);

/* A host's name may have addresses of both families: the one that was used is used again. Without this call the
 * next connection tries the other one. */
void redis_transport_keep_family(struct redis_transport *t);

/* Copies the bytes, once open. False: out of memory. */
bool redis_transport_write(struct redis_transport *t, const void *bytes, size_t n);

/* What has arrived and was not drained yet. Not closed. */
struct evbuffer *redis_transport_input(struct redis_transport *t);

#endif
