/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes: what an invalidation names and what a record belongs to.
 *
 * A record at https://h/a/b?q with tags t1, t2 belongs to: H h · P h/a · P h/a/b · U h/a/b ·
 * U h/a/b?q · T t1 · T t2 (and everything to "all"). An operation of the log (table below) names one
 * scope, or all. A record is dead once any scope it belongs to was invalidated after its as-of
 * position. The text of a scope is its letter and its argument: "Uh/a/b".
 *
 * Prefixes are whole segments without their trailing slash: "prefix h/a/" and "prefix h/a" cover h/a
 * itself, h/a?q and everything below h/a/. Paths are followed to SCOPE_DEPTH segments; a deeper
 * prefix is widened to that depth. More scopes than SCOPE_MAX: the tags that do not fit are replaced
 * by the scope "T*", which every invalidation of a tag or group names as well; nothing is dropped.
 *
 * Operations, one XADD record may carry several (the table in scope.c is the only list: parser,
 * tests and documentation follow it):
 *   url h/p[?q]   prefix h/p   host h   tag name   group "h name"   all 1   settle ms
 *   by, why, note, epoch, x-*   ignored
 *   any other field, an argument that does not parse, a prefix without host: all
 * A scheme in front ("https://h/p") is accepted and dropped. "url h/p" covers every query of p.
 */
#ifndef ETAG_LIB_SCOPE_H
#define ETAG_LIB_SCOPE_H

#include <stdint.h>

#include "etagd/lib/span.h"

#define SCOPE_MAX 32
#define SCOPE_DEPTH 8
#define SCOPE_TEXT 1100 /* longest scope text; a longer argument becomes all */

enum scope_kind {
    SCOPE_NONE,   /* the field is ignored */
    SCOPE_ALL,    /* flush */
    SCOPE_ONE,    /* text names one scope */
    SCOPE_SETTLE  /* refuse fills begun within settle_ms after this record */
};

struct scope {
    enum scope_kind kind;
    char text[SCOPE_TEXT]; /* letter and argument; for SCOPE_ONE */
    size_t n;
    bool any_tag;          /* a tag or group: the scope "T*" is invalidated with it */
    bool widened;          /* more was taken than the argument said (all for a typo, depth, long text) */
    uint64_t settle_ms;
};

/* One field/value pair of a log record. Never fails: what it cannot understand is SCOPE_ALL with
 * widened set. Any thread. */
void scope_from_operation(struct span op, struct span arg, struct scope *out);

/* Calls each(arg, text) for every scope of a record. key: with or without scheme and "#variant".
 * groups are "name"s, joined here with the key's host. Returns the number of calls (<= SCOPE_MAX). */
size_t scope_each_of_key(struct span key, const struct span *tags, size_t ntags, const struct span *groups,
                         size_t ngroups, void (*each)(void *arg, struct span text), void *arg);

#endif
