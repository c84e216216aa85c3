/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Sentinels (etagd/sentinel.h) and the masters of a Cluster (etagd/cluster.h) have in common: they name the
 * server that has the log, and tell whether another one can have taken its place. Event-loop thread only.
 */
#ifndef ETAGD_WITNESS_H
#define ETAGD_WITNESS_H

#include "etagd/redis.h"

struct witness_events {
    /* Another server has the log from now on. */
    void (*master)(void *arg, const struct redis_address *at);
    void *arg;
};

struct witness_stats {
    unsigned known; /* witnesses there are */
    unsigned agreeing; /* of those asked last */
    unsigned replicas; /* that the last majority has named */
    struct redis_address master; /* followed; host empty: none yet */
    char error[320]; /* the newest, empty while a majority agrees */
};

/* Who waits for a majority; begins as zeros but for the last two, belongs to the caller and outlives the witnesses. */
struct witness_wait {
    struct witness_wait *next;
    uint64_t round; /* 0: not waiting */
    void (*majority)(void *arg, unsigned replicas); /* replicas: how many must confirm */
    void *arg;
};

/* Puts wait, or puts it once more, on the list of those who wait for an answer of this round. */
void witness_wait_add(struct witness_wait **list, struct witness_wait *wait, uint64_t round);

/* Takes one off that waits for this round or an earlier one; NULL: there is none. */
struct witness_wait *witness_wait_take(struct witness_wait **list, uint64_t round);

/* host:port, for people and for comparing by eye. */
void witness_address(const struct redis_address *at, char *out, size_t size);

bool witness_same_address(const struct redis_address *a, const struct redis_address *b);

#endif
