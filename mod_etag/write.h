/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETAG_WRITE: invalidation by requests. A PROTOCOL filter, so that it also sees canned errors; on an
 * answer to an unsafe method that does not refuse it (2xx, 3xx, and 5xx, which may have been carried out)
 * it invalidates the target, the same-origin Location, Content-Location and Destination, and the groups of
 * Cache-Group-Invalidation before the response leaves (RFC 9111 4.4, RFC 9875; read your writes).
 */
#ifndef MOD_ETAG_WRITE_H
#define MOD_ETAG_WRITE_H

#include <util_filter.h>

apr_status_t etag_write_filter(ap_filter_t *f, apr_bucket_brigade *bb);

struct etag_request;

/* The same for a response that was sent already. ctx: of the write; r: where it ended. */
void write_passed(struct etag_request *ctx, request_rec *r);

#endif
