/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own invalidations until the log has acknowledged them, in order. None is ever dropped: an equal
 * one that waits already stands for the new one too, and when too many wait they are widened to their
 * hosts, or to all. A marker file exists while any is kept, so that the next etagd of this socket knows
 * that some may be missing from the log. Event-loop thread only.
 */
#ifndef ETAGD_UNSENT_H
#define ETAGD_UNSENT_H

#include <stdint.h>

#include "etagd/fields.h"

struct unsent;

/* max: records that may wait; marker: path of the marker file (copied). NULL: out of memory. */
struct unsent *unsent_new(size_t max, const char *marker);
void unsent_free(struct unsent *u); /* the marker stays when something is kept */

/* Whether the marker stood there when unsent_new was called. */
bool unsent_found(const struct unsent *u);

/* Returns the record's serial (1, 2, ...), or that of the waiting record that stands for it. */
uint64_t unsent_add(struct unsent *u, const struct span *fields, size_t n);

/* The oldest record that was not sent yet, NULL when there is none; unsent_sent says that it was. */
const struct fields *unsent_next(const struct unsent *u);
void unsent_sent(struct unsent *u);

/* The connection is lost: all must be sent again. Twice in the log does no harm. */
void unsent_rewind(struct unsent *u);

/* The oldest record that was sent is in the log: its serial, and its fields, which the caller frees. */
uint64_t unsent_acknowledge(struct unsent *u, struct fields **fields);

size_t unsent_count(const struct unsent *u);
uint64_t unsent_widened(const struct unsent *u);

/* Removes the marker if nothing is kept. Called a while after, not with every record. */
void unsent_settle(struct unsent *u);

#endif
