/* SPDX-License-Identifier: Apache-2.0 */
/* What one node of a Redis Cluster says, read from its texts, and where a key lies. Pure, any thread. */
#ifndef ETAGD_CLUSTER_ANSWER_H
#define ETAGD_CLUSTER_ANSWER_H

#include <stdint.h>

#include "etagd/lib/span.h"
#include "etagd/redis_url.h"

#define CLUSTER_SLOTS 16384u
#define CLUSTER_MASTERS 64u /* that have slots; with more there is no majority, and entries of some are not shared */
#define CLUSTER_REPLICAS 64u /* of one master; with more there is no majority */
#define CLUSTER_EPOCHS 256u /* different ones of masters; more are not looked at */
#define CLUSTER_NODE_ID 40u

/* The slot of a key: of what stands between its first braces, if anything does. */
unsigned cluster_slot(struct span key);

struct cluster_node_id {
    char text[CLUSTER_NODE_ID];
};
bool cluster_same_node(const struct cluster_node_id *a, const struct cluster_node_id *b);

struct cluster_replicas {
    struct {
        struct cluster_node_id id;
        bool failed; /* most masters hold it for down */
    } at[CLUSTER_REPLICAS];
    size_t n;
    bool full; /* there were more */
};

struct cluster_answer {
    uint64_t current_epoch; /* no vote was given in a greater one by this node */
    struct cluster_node_id self;
    bool votes; /* this node is a master that has slots */
    unsigned voters; /* masters that have slots, also those that are down */
    bool found; /* the slot that was asked about has a master; the rest is about that one */
    struct cluster_node_id master;
    struct redis_address at;
    bool well; /* nothing is wrong with it */
    uint64_t config_epoch; /* in which it got its slots */
    struct cluster_replicas replicas;
    uint64_t epochs[CLUSTER_EPOCHS]; /* config epochs of all masters, also of those without slots */
    size_t nepochs;
};

/* Which master has which slot. */
struct cluster_map {
    struct redis_address at[CLUSTER_MASTERS]; /* in the order of their first slots; zeros after n */
    unsigned n;
    uint8_t owner[CLUSTER_SLOTS]; /* place in at, CLUSTER_NOBODY */
};
#define CLUSTER_NOBODY 255u

/* CLUSTER INFO; CLUSTER NODES as asked of the node at this address. False: not understood, what was written is
 * void. */
bool cluster_read_info(struct span text, struct cluster_answer *out);
bool cluster_read_nodes(struct span text, const struct redis_address *asked, unsigned slot, struct cluster_answer *out,
                        struct cluster_map *map);

/* "MOVED 1285 host:port" and "ASK 1285 host:port" of the server at this address. */
bool cluster_read_redirection(struct span fault, const struct redis_address *from, unsigned *slot,
                              struct redis_address *to);

#endif
