/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: what all nodes must say alike of a resource and no node can derive from what it sees. The store keeps
 * them beside the key's entries, under variants that no request has (those are 16 characters of base64url):
 *
 *   key#g[.labels]  the name of the current generation of key's responses with these labels
 *   key#m           the date of key's present content
 *
 * labels: 16 characters of base64url over the tags and groups of the response, in any order, and the entry's
 * ENTRY_ANY_QUERY; nothing where there are none. A name belongs to the scopes of exactly these labels. One name
 * for all responses of a key would have to grow by labels while other nodes' tables still hold it without them:
 * an invalidation of a late label would pass those by.
 */
#ifndef ETAG_LIB_NAME_H
#define ETAG_LIB_NAME_H

#include "etagd/lib/digest.h"

#define NAME_GENERATION 'g'
#define NAME_MODIFIED 'm'
#define NAME_LABELS_MAX 128 /* tags and groups together */
#define NAME_VARIANT_SIZE 20 /* letter, dot, 16 characters, NUL */

/* A name whose date could not be told for so long stays without one: while a new version is rolled out, two
 * nodes serve different contents by turns. */
#define NAME_SETTLE_S 60

/* The variant of a name. flags: entry.h, only ENTRY_ANY_QUERY counts. False when there are too many labels or
 * libcrypto fails: such a response carries no name. d is used. */
bool name_variant(struct digest *d, char kind, unsigned flags, const struct span *tags, size_t ntags,
                  const struct span *groups, size_t ngroups, char out[NAME_VARIANT_SIZE]);

/* A content as NAME_MODIFIED proposes it: "<digest in hexadecimal>:<mtime in seconds since 1970>". */
#define NAME_CONTENT_SIZE (2 * DIGEST_SIZE + 24) /* room for it and a NUL */
size_t name_content_write(const uint8_t digest[DIGEST_SIZE], int64_t mtime, char out[NAME_CONTENT_SIZE]);
bool name_content_read(struct span text, uint8_t digest[DIGEST_SIZE], int64_t *mtime);

/* Whether this variant (without "#") is a name's. */
bool name_is_variant(struct span variant);

#endif
