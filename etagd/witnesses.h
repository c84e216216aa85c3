/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever the Redis URL names as witnesses: Sentinels, the masters of a Cluster, or nobody. Event-loop thread only.
 */
#ifndef ETAGD_WITNESSES_H
#define ETAGD_WITNESSES_H

#include "etagd/cluster.h"
#include "etagd/witness.h"

struct witnesses;

/* Begins to connect. map: for a Cluster. NULL: out of memory. conf and events' arg outlive it. */
struct witnesses *witnesses_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                                const struct witness_events *events, const struct cluster_map_events *map);
void witnesses_free(struct witnesses *w);

/* Whether the URL names any; without them no witnesses are made. */
bool witnesses_named(const struct redis_url *url);

/* Asks all. wait's majority is called once a majority has answered what is asked from now on, not from within this
 * call, or never; asking again replaces what is waited for. */
void witnesses_ask(struct witnesses *w, struct witness_wait *wait);

/* A server says that it does not have what we thought: all are asked at once. */
void witnesses_doubt(struct witnesses *w);

/* "Sentinels" or "masters". */
const char *witnesses_name(const struct witnesses *w);

void witnesses_stats(const struct witnesses *w, struct witness_stats *out);

#endif
