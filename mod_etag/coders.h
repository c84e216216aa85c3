/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which responses mod_deflate and mod_brotli, added by type (AddOutputFilterByType), put
 * "Vary: Accept-Encoding" on. mod_filter leaves them out of a 304, which has to carry the Vary of the 200
 * (RFC 9110 15.4.5) all the same: what was seen on 200s is remembered by all children. Any thread.
 */
#ifndef MOD_ETAG_CODERS_H
#define MOD_ETAG_CODERS_H

#include <stdbool.h>
#include <util_filter.h>

/* post_config. Where shared memory cannot be had each child remembers for itself. */
void coders_post_config(apr_pool_t *p);

/* The first filter from f on that codes by type, NULL without one; one for each place of the configuration. */
const ap_filter_rec_t *coders_find(const ap_filter_t *f);

/* On a 200 of this type the header was there, or not. */
void coders_saw(const ap_filter_rec_t *coder, const char *type, bool vary);

/* Whether it was when last seen; false when never seen. */
bool coders_vary(const ap_filter_rec_t *coder, const char *type);

#endif
