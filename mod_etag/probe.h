/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a GET of the client's URL would answer now, asked by an internal subrequest whose body is hashed and
 * swallowed: the current representation that an unsafe method's preconditions are about (RFC 9110 13.1.1).
 * It runs the handler or backend once, as the same client, never from mod_cache, and takes nothing from the
 * write: neither its content nor the fields that only a write has. Nothing of it reaches the client.
 */
#ifndef MOD_ETAG_PROBE_H
#define MOD_ETAG_PROBE_H

#include <httpd.h>

#include "mod_etag/mod_etag.h"

enum probe_result {
    PROBE_PRESENT, /* ctx->tag is the tag that the GET would carry; not known: it would carry none of ours.
                      ctx->modified is the date of a file that the conditions may be about */
    PROBE_UNREAD, /* there is one, but no tag of it is known: a stream that was not read to its end, or one that
                     may have the tag of a version (ETagVersion expr=) which the conditions name */
    PROBE_ABSENT, /* 404 or 410: there is no current representation */
    PROBE_DENIED, /* the GET has another answer than a representation: redirected, not allowed */
    PROBE_FAILED /* it may have one another time: 5xx, too many requests, cut short */
};

/* ctx->tag means something only with PROBE_PRESENT; its text lives in r->pool. */
enum probe_result probe_current(struct etag_request *ctx, request_rec *r);

/* Where that GET would be core's, of a file, and its date is asked for (ETagLastModified Agree): sets ctx->tag and
 * ctx->modified and returns true. False: it is somebody else's to judge, and nothing ran. */
bool probe_file(struct etag_request *ctx, request_rec *r);

void probe_register(void);

/* insert_filter of a subrequest: puts the filters on a probe's own and on what it redirects to internally, and on
 * no other. */
void probe_insert(request_rec *sub);

/* The handler that serves the subrequest is core's: its ETag names a file, not the application's word. */
void probe_is_file(request_rec *sub);

#endif
