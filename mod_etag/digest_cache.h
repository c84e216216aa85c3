/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process remembers of files: digests by identity (there may be no table), and which were passed
 * to etagd lately. Any thread.
 */
#ifndef MOD_ETAG_DIGEST_CACHE_H
#define MOD_ETAG_DIGEST_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "etagd/lib/digest.h"

#define DIGEST_CACHE_ID 16 /* bytes of SHA-256 of a file identity's text */

struct digest_cache_id {
    uint8_t bytes[DIGEST_CACHE_ID];
};

/* False when libcrypto fails: then nothing is remembered. */
bool digest_cache_id(struct span identity, struct digest_cache_id *out);

/* *published: the table generation that the digest was last published to. */
bool digest_cache_get(const struct digest_cache_id *id, uint8_t out[DIGEST_SIZE], uint64_t *published);
void digest_cache_put(const struct digest_cache_id *id, const uint8_t digest[DIGEST_SIZE], uint64_t published);

/* True once in five seconds for each identity. */
bool digest_handover_due(const struct digest_cache_id *id);

#endif
