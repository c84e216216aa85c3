/* SPDX-License-Identifier: Apache-2.0 */
/* The ETAG_IN filter: see in.c. */
#ifndef MOD_ETAG_IN_H
#define MOD_ETAG_IN_H

#include <util_filter.h>

apr_status_t etag_in_filter(ap_filter_t *f, apr_bucket_brigade *bb);

#endif
