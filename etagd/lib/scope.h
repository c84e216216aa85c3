/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes: what an invalidation names and what a record belongs to.
 *
 * A record at https://h:8080/a/b?q with tag t and group g belongs to: H h · P h/a · P h/a/b · U h/a/b ·
 * U h/a/b?q · T t · G h g · and everything to "all". An operation of the log (table below) names one
 * scope, or all. A record is dead once any scope it belongs to was invalidated after its as-of position.
 * The text of a scope is its letter and its argument: "Uh/a/b", "Gh g". The daemon puts the host that
 * stands for all names of a site (etagd/hosts.h) in the place of h, in records and operations alike.
 *
 * The rule is: what an operation covers as its user reads it is always covered; more may be.
 *  - No scheme and no port: "url h:8080/p" covers h/p on every port, and "url h/p" as well.
 *  - Every spelling of a path or query is one scope: escapes are decoded, "//" in a path is "/", and
 *    then "%", "?", "#", braces, space and what is no ASCII are encoded again. In a text the first
 *    "?" is where the query begins.
 *  - Prefixes are whole segments without their trailing slash: "prefix h/a/" and "prefix h/a" cover
 *    h/a itself, h/a?q and everything below h/a/. Paths are followed to SCOPE_DEPTH segments; a deeper
 *    prefix is widened to that depth, a prefix of no segment to the host. A query behind a prefix is
 *    dropped.
 *  - "url h/p" covers every query of p; so does an h/p?q with over 250 bytes behind
 *    the host, or one that looks like a shortened key, because other spellings of it, or the same under
 *    another name of the site, may have a shortened key. A last segment "*" makes url and prefix the
 *    prefix before it.
 *  - More scopes than SCOPE_MAX: the tags that do not fit are replaced by the scope "T*", which every
 *    invalidation of a tag or group names as well; nothing is dropped.
 *  - Any other field, an argument that does not parse (no host, a "." segment, a control character, a
 *    "*" in a tag, a blank or comma in one): all.
 *
 * Operations, one XADD record may carry several (the table in scope.c is the only list: parser,
 * tests and documentation follow it):
 *   url h/p[?q]   prefix h/p   host h   tag name   group "h name"   all 1   settle ms
 *   version "name value" (version.h)
 *   by, why, note, epoch, x-*   ignored
 * A scheme in front ("https://h/p") is accepted and dropped.
 */
#ifndef ETAG_LIB_SCOPE_H
#define ETAG_LIB_SCOPE_H

#include <stdint.h>

#include "etagd/lib/span.h"

#define SCOPE_MAX 32
#define SCOPE_DEPTH 8
#define SCOPE_TEXT 1100 /* room for a scope's text; a longer argument becomes all */

enum scope_kind {
    SCOPE_NONE,   /* the field is ignored */
    SCOPE_ALL,    /* flush */
    SCOPE_ONE,    /* text names one scope */
    SCOPE_SETTLE, /* refuse fills begun within settle_ms after this record */
    SCOPE_VERSION /* the argument tells a version (version_read); nothing is invalidated */
};

struct scope {
    enum scope_kind kind;
    char text[SCOPE_TEXT]; /* letter and argument; for SCOPE_ONE */
    size_t n;
    bool any_tag;          /* a tag or group: the scope "T*" is invalidated with it */
    bool widened;          /* more was taken than the argument said (all for a typo, depth, long text) */
    uint64_t settle_ms;    /* for SCOPE_SETTLE, at most a day */
};

/* A row of the table of operations. */
struct scope_operation {
    const char *name;     /* "x-*": every field whose name begins with "x-" */
    const char *argument; /* its form, for people */
    enum scope_kind kind; /* what a well-formed argument gives */
    const char *help;     /* one line, without a full stop */
    void (*read)(struct span arg, struct scope *out);
};

/* The table, static; *n is its number of rows. */
const struct scope_operation *scope_operations(size_t *n);

/* One field/value pair of a log record. Never fails: what it cannot understand is SCOPE_ALL with
 * widened set. Any thread. */
void scope_from_operation(struct span op, struct span arg, struct scope *out);

/* Calls each(arg, text) for every scope of a record; text is valid during the call only. key: with or
 * without scheme and "#variant". groups are "name"s, joined here with the key's host. Returns the number
 * of calls (<= SCOPE_MAX), 0 when the key does not parse: such a record could not be invalidated, so it
 * must not be stored. Any thread. */
size_t scope_each_of_key(struct span key, const struct span *tags, size_t ntags, const struct span *groups,
                         size_t ngroups, void (*each)(void *arg, struct span text), void *arg);

#endif
