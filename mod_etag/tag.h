/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tag of a response: made from a content digest, an upstream ETag or a version, signed, formatted,
 * and compared with what the client sent. One thread at a time, memory from r->pool.
 */
#ifndef MOD_ETAG_TAG_H
#define MOD_ETAG_TAG_H

#include "mod_etag/mod_etag.h"

/* Sets ctx->tag from a content digest (kind ENTRY_DIGEST, 32 bytes) or a version's text
 * (ENTRY_VERSION). False: no tag (libcrypto failed, or a secret is configured and there is no key). */
bool tag_from_content(struct etag_request *ctx, request_rec *r, enum entry_kind kind, struct span content, bool weak);

/* The base of such a tag alone. */
bool tag_base(const struct etag_request *ctx, request_rec *r, enum entry_kind kind, struct span content,
              uint8_t base[DIGEST_BASE_SIZE]);

/* Sets ctx->tag from a base and a version (version.h), which stand for all that is known of the response. */
bool tag_from_version(struct etag_request *ctx, request_rec *r, struct span content);

/* Sets ctx->tag from a stored entry. */
bool tag_from_entry(struct etag_request *ctx, request_rec *r, const struct entry *e);

/* Sets ctx->tag from the origin's own entity-tag as text; a missing closing quote (core's negotiated
 * tags) is repaired. False when it is none. */
bool tag_from_upstream(struct etag_request *ctx, request_rec *r, const char *text);

/* Sets ctx->tag from what the response's headers say, where that is what source asks for (upstream, version of a header).
 * False: this source does not apply. */
bool tag_from_headers(struct etag_request *ctx, request_rec *r, enum etag_source source);

/* [W/]"opaque" of ctx->tag in r->pool. */
const char *tag_text(const struct etag_request *ctx, request_rec *r);

/* Evaluates the client's preconditions against ctx->tag (also under the older secrets). On
 * PRECONDITION_NOT_MODIFIED ctx->matched and ctx->matched_coding are set, on PRECONDITION_PROCEED ctx->part.
 * modified: PRECONDITION_UNDATED also where dates are not ours to judge. */
enum precondition_result tag_evaluate(struct etag_request *ctx, request_rec *r, struct precondition_date modified);

/* Whether If-Unmodified-Since of an unsafe method holds against ctx->modified. */
bool tag_dates_write(const struct etag_request *ctx, request_rec *r);

/* Whether If-Match and If-None-Match of an unsafe method hold against ctx->tag (exists false: against no
 * current representation), under any of the secrets. */
bool tag_permits_write(struct etag_request *ctx, request_rec *r, bool exists);

#endif
