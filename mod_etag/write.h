/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETAG_WRITE: invalidation by requests. A PROTOCOL filter, so that it also sees canned errors; on a 2xx
 * or 3xx answer to an unsafe method it invalidates the target and the same-origin Location and
 * Content-Location before the response leaves (RFC 9111 4.4; read your writes).
 */
#ifndef MOD_ETAG_WRITE_H
#define MOD_ETAG_WRITE_H

#include <util_filter.h>

apr_status_t etag_write_filter(ap_filter_t *f, apr_bucket_brigade *bb);

#endif
