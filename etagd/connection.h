/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: bytes and descriptors in, requests to dispatch, replies out in the order of the
 * requests although some are finished later. Bounded both ways: a peer that does not read is not read
 * from, and is closed at last. Event-loop thread only.
 */
#ifndef ETAGD_CONNECTION_H
#define ETAGD_CONNECTION_H

struct connection;
struct dispatch;
struct event_base;

/* Takes over fd (non-blocking) unless NULL is returned. closed is called once when the connection has
 * ended by itself; the callback frees it. */
struct connection *connection_new(struct event_base *base, int fd, struct dispatch *dispatch,
                                  void (*closed)(struct connection *c, void *arg), void *arg);

/* Ends as soon as everything is answered that the peer had sent until now. */
void connection_drain(struct connection *c);

/* The link of the owner's list. */
struct connection **connection_next(struct connection *c);

void connection_free(struct connection *c);

#endif
