/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record of the log does: the union of its operations, with names of hosts resolved. A record
 * has one effect, so that all its operations take effect together. Event-loop thread only.
 */
#ifndef ETAGD_EFFECT_H
#define ETAGD_EFFECT_H

#include "etagd/hosts.h"

#define EFFECT_TOLD 64u /* versions of one record; more is everything */

struct effect {
    bool all; /* everything; scopes are then of no account */
    bool nothing; /* only remarks: by, why, epoch, ... */
    bool hosts_changed; /* a remark "x-hosts": the hash {prefix}:hosts has changed */
    struct span conflict; /* the argument of a remark "x-conflict", pointing into the fields; empty: none */
    struct span names; /* the same of "x-names" */
    uint64_t settle_ms; /* 0: none */
    size_t widened; /* operations that were taken for more than they said */
    const char *reason; /* static text: why the last of them was, or NULL */
    struct span told[EFFECT_TOLD]; /* arguments that tell a version, pointing into the fields; after "all" as well */
    size_t ntold;
    struct span *scopes;
    size_t nscopes;
    struct span epoch; /* the argument of a remark "epoch", pointing into the fields */
    /* private: storage of scopes, reused from record to record */
    char *text;
    size_t used, size, nslots;
};

/* Replaces *e, which begins as zeros, by the effect of a record. Memory short: all. */
void effect_of(struct effect *e, const struct hosts *hosts, const struct span *fields, size_t n);
void effect_free(struct effect *e);

#endif
