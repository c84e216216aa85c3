/* SPDX-License-Identifier: Apache-2.0 */
/* What one Sentinel says, read from its replies, and what several of them say together. Pure, any thread. */
#ifndef ETAGD_SENTINEL_ANSWER_H
#define ETAGD_SENTINEL_ANSWER_H

#include "etagd/witness.h"

#define REPLICAS_MAX 64 /* of one master; with more there is no majority */

struct sentinel_replicas {
    struct redis_address at[REPLICAS_MAX];
    size_t n;
    bool full; /* there were more */
};

struct sentinel_answer {
    struct redis_address master;
    bool well; /* nothing is wrong with it */
    uint64_t config_epoch; /* of the failover that made it the master */
    uint64_t vote_epoch; /* of the newest failover that this Sentinel voted for */
    uint64_t failover_ms; /* the longest that a failover takes */
    unsigned others; /* Sentinels known besides this one */
    struct sentinel_replicas replicas; /* neither down nor disconnected */
};

/* SENTINEL MASTER; SENTINEL REPLICAS; SENTINEL IS-MASTER-DOWN-BY-ADDR. False: not understood, *out is void. */
bool sentinel_read_master(const struct redis_reply *reply, struct sentinel_answer *out);
bool sentinel_read_replicas(const struct redis_reply *reply, struct sentinel_answer *out);
bool sentinel_read_vote(const struct redis_reply *reply, struct sentinel_answer *out);

/* Adds those of from that are not there yet. */
void sentinel_add_replicas(struct sentinel_replicas *to, const struct sentinel_replicas *from);

#endif
