/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers before the handler: 304 and 412, and what is hidden from the handler otherwise. Two hooks,
 * because each knows something the other cannot:
 *  - first of all handlers (after mod_cache's): generated content, where ETagEarly promises it;
 *  - last before core's default handler: every other module has declined, so core will serve the file
 *    and its stat is the proof.
 * A 304 is emitted through the output filters, never returned: returning it would cut the filters that
 * add headers and make mod_cache drop its entry.
 */
#ifndef MOD_ETAG_EARLY_H
#define MOD_ETAG_EARLY_H

#include <stdbool.h>

#include <httpd.h>

struct etag_request;

int etag_early_generated(request_rec *r);
int etag_early_file(request_rec *r);

/* The tag learned for exactly this request, and its capsule, into ctx: from the table, or through it from the store.
 * False is a miss, *why says which. ctx->key, hold and budget_ns are used. */
bool early_learned(struct etag_request *ctx, request_rec *r, const char **why);

/* Unsafe methods whose If-Match or If-None-Match names a tag that we issued: judged here, against what a
 * GET would answer now, and hidden from a handler that knows other tags or none. Two nodes may both find
 * the condition true at one moment: no claim is taken. */
int etag_early_write(request_rec *r);

#endif
