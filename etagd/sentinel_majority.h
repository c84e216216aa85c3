/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several Sentinels say together: who is followed as the master, and whether more than half of all there are
 * agree that it is one and stays one. No connections and no clock: rounds and times are the caller's. Any thread, one
 * at a time.
 */
#ifndef ETAGD_SENTINEL_MAJORITY_H
#define ETAGD_SENTINEL_MAJORITY_H

#include "etagd/redis_url.h"
#include "etagd/sentinel_answer.h"

#define SENTINEL_ELECTION_MS 10000u /* until a leader is elected or gives up (sentinel.c of Redis) */

/* One Sentinel's newest complete answer. */
struct sentinel_opinion {
    struct sentinel_answer answer;
    uint64_t round; /* in which it was asked for; 0: it has not answered yet */
    uint64_t vote_epoch, vote_seen_ms; /* a vote for a failover that has not come to pass; 0: none */
};

/* All zero to begin with, but for n. */
struct sentinel_majority {
    struct redis_address master; /* followed; host empty: none yet */
    uint64_t epoch; /* its configuration epoch */
    unsigned n; /* Sentinels of the URL */
    struct sentinel_opinion one[REDIS_SEEDS];
};

/* Takes what Sentinel i said in a round (from 1; newest: the newest begun), at now_ms of CLOCK_BOOTTIME.
 * True: m->master is another one now. */
bool sentinel_majority_told(struct sentinel_majority *m, unsigned i, const struct sentinel_answer *answer,
                            uint64_t round, uint64_t newest, uint64_t now_ms);

/* Sentinels there are: those of the URL, or as many as one of them knows of. */
unsigned sentinel_majority_known(const struct sentinel_majority *m);

/* How many were asked in this round or later, name m->master, find nothing wrong with it, and have not voted for a
 * failover that may still come to pass. */
unsigned sentinel_majority_agreeing(const struct sentinel_majority *m, uint64_t round, uint64_t now_ms);

/* Whether that is more than half of those there are; *replicas: how many different ones these show. More than
 * REPLICAS_MAX are never agreed upon. */
bool sentinel_majority_agrees(const struct sentinel_majority *m, uint64_t round, uint64_t now_ms, unsigned *replicas);

#endif
