/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis Sentinels who the master is and which replicas a failover could promote.
 *
 * The master followed is the one of the greatest configuration epoch that any Sentinel names, or the one that more
 * than half of them name. All are asked five times per lease, and at once when one of them announces +switch-master.
 *
 * What must be certain needs a *majority*: more than half of all Sentinels there are (of the URL, or as many as they
 * know of themselves), each of which, asked from now on, names the master followed, finds nothing wrong with it, and
 * has not given its vote to a failover lately. A failover needs the votes of more than half, so one of those asked
 * would have to vote after it answered: whoever is promoted is promoted from now on.
 *
 * As many replicas as that majority shows, any of them counting for all, must then confirm (WAIT) what was written
 * before: against promotions without votes (SENTINEL FAILOVER, REPLICAOF NO ONE). WAIT counts replicas without
 * naming them, so also those of priority 0 are waited for; replicas that are hidden from Sentinels
 * (replica-announced no) can take the place of others there.
 *
 * Event-loop thread only.
 */
#ifndef ETAGD_SENTINEL_H
#define ETAGD_SENTINEL_H

#include "etagd/witness.h"

struct event_base;
struct conf;
struct sentinels;

/* Begins to connect to all of the URL's. conf and events' arg outlive it. NULL: out of memory. */
struct sentinels *sentinels_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                                const struct witness_events *events);
void sentinels_free(struct sentinels *s);

/* As witnesses_ask. */
void sentinels_ask(struct sentinels *s, struct witness_wait *wait);

void sentinels_stats(const struct sentinels *s, struct witness_stats *out);

#endif
