/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content codings and what mod_deflate and mod_brotli do to an entity-tag: they put -gzip or -br
 * before the closing quote. The one place that maps a client's tag to (base tag, coding) and back,
 * for If-None-Match, If-Match and If-Range alike. Pure functions, any thread.
 */
#ifndef ETAG_LIB_CODING_H
#define ETAG_LIB_CODING_H

#include "etagd/lib/entity_tag.h"

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_BR, CODING_ZSTD, CODING_COUNT };

/* "gzip", "br", "zstd"; "identity" for CODING_IDENTITY. */
struct span coding_name(enum coding c);

/* "-gzip", "-br", "-zstd"; empty for CODING_IDENTITY. */
struct span coding_suffix(enum coding c);

/* One content-coding token, case-insensitive; x-gzip is gzip (RFC 9110 8.4.1.3). False when unknown. */
bool coding_parse(struct span token, enum coding *out);

/* Splits a tag of ours with at most one suffix: base points into tag->opaque, weakness is kept.
 * Only tags for which entity_tag_is_ours(base) holds are split; of any other tag base is the tag
 * itself and the coding is CODING_IDENTITY, so an application's own "x-gzip" is never mangled.
 * Returns whether the base is one of ours. */
bool coding_split(const struct entity_tag *tag, struct entity_tag *base, enum coding *c);

/* An application's own tag on a body that our filters coded. mod_deflate's bare suffix could as well be the
 * application's ("v1-gzip" may be a page about gzip), so that who sends it back could mean either; the tag
 * goes out sealed instead: base "~" check suffix, where check is 4 characters of base64url over the base,
 * equal on every node. opaque is the base, c is not CODING_IDENTITY. Writes the opaque tag and a NUL; returns
 * its length without the NUL, 0 when size is too small. */
#define CODING_SEAL_ROOM 6 /* what a seal and the NUL take besides base and suffix */
size_t coding_seal(char *buf, size_t size, struct span opaque, enum coding c);

/* The reverse: base points into tag->opaque, weakness is kept. False, and base is the tag itself, for any tag
 * that is not sealed. */
bool coding_unseal(const struct entity_tag *tag, struct entity_tag *base, enum coding *c);

/* Whether a request's Accept-Encoding admits the coding with a weight above 0 (RFC 9110 12.5.3).
 * absent field: identity only (what our filters would send). identity is admitted unless
 * "identity;q=0", or "*;q=0" without identity, says otherwise. */
bool coding_accepted(struct span accept_encoding, bool present, enum coding c);

#endif
