/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the log in Redis and keeps the lease: two connections, one that waits for records (tail) and
 * one that renews (lease), so that neither ever waits for the other. What it learns goes to coherence.h,
 * which decides. Event-loop thread only.
 */
#ifndef ETAGD_FOLLOWER_H
#define ETAGD_FOLLOWER_H

#include "etagd/coherence.h"
#include "etagd/redis.h"

struct conf;
struct follower;

/* The URL is copied, conf outlives it. Nothing is sent before follower_start. NULL: out of memory. */
struct follower *follower_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                              const struct coherence_events *events);
void follower_free(struct follower *f);

/* Connects; may be called again. */
void follower_start(struct follower *f);

/* Renews at once instead of at the next turn. */
void follower_renew(struct follower *f);

const struct coherence *follower_coherence(const struct follower *f);

struct follower_stats {
    const char *state; /* "waiting", "held", "lapsed" */
    uint64_t renewals, refusals;
    char error[256]; /* the newest, empty while the lease is held */
};
void follower_stats(const struct follower *f, struct follower_stats *out);

/* "etagd:<node>:<role>" as a connection's name; characters Redis does not allow become "-". */
void follower_connection_name(const struct conf *conf, const char *role, char *out, size_t size);

#endif
