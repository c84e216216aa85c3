/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one connection to Redis, over a unix socket, TCP, or TLS, brought up without blocking the event loop.
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
struct tls;

/* All may close the transport. */
struct redis_transport_events {
    void (*open)(void *arg); /* bytes reach the server, which has proved who it is if the URL wants TLS */
    void (*readable)(void *arg); /* there is more in redis_transport_input */
    void (*broken)(void *arg, const char *why); /* nothing arrives any more; close it */
    void *arg;
};

/* tls outlives it; NULL: URLs that want TLS are refused. NULL: out of memory. */
struct redis_transport *redis_transport_new(struct event_base *base, const struct tls *tls,
                                            const struct redis_transport_events *events);
void redis_transport_free(struct redis_transport *t);

/* To the server that the URL names; closed before. Events may already come before this returns. */
void redis_transport_connect(struct redis_transport *t, const struct redis_url *url);

/* For people: what a connection that does not come up is waiting for. */
const char *redis_transport_waiting_for(const struct redis_transport *t);

/* No events afterwards. NULL: nothing to do. */
void redis_transport_close(struct redis_transport *t);

/* A host may have several addresses, of both families: the next connection takes the same one again. Without this
 * call it takes the next one. */
void redis_transport_keep_address(struct redis_transport *t);

/* Copies the bytes, once open. False: out of memory. */
bool redis_transport_write(struct redis_transport *t, const void *bytes, size_t n);

/* What has arrived and was not drained yet. Not closed. */
struct evbuffer *redis_transport_input(struct redis_transport *t);

#endif
