/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis Sentinels who the master is and which replicas a failover could promote.
 *
 * The master followed is the one of the greatest configuration epoch that any Sentinel names, or the one that more
 * than half of them name. All are asked five times per lease, and at once when one of them announces +switch-master.
 *
 * For a lease a *majority* is needed: more than half of all Sentinels there are (of the URL, or as many as they know
 * of themselves), each of which, asked after the renewal began, names the master followed, finds nothing wrong with
 * it, and has not given its vote to a failover lately. A failover needs the votes of more than half, so one of
 * those asked would have to vote after it answered: whoever is promoted is promoted after the renewal began. The
 * replicas that any of that majority could promote must confirm the renewal (WAIT), which shows that none of them
 * has been promoted, by hand or by vote, before it.
 *
 * Event-loop thread only.
 */
#ifndef ETAGD_SENTINEL_H
#define ETAGD_SENTINEL_H

#include "etagd/redis.h"

struct event_base;
struct conf;
struct sentinels;

struct sentinel_events {
    /* Another master from now on. */
    void (*master)(void *arg, const struct redis_address *at);
    void *arg;
};

struct sentinel_stats {
    unsigned known; /* Sentinels there are */
    unsigned agreeing; /* of those asked last, as above */
    unsigned replicas; /* of the last majority */
    struct redis_address master; /* followed; host empty: none yet */
    char error[320]; /* the newest, empty while a majority agrees */
};

/* Begins to connect to all of the URL's. conf and events' arg outlive it. NULL: out of memory. */
struct sentinels *sentinels_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                                const struct sentinel_events *events);
void sentinels_free(struct sentinels *s);

/* Asks all. majority is called once a majority has answered what is asked from now on, not from within this call,
 * or never; asking again replaces it. replicas: how many must confirm. */
void sentinels_ask(struct sentinels *s, void (*majority)(void *arg, unsigned replicas), void *arg);

/* The last majority's replicas, as of a majority asked within_ms ago or later; false: there was none. */
bool sentinels_majority(const struct sentinels *s, uint64_t within_ms, unsigned *replicas);

void sentinels_stats(const struct sentinels *s, struct sentinel_stats *out);

#endif
