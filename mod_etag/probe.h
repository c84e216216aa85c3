/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a GET of the same URL would answer now, asked by an internal subrequest whose body is hashed and
 * swallowed: the current representation that an unsafe method's preconditions are about (RFC 9110
 * 13.1.1). It runs the handler or backend once, with the request's own authorization.
 */
#ifndef MOD_ETAG_PROBE_H
#define MOD_ETAG_PROBE_H

#include <util_filter.h>

#include "mod_etag/mod_etag.h"

#define ETAG_PROBE_NAME "ETAG_PROBE"

enum probe_result {
    PROBE_TAGGED, /* ctx->tag is the tag that the GET would carry */
    PROBE_ABSENT, /* 404 or 410: there is no current representation */
    PROBE_UNKNOWN /* neither: refused, redirected, failed or incomplete; *status is the GET's */
};

enum probe_result probe_current(struct etag_request *ctx, request_rec *r, int *status);

void probe_register(void);

/* insert_filter of a subrequest: puts the filter on a probe's own, and on no other. */
void probe_insert(request_rec *sub);

/* The handler that serves the subrequest is core's: its ETag names a file, not the application's word. */
void probe_is_file(request_rec *sub);

#endif
