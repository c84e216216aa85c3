/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each command of the protocol does (proto.h): one table, one function per command. Event-loop
 * thread only.
 */
#ifndef ETAGD_DISPATCH_H
#define ETAGD_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "etagd/lib/detection.h"
#include "etagd/lib/proto.h"

struct evbuffer;
struct conf;
struct hasher;
struct store;

/* One answer in the making. The connection keeps its replies in the order of the requests; a command may
 * finish its reply at once or later, then ready is called. */
struct reply {
    struct evbuffer *out;  /* RESP */
    int fds[2];            /* travel with the first byte; owned by the writer of the table */
    unsigned nfds;
    bool done;
    bool close_after;      /* the connection ends when this was sent */
    void (*ready)(struct reply *reply);
    void *owner;           /* the connection */
};

/* name and what it counts; INFO's Stats section lists them in this order. */
#define DISPATCH_COUNTERS(X)                                                                                           \
    X(requests, "requests understood")                                                                                 \
    X(protocol_errors, "connections closed because of malformed requests")                                            \
    X(unknown_commands, "requests for commands that do not exist")                                                     \
    X(attached, "tables handed out")                                                                                   \
    X(version_refused, "attachments refused because of another protocol version")                                      \
    X(put_stored, "tags published and kept")                                                                           \
    X(put_stale, "tags refused because something covering them was invalidated meanwhile")                             \
    X(put_names, "tags sent back because more header names select the variant")                                        \
    X(put_bad, "tags refused as malformed")                                                                            \
    X(fetch_known, "fetches answered yes")                                                                             \
    X(fetch_unknown, "fetches answered no")                                                                            \
    X(files_published, "file digests published by clients")                                                            \
    X(invalidations, "invalidations asked for on the socket")                                                          \
    X(clients_accepted, "connections accepted")                                                                        \
    X(clients_denied, "connections refused because of their user")                                                     \
    X(clients_over, "connections refused because MaxClients was reached")                                              \
    X(clients_slow, "connections closed because they did not read")

#define DISPATCH_MEMBER(name, help) uint64_t name;
struct dispatch_counters {
    DISPATCH_COUNTERS(DISPATCH_MEMBER)
};
#undef DISPATCH_MEMBER

struct dispatch {
    const struct conf *conf;
    struct store *store;
    struct hasher *hasher;
    struct dispatch_counters count;
    uint64_t detected[DETECTION_COUNT];
    uint64_t started_ms; /* CLOCK_BOOTTIME */
    unsigned clients;    /* connections now */
};

/* Runs one request. fd: a descriptor that came with it, or -1; taken over. The request's spans are valid
 * only during the call. */
void dispatch_request(struct dispatch *d, const struct proto_request *request, int fd, struct reply *reply);

/* The connection goes away before the reply was finished. */
void dispatch_forget(struct dispatch *d, struct reply *reply);

/* All of INFO, or one section, as text. */
void dispatch_info(struct dispatch *d, const char *section, struct evbuffer *out);

#endif
