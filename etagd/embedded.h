/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invalidation log of a node without Redis: the newest records in memory, with ids made as Redis
 * makes them (wall-clock milliseconds and a sequence, never falling). It is history for people; what is
 * invalid is decided when a record is added, so a forgotten record costs nothing. Event-loop thread
 * only.
 */
#ifndef ETAGD_EMBEDDED_H
#define ETAGD_EMBEDDED_H

#include "etagd/log_id.h"

struct embedded;

/* Keeps at most max records of at most horizon_ms of age and a fixed number of bytes in all. NULL: out
 * of memory. */
struct embedded *embedded_new(uint64_t max, uint64_t horizon_ms);
void embedded_free(struct embedded *e);

/* Appends field, value pairs (copied). Short of memory the record is not kept, but has its id. */
struct log_id embedded_add(struct embedded *e, const struct span *fields, size_t n);

size_t embedded_length(const struct embedded *e);
struct log_id embedded_last(const struct embedded *e);

/* Oldest first, or newest first with reverse; at most limit rows. The spans live until the next add. */
void embedded_range(const struct embedded *e, bool reverse, size_t limit,
                    void (*row)(void *arg, const char *id, const struct span *fields, size_t n), void *arg);

#endif
