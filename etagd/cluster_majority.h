/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several nodes of a Cluster say together: which master is followed, and whether more than half of all masters
 * agree that it is one and stays one (etagd/cluster.h). No connections and no clock: rounds and times are the
 * caller's. Any thread, one at a time.
 */
#ifndef ETAGD_CLUSTER_MAJORITY_H
#define ETAGD_CLUSTER_MAJORITY_H

#include "etagd/cluster_answer.h"

#define CLUSTER_NODES_MAX (CLUSTER_MASTERS + REDIS_SEEDS) /* asked at one time */

/* An election is over, won or not, after twice cluster-node-timeout, which is not told; 60 s of it are allowed for. */
#define CLUSTER_ELECTION_MS 120000u

/* One node's newest complete answer. */
struct cluster_opinion {
    struct cluster_answer answer;
    uint64_t round; /* in which it was asked for; 0: it has not answered yet */
    uint64_t epoch, epoch_seen_ms; /* the newest that it knows, and when that was heard of first */
    uint64_t settled; /* some master has come out of every epoch up to this one, or it is long ago */
};

/* All zero to begin with. */
struct cluster_majority {
    bool found; /* a master is followed: */
    struct cluster_node_id master;
    struct redis_address at;
    uint64_t config_epoch; /* in which it got the slot */
    struct cluster_opinion one[CLUSTER_NODES_MAX];
};

/* Takes what node i said in a round (from 1; newest: the newest begun), at now_ms of CLOCK_BOOTTIME. True: m->at is
 * another one now. */
bool cluster_majority_told(struct cluster_majority *m, unsigned i, const struct cluster_answer *answer, uint64_t round,
                           uint64_t newest, uint64_t now_ms);

/* Another node is asked in this place. */
void cluster_majority_forget(struct cluster_majority *m, unsigned i);

/* Masters that have slots, as many as any of those asked lately knows. */
unsigned cluster_majority_known(const struct cluster_majority *m, uint64_t newest);

/* How many of them were asked in this round or later, name m->master, and find nothing wrong with it. */
unsigned cluster_majority_agreeing(const struct cluster_majority *m, uint64_t round);

/* Whether that is more than half of those there are; *replicas: how many must confirm what is written from now on. With
 * more than CLUSTER_REPLICAS of these, or CLUSTER_MASTERS, nothing is agreed upon. */
bool cluster_majority_agrees(const struct cluster_majority *m, uint64_t round, uint64_t newest, uint64_t now_ms,
                             unsigned *replicas);

#endif
