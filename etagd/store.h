/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what a command means. It joins the two number lines of the design in one place: the
 * table's seq, private to this node, and the ids of the invalidation log, shared by all nodes.
 * Event-loop thread only.
 *
 *  - A publisher's (generation, seq) is mapped to (epoch, id of the log record that produced that
 *    seq, rounded down) and refused when older than the map, the epoch or the floor.
 *  - An entry that comes from Redis is put into the table only between two log records, after: its
 *    epoch is current, its as-of is at or above the floor, and no scope of it was invalidated after
 *    its as-of by stream id. It then carries the current seq.
 *  - A new epoch or floor: lease 0, everything flushed, map and scope positions reset, then applied.
 *
 * Redis names (prefix "etag" configurable; normative): {etag}:log stream, {etag}:epoch hash,
 * {etag}:nodes hash, {etag}:hosts hash, etag:e:<key>[#<variant>] string with TTL, etag:h:<id> capsule.
 * The remarks in the log "x-conflict <key>#<variant>": store_conflict.c; "x-names <key> <names>": the names of a
 * key have grown to these.
 * The text of an entry there: etagd/entry_text.h.
 */
#ifndef ETAGD_STORE_H
#define ETAGD_STORE_H

#include "etagd/writer.h"

struct event_base;
struct evbuffer;
struct conf;
struct store;

enum store_result { STORE_OK, STORE_STALE, STORE_NAMES, STORE_BAD };

struct store_put {
    uint64_t generation, seq;
    struct span key, variant; /* variant without "#" */
    struct span names; /* this response's names, lower case, sorted, "," */
    uint64_t ttl_ms; /* 0: the configured default */
    struct span value, capsule;
    const struct span *tags, *groups;
    size_t ntags, ngroups;
};

/* NULL and *why when the table cannot be created. conf must outlive the store. */
struct store *store_new(struct event_base *base, const struct conf *conf, const char **why);
void store_free(struct store *s);

/* STORE_OK: learned, or too long to be kept (counted), or in conflict with what was learned before and marked
 * as such. STORE_STALE: the snapshot is too old or something
 * newer covers it; nothing was kept. STORE_NAMES: *names is the union known here, valid until the next
 * call. STORE_BAD: *why. */
enum store_result store_put(struct store *s, const struct store_put *put, struct span *names, const char **why);

struct store_name {
    uint64_t generation, seq;
    struct span key;
    char kind; /* NAME_GENERATION, NAME_MODIFIED (etagd/lib/name.h) */
    struct span proposal; /* proto.h */
    const struct span *tags, *groups;
    size_t ntags, ngroups;
};

/* Asks for a name. done is called exactly once, perhaps at once, unless store_forget(arg) came first: name.p is
 * NULL when this response may carry none; error: the question was malformed. */
void store_name(struct store *s, const struct store_name *ask,
                void (*done)(void *arg, struct span name, const char *error), void *arg);

/* Publishes a file's content digest under its identity (self-validating record), and keeps it for the next
 * start (DigestFile). */
bool store_put_file(struct store *s, struct span identity, const uint8_t digest[32]);
/* Writes what is kept for the next start: once nothing comes in any more, and before another daemon may
 * have the socket. */
void store_save_files(struct store *s);

/* done(arg, known) is called exactly once, perhaps before the call returns, unless store_forget(arg)
 * came first. */
void store_fetch(struct store *s, struct span key, void (*done)(void *arg, bool known), void *arg);

/* Fields are op, arg pairs as in the log. Applied on this node before done is called; id is the log id
 * or "local". Kept until the log has acknowledged it, bounded; overflow widens to host, then all. */
void store_invalidate(struct store *s, const struct span *fields, size_t nfields,
                      void (*done)(void *arg, const char *id, const char *error), void *arg);

/* Drops every callback with this argument: its connection is gone. */
void store_forget(struct store *s, void *arg);

/* Names of this node's virtual hosts: alias, host pairs. */
void store_hosts(struct store *s, const struct span *pairs, size_t n);

/* For people: name, value lines about a key, appended as an array of bulk strings; false when nothing
 * is known. */
bool store_describe(struct store *s, struct span key, void (*line)(void *arg, const char *name, struct span value),
                    void *arg);

/* For people: what the log has told of a named version; false when nothing is known. */
bool store_version(const struct store *s, struct span name, void (*line)(void *arg, const char *name, struct span value),
                   void *arg);

struct writer *store_writer(struct store *s);
bool store_embedded(const struct store *s);

/* Embedded log commands. XADD: fields; id out; with Redis configured false, and *error is its URL.
 * XRANGE: rows given one by one, the oldest first, or with reverse the newest. */
bool store_log_add(struct store *s, const struct span *fields, size_t nfields, char id[48], const char **error);
size_t store_log_length(const struct store *s);
void store_log_range(const struct store *s, bool reverse, size_t limit,
                     void (*row)(void *arg, const char *id, const struct span *fields, size_t n), void *arg);

/* "# Store", "# Versions", "# Table", "# Digests", "# Log", "# Lease" sections of INFO as name, value pairs. */
void store_info(struct store *s, void (*line)(void *arg, const char *section, const char *name, const char *value),
                void *arg);

/* CLOCK_MONOTONIC ns at which the log record with this id had become visible in the table, 0 unknown
 * (the last 65,536 are kept): lets a bench time invalidations without polling HTTP. */
uint64_t store_applied_at(const struct store *s, const char *id);

#endif
