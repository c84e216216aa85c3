/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the masters of a Redis Cluster which of them has the slot of the log, and whether another server can have taken
 * it. Found from the URL's nodes by CLUSTER NODES; all masters that have slots, and the URL's nodes, are asked five
 * times per lease, and at once when a server says that it is the wrong one.
 *
 * The master followed is the one of the greatest configuration epoch that any node names for the slot, or the one that
 * more than half of the masters name.
 *
 * What must be certain needs a *majority*: more than half of all masters that have slots, each of which, asked from
 * now on, names the master followed and holds it for well. A replica is elected by the votes of more than half, and
 * who has voted knows of the election's epoch. As many replicas as that majority shows, any of them counting for all,
 * must then confirm (WAIT) what was written before: whoever was promoted before does not, with votes or without
 * (CLUSTER FAILOVER TAKEOVER). Not counted are those that a majority of masters holds for down (fail, not fail?). They
 * count, too, where a node knows of an epoch that no master has come out of: one of them may have been elected in it.
 *
 * A slot that is being moved needs no rule of its own: its keys are on one side or on the other, a script that needs
 * them all is refused in between, and the other side is another server, hence another epoch (etagd/coherence.h).
 *
 * WAIT counts replicas without naming them; servers that replicate from this master without being nodes of the Cluster
 * can take the place of others there. Event-loop thread only.
 */
#ifndef ETAGD_CLUSTER_H
#define ETAGD_CLUSTER_H

#include "etagd/cluster_answer.h"
#include "etagd/witness.h"

struct event_base;
struct conf;
struct cluster;

struct cluster_map_events {
    /* Slots have other masters than before. The map lives until the next one. */
    void (*map)(void *arg, const struct cluster_map *map);
    void *arg;
};

/* Begins to connect to all nodes of the URL. conf and the events' args outlive it. NULL: out of memory. */
struct cluster *cluster_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                            const struct witness_events *events, const struct cluster_map_events *map);
void cluster_free(struct cluster *c);

/* As witnesses_ask and witnesses_doubt. */
void cluster_ask(struct cluster *c, struct witness_wait *wait);
void cluster_doubt(struct cluster *c);

void cluster_stats(const struct cluster *c, struct witness_stats *out);

#endif
