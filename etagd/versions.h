/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log has told of named versions (etagd/lib/version.h) since it can be read without a gap. A function of
 * the records alone: all nodes that have applied the same ones know the same.
 *
 * A value never comes back. A tag is made from the value that was known before its handler ran, so content that
 * is newer than its tag exists: made after the change, before the change was told. It does no harm while the
 * value that it is tagged with stays in the past. So a value that was told before another one, or a number below the
 * present one (producers that overtook each other, a record sent twice, a roll-back), leaves the version in doubt:
 * unknown, until it is told a value that was not. VERSIONS_LEFT values of a name are remembered as left.
 *
 * Event-loop thread only.
 */
#ifndef ETAGD_VERSIONS_H
#define ETAGD_VERSIONS_H

#include "etagd/log_id.h"

#define VERSIONS_MAX 65536u /* names; more are not kept */
#define VERSIONS_LEFT 16u

struct versions;

/* The value of a name; points into the structure, until the next change. */
struct version {
    struct span name, value; /* in doubt: the value before the doubt */
    struct log_id told; /* the record that told it first, or the doubt */
    bool doubtful;
};

enum versions_verdict {
    VERSIONS_NEW, /* this is the present value */
    VERSIONS_SAME, /* it was that already */
    VERSIONS_DOUBT, /* unknown from here on */
    VERSIONS_FULL /* not kept: too many names, or out of memory */
};

struct versions *versions_new(void); /* NULL: out of memory */
void versions_free(struct versions *v);

/* The record id tells a version. */
enum versions_verdict versions_tell(struct versions *v, struct span name, struct span value, struct log_id id);

bool versions_find(const struct versions *v, struct span name, struct version *out);

/* All are unknown until told again, and every value counts as new. */
void versions_clear(struct versions *v);

size_t versions_count(const struct versions *v);

#endif
