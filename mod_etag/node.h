/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This process's tie to the node's etagd: the mapped table and a few connections. Everything here
 * degrades: etagd absent, slow, restarted or of another version means "no table" and a miss, never
 * an error for the client and never a wait beyond the caller's budget. One log line per change of
 * state, not per request. Any thread, unless said otherwise.
 */
#ifndef MOD_ETAG_NODE_H
#define MOD_ETAG_NODE_H

#include <httpd.h>

#include "etagd/lib/table.h"

struct redisReply;
struct node_hold;

/* post_config, in the parent: memory shared by all children (counters; invalidations that could not be
 * handed over, so that a child's death does not lose them). */
apr_status_t node_post_config(apr_pool_t *p, server_rec *s);

/* child_init: nothing is inherited half-attached over fork. Cleanup with p. */
void node_child_init(apr_pool_t *p, server_rec *s);

/* A reference to the current table for the life of pool p (a request); NULL when there is none now. Attaches when
 * due: one thread tries, at most every 200 ms (jittered), within budget_ns; the others go on without. */
struct node_hold *node_hold(apr_pool_t *p, int64_t *budget_ns);

/* The mapped table, for self-validating records (TABLE_SELF) alone: also while nothing else in it may be
 * believed. Never talks to etagd. NULL when none is mapped. */
struct node_hold *node_hold_files(apr_pool_t *p);

/* The table behind a hold. */
const struct table *node_table(const struct node_hold *hold);

/* A lookup said TABLE_VOID: the next node_hold may attach again. */
void node_void(struct node_hold *hold);

/* One command to etagd within *budget_ns (reduced by what it took). NULL when it failed for whatever
 * reason; an open circuit breaker makes it fail at once. The reply is freed with p. fd >= 0 is passed along. */
struct redisReply *node_call(apr_pool_t *p, int argc, const struct span *argv, int fd, int64_t *budget_ns);

/* True when the reply is the integer 1. */
bool node_reply_true(const struct redisReply *reply);
/* True when the reply says that the command was carried out: a status or a string. */
bool node_reply_done(const struct redisReply *reply);
/* True when the reply is a string; it lives as long as the reply. */
bool node_reply_text(const struct redisReply *reply, const char **text);
/* True when the reply is an error that begins with this word; *rest is what follows it. */
bool node_reply_error(const struct redisReply *reply, const char *word, const char **rest);

/* An invalidation by a request, op/arg pairs: handed over before the response leaves; when that fails
 * it is remembered in shared memory, widened to its host, then to all, and handed over before the next
 * attachment is used. False when it was only remembered. */
bool node_invalidate(apr_pool_t *p, const struct span *fields, size_t n, int64_t *budget_ns);

#endif
