/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where entries and capsules lie, whose keys are spread over a Cluster's masters: one connection to each of them. With
 * any other kind of URL all of them go where the log is. Commands have one key; a server that does not have it any
 * more names the one that does (MOVED, ASK), which is asked then. Event-loop thread only.
 */
#ifndef ETAGD_ROUTES_H
#define ETAGD_ROUTES_H

#include "etagd/cluster_answer.h"
#include "etagd/redis.h"

struct event_base;
struct conf;
struct routes;
struct script;

struct routes_events {
    void (*up)(void *arg, struct redis *redis); /* a connection to a master has come up */
    void (*moved)(void *arg); /* the map is out of date */
    void *arg;
};

/* only: the one connection, which outlives it; NULL: masters of a Cluster, none known yet. conf outlives it. NULL: out
 * of memory. */
struct routes *routes_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                          struct redis *only, const struct routes_events *events);
/* Ends the connections to masters: what is in flight is lost, its callbacks are called, and nothing more is sent. */
void routes_close(struct routes *r);
void routes_free(struct routes *r);

/* Other masters from now on. Not from a callback of one of their connections. */
void routes_map(struct routes *r, const struct cluster_map *map);

/* Whether commands about this key can be sent now, and how many are in flight there. */
bool routes_is_up(const struct routes *r, struct span key);
size_t routes_in_flight(const struct routes *r, struct span key);

/* As redis_send. The reply may come later than that of a command sent after it, about the same key even. */
bool routes_send(struct routes *r, struct span key, size_t argc, const struct span *argv,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg);

/* As script_call with one key, the first of args. */
bool routes_call(struct routes *r, const struct script *script, size_t n, const struct span *args,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg);

/* Loads the script wherever a connection is up. */
void routes_load(struct routes *r, const struct script *script);

#endif
