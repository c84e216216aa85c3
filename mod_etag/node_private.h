/* SPDX-License-Identifier: Apache-2.0 */
/* What node.c, connections.c and announce.c share. */
#ifndef MOD_ETAG_NODE_PRIVATE_H
#define MOD_ETAG_NODE_PRIVATE_H

#include "etagd/lib/client.h"
#include "mod_etag/node.h"

#define NODE_MS INT64_C(1000000) /* nanoseconds */

/* --- connections.c: a few connections to etagd, and a circuit breaker --- */

/* child_init. */
void connections_init(apr_pool_t *p, server_rec *s);

/* Whether etagd may be asked now. After it said yes, breaker_note must follow. */
bool breaker_allows(void);
/* How it went. Logs a change of state. */
void breaker_note(enum client_error e);

/* A connection of one's own, made in *doubt's time (shared.h); freed by connection_free or given back. */
struct client *connection_new(uint32_t *doubt);
void connection_give_back(struct client *c, uint32_t doubt);

/* node_call; *fresh: the connection was new, and etagd perhaps another one than before. */
struct redisReply *connections_call(apr_pool_t *p, int argc, const struct span *argv, int fd, int64_t *budget_ns,
                                    bool *fresh);

/* min of now + budget, for at most ETagTimeout. */
int64_t connections_deadline(int64_t budget_ns);
const char *connections_path(void);
server_rec *connections_server(void);

/* --- announce.c: names of the virtual hosts --- */

/* post_config: collects them. */
void announce_collect(apr_pool_t *p, server_rec *main_server);

/* Tells the etagd of this table generation, unless some child has. */
void announce_hosts(apr_pool_t *p, uint64_t generation, int64_t *budget_ns);

#endif
