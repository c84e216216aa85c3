/* SPDX-License-Identifier: Apache-2.0 */
/* This thread's hashing context, for digests that begin and end within one call. */
#ifndef MOD_ETAG_HASH_H
#define MOD_ETAG_HASH_H

#include "etagd/lib/digest.h"

/* Made on first use, freed when the thread ends. NULL when libcrypto refuses. */
struct digest *hash_thread(void);

#endif
