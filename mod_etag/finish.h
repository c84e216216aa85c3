/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETAG_FIN: last filter before mod_cache's. It sees the final status, coding and headers: puts the tag
 * that matched on a 304 and takes off what a 304 must not carry, weakens or protects coded bodies, and
 * hands complete responses over to be learned.
 */
#ifndef MOD_ETAG_FINISH_H
#define MOD_ETAG_FINISH_H

#include <util_filter.h>

apr_status_t etag_fin_filter(ap_filter_t *f, apr_bucket_brigade *bb);

#endif
