/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the two number lines meet. The table counts in seq, private to one table of one node; the log
 * counts in record ids, shared by all nodes. This is the only place that knows both:
 *
 *  - seq -> id: the log record that produced a seq. A response that was begun at seq s has the as-of
 *    position of the newest record at or below s (rounded down: older is safe).
 *  - scope -> id: the newest record that named a scope, to judge entries that other nodes stored. One
 *    hashed slot per scope; two scopes that share a slot only make each other older.
 *  - scopes of our own invalidations that the log has not acknowledged yet: their id is still unknown,
 *    so no entry of another node counts as new enough for them.
 *
 * Event-loop thread only.
 */
#ifndef ETAGD_POSITIONS_H
#define ETAGD_POSITIONS_H

#include "etagd/log_id.h"

struct positions;

struct positions *positions_new(void); /* NULL: out of memory */
void positions_free(struct positions *p);

/* A new epoch: all that was known is void (but our own pending ones). From now on seq stands for id. */
void positions_reset(struct positions *p, uint64_t seq, struct log_id id);

/* The table was flushed: older snapshots are void, and seq stands for id. What the records named stays
 * known: a floor is no reason to forget what is above it. */
void positions_flush(struct positions *p, uint64_t seq, struct log_id id);

/* The record id is visible in the table since visible_ns (CLOCK_MONOTONIC); the table's seq is now seq. */
void positions_record(struct positions *p, uint64_t seq, struct log_id id, uint64_t visible_ns);

/* As-of position of a snapshot; false when the snapshot is older than the map remembers. */
bool positions_as_of(const struct positions *p, uint64_t seq, struct log_id *out);

/* 0: unknown. */
uint64_t positions_visible_at(const struct positions *p, struct log_id id);

/* The record id named this scope, or everything. */
void positions_mark(struct positions *p, struct span scope, struct log_id id);
void positions_mark_all(struct positions *p, struct log_id id);

/* An invalidation of ours, not acknowledged yet. Serials grow by one for each; acknowledging one
 * acknowledges all before it. */
void positions_pend(struct positions *p, struct span scope, uint64_t serial);
void positions_pend_all(struct positions *p, uint64_t serial);
void positions_acknowledge(struct positions *p, uint64_t serial);

/* From now on records belong to other scopes than the ones that were named so far: whatever was named, also by
 * pending ones, counts as everything. */
void positions_rename(struct positions *p);

/* Whether something newer than as_of covers one of these scopes. */
bool positions_covered(const struct positions *p, const struct span *scopes, size_t n, struct log_id as_of);

/* The smallest as-of position at which something with these scopes is valid (pending ones aside). */
struct log_id positions_valid_since(const struct positions *p, const struct span *scopes, size_t n);

#endif
