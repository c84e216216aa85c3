/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing contexts that are made once for a thread, not for each request: libcrypto takes long to make one. */
#ifndef MOD_ETAG_HASH_H
#define MOD_ETAG_HASH_H

#include <apr_pools.h>

#include "etagd/lib/digest.h"

/* For digests that begin and end within one call. Made on first use, freed when the thread ends. NULL when
 * libcrypto refuses. */
struct digest *hash_thread(void);

/* For one that takes many calls, a body's: the pool's own until it is destroyed, whichever thread does that. NULL
 * when libcrypto refuses. */
struct digest *hash_lend(apr_pool_t *p);

#endif
