/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between clients (mod_etag, etagctl, redis-cli) and etagd: RESP2 on a unix stream
 * socket. A request is an array of bulk strings. This header is its specification.
 *
 *   PING [text]                      +PONG, or the text
 *   INFO [section]                   bulk, redis-style "# Section" and "name:value" lines
 *   ATTACH version pid               array: version, node name, generation (16 hex digits), bytes of
 *                                    the table, bytes of the touch map, store ("embedded" or
 *                                    "redis"), etagd's time namespace (time_namespace.h; empty: not
 *                                    known; older daemons end before it). A client in another one must
 *                                    not believe the table. Two descriptors, table and touch map, travel by
 *                                    SCM_RIGHTS on the reply's first byte.
 *                                    -VERSION n: etagd speaks version n only
 *   ETAG KEY url                     array: canonical key, then every scope of it
 *   ETAG GET key                     array of name, value pairs describing what this node knows of
 *                                    the key (state, tag, expires-in, lease), or nil. state: hit,
 *                                    invalidated, expired, conflict (entry.h), no lease
 *   ETAG VERSION name                the same of a named version (version.h): state (known, in doubt, no lease),
 *                                    value, told (the id of the record), or nil
 *   ETAG FETCH key                   :1 the table holds it now (asked of the store if need be), :0 not
 *                                    known. key is a plain key (names record), key#variant, or a
 *                                    version's
 *   ETAG PUT generation seq key variant names ttl-ms value capsule ntags tag... ngroups group...
 *                                    +OK (kept, or a conflict: entry.h) · +STALE (something covering was invalidated since) ·
 *                                    -NAMES a,b (the union of names that select the variant here;
 *                                    compute the variant with it and put again) · -ERR text
 *   ETAG NAME generation seq key kind proposal ntags tag... ngroups group...
 *                                    bulk: the name (name.h) that a response may carry which was begun at this
 *                                    snapshot and is invalidated by these labels; it was given to the first who
 *                                    asked and lies in the table afterwards · nil: none may be carried.
 *                                    kind g: the name of key's current generation, 16 bytes in base64url.
 *                                    proposal: "flags:life", what a new one gets: flags of an entry (entry.h),
 *                                    only ENTRY_ANY_QUERY, and a life in ms, 0 the configured default
 *                                    kind m: "date since", the date of key's present content for the whole
 *                                    cluster and since when that content has been known, both in seconds since
 *                                    1970; date "-": none may be given now. proposal: "digest:mtime", of the
 *                                    content, in hexadecimal, and of its file, in seconds since 1970. No labels:
 *                                    only its URL voids it, by any query
 *   ETAG FILE identity digest        +OK: publishes a file's 32-byte content digest
 *   ETAG HASH identity               with one descriptor passed: etagd hashes it in the background and
 *                                    publishes: +QUEUED (or waiting already) · +KNOWN (in the table) ·
 *                                    -BUSY queue full. What is not that file, or changed lately, is
 *                                    found out then: nothing is published, INFO counts it
 *   ETAG INVALIDATE op arg [op arg...]  bulk: log id once applied on this node ("local" while the
 *                                    store has not acknowledged yet; it is kept until it has)
 *   ETAG DETECTED counter number [counter number...]  +OK: adds to what INFO's section Detection shows
 *                                    (detection.h)
 *   ETAG HOSTS alias host [alias host...]  +OK: names of this node's virtual hosts
 *   ETAG APPLIED id                  integer: CLOCK_MONOTONIC ns at which the log record had become visible
 *                                    in the table; 0: not yet, or too long ago to be remembered
 *   XADD {etag}:log * field value ... | XRANGE | XREVRANGE | XLEN      embedded store only; ranges
 *                                    are the whole log, COUNT n at most; over 1 MiB: -ERR
 *   SELECT 0 · CLIENT SETNAME x · CLIENT SETINFO k v · COMMAND [...] · QUIT   so that ordinary clients connect
 *
 * generation and seq are what table_snapshot() gave, in decimal. value and capsule: entry.h.
 * Limits: PROTO_MAX_ARGS arguments, PROTO_MAX_BULK bytes each, PROTO_MAX_REQUEST in all; a request
 * that breaks them, or is not an array of bulk strings, gets -ERR Protocol error and the connection
 * is closed. A peer that leaves 1 MiB of replies unread is not read from, after 30 s without taking a byte
 * it is closed.
 */
#ifndef ETAG_LIB_PROTO_H
#define ETAG_LIB_PROTO_H

#include "etagd/lib/span.h"

#define PROTO_VERSION 1
#define PROTO_MAX_ARGS 1024
#define PROTO_MAX_BULK 65536
#define PROTO_MAX_REQUEST 262144
#define PROTO_DEFAULT_SOCKET "/run/etagd/etagd.sock"

struct proto_request {
    struct span argv[PROTO_MAX_ARGS]; /* point into the parsed buffer */
    size_t argc;
};

/* Parses one request from the front of buf. Returns the bytes consumed (> 0), 0 when more are needed,
 * -1 and *why (static text) when the bytes can never become a request. Never reads past buf.n, does
 * work linear in what it consumes, allocates nothing. */
long proto_parse(struct span buf, struct proto_request *out, const char **why);

#endif
