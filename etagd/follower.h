/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the log in Redis and keeps the lease: two connections, one that waits for records (tail) and
 * one that renews (lease), so that neither ever waits for the other. A renewal counts once as many replicas
 * as could be promoted have confirmed it. What it learns goes to coherence.h, which decides. Event-loop thread
 * only.
 */
#ifndef ETAGD_FOLLOWER_H
#define ETAGD_FOLLOWER_H

#include "etagd/coherence.h"
#include "etagd/redis.h"
#include "etagd/witnesses.h"

struct conf;
struct follower;

/* The URL is copied, conf outlives it, and so do the witnesses (NULL: none are asked, and a renewal is confirmed by
 * WaitReplicas replicas). Nothing is sent before follower_start. NULL: out of memory. */
struct follower *follower_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                              struct witnesses *witnesses, const struct coherence_events *events);
void follower_free(struct follower *f);

/* Connects; may be called again. */
void follower_start(struct follower *f);

/* Another master from now on. */
void follower_move(struct follower *f, const struct redis_address *to);

/* Renews at once instead of at the next turn. */
void follower_renew(struct follower *f);

const struct coherence *follower_coherence(const struct follower *f);

struct follower_stats {
    const char *state; /* "waiting", "held", "lapsed" */
    unsigned replicas; /* that had to confirm the last renewal */
    uint64_t renewals, refusals;
    char error[256]; /* the newest, empty while the lease is held */
};
void follower_stats(const struct follower *f, struct follower_stats *out);

#endif
