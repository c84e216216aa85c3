/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket and its connections: who may connect, requests in, replies out in order,
 * descriptors both ways, and bounds on what a peer can make us keep. Event-loop thread only.
 */
#ifndef ETAGD_SERVER_H
#define ETAGD_SERVER_H

#include <stdbool.h>

struct conf;
struct conf_error;
struct dispatch;
struct event_base;
struct server;

/* Binds and listens. NULL and err->text (what, where, what to do) when another etagd lives there, or the
 * path cannot be used. conf and dispatch must outlive the server. */
struct server *server_new(struct event_base *base, const struct conf *conf, struct dispatch *dispatch,
                          struct conf_error *err);

/* No new connections; those there are close once everything they asked is answered. idle is called when
 * none is left, perhaps before the call returns. */
void server_drain(struct server *s, void (*idle)(void *arg), void *arg);

/* Closes everything and removes the socket. */
void server_free(struct server *s);

#endif
