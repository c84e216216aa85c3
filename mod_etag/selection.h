/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tag stands for that is not made from the response's bytes (a generation's name, a version that was known
 * before the handler ran). As the bytes have no say, all that may tell two representations of a URL apart has to be
 * mixed in: the request's variant, and with it the selected resource. A response that must not be learned
 * (credentials, Set-Cookie, private) gets no such tag: one client's page must not be confirmed to another by it.
 *
 * One thread at a time, memory from r->pool.
 */
#ifndef MOD_ETAG_SELECTION_H
#define MOD_ETAG_SELECTION_H

#include "mod_etag/mod_etag.h"

/* By the response's headers as they are now. False: this response carries no such tag. */
bool selection_of(struct etag_request *ctx, request_rec *r, struct etag_selection *out);

/* The headers are final and no longer those that ctx->tag was made from: make, where it is not NULL, makes it anew;
 * otherwise, or if it cannot, the tag is taken off. why: for the access log, constant. */
void selection_changed(struct etag_request *ctx, request_rec *r, bool (*make)(struct etag_request *ctx, request_rec *r),
                       const char *why);

#endif
