/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking client of etagd with a deadline: for mod_etag's processes and for etagctl. Requests are
 * formatted and replies parsed with hiredis. Every call returns by its deadline, whatever the peer
 * does; after any failure the connection is closed and the client must be connected again (a late
 * reply must never be taken for the next one's). One thread at a time per client.
 */
#ifndef ETAG_LIB_CLIENT_H
#define ETAG_LIB_CLIENT_H

#include <stdint.h>

#include "etagd/lib/span.h"
#include "etagd/lib/time_namespace.h"

struct client;
struct redisReply;

enum client_error {
    CLIENT_OK = 0,
    CLIENT_ABSENT,   /* no socket, or nobody listens */
    CLIENT_DENIED,   /* permission, or etagd refused our user */
    CLIENT_TIMEOUT,  /* the deadline passed */
    CLIENT_CLOSED,   /* the peer closed the connection */
    CLIENT_PROTOCOL, /* not RESP, or not the reply expected */
    CLIENT_VERSION   /* etagd speaks another protocol version */
};

const char *client_error_text(enum client_error e);

/* Now on the clock deadlines are given in: CLOCK_MONOTONIC, nanoseconds. */
int64_t client_now(void);

/* A client for the socket path (copied); not connected yet. NULL when out of memory. */
struct client *client_new(const char *path);
void client_free(struct client *c);
bool client_connected(const struct client *c);

enum client_error client_connect(struct client *c, int64_t deadline_ns);

/* Sends one request and waits for its reply, which the caller frees with freeReplyObject. An error
 * reply (REDIS_REPLY_ERROR) is a reply: CLIENT_OK. pass_fd >= 0 is sent along by SCM_RIGHTS. Connects
 * first when not connected. */
enum client_error client_call(struct client *c, int argc, const struct span *argv, int pass_fd, int64_t deadline_ns,
                              struct redisReply **out);

struct client_attachment {
    int table_fd, touch_fd; /* the caller closes them */
    char node[128];
    char store[32];
    char time_namespace[TIME_NAMESPACE_SIZE]; /* etagd's; empty: not known */
};

enum client_error client_attach(struct client *c, int64_t deadline_ns, struct client_attachment *out);

#endif
