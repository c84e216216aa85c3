/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The date of a file: what its response says in Last-Modified, and what If-Modified-Since, If-Unmodified-Since
 * and a date in If-Range are compared with. The files here are those that core's default handler serves; of any
 * other response the date is its handler's business (but for ETagLastModified Off).
 *
 * ETagLastModified Agree: the store names one date for a URL and its present content (ETAG NAME, proto.h). A date
 * that was given to one content is never given to another at that URL, and a later content gets a later one.
 * Without such a name (no etagd, no lease, no key, content that depends on the request) the response carries no
 * Last-Modified. A file's own modification time is never sent: it may go backwards, and other bytes may have the
 * same. One thread at a time, memory from r->pool.
 */
#ifndef MOD_ETAG_MODIFIED_H
#define MOD_ETAG_MODIFIED_H

#include "mod_etag/mod_etag.h"

/* Whether the client asks by a date: perhaps beside a tag, which then decides, and the date is still what a cache
 * wants to hear. */
bool modified_asked(const struct etag_conditionals *c);

/* Sets ctx->modified for a file that is sent as it is, after ctx->tag. digest: of its content, NULL while that is
 * not known. May ask etagd. */
void modified_of_file(struct etag_request *ctx, request_rec *r, const uint8_t *digest, int64_t mtime_s);

/* Sets ctx->modified for a file whose bytes a filter has changed, or may change: nothing is known of those. What
 * mod_include says of its own page stays. */
void modified_of_changed_file(struct etag_request *ctx, request_rec *r);

/* Makes the response of a file say so. */
void modified_set_header(const struct etag_request *ctx, request_rec *r);

/* What the preconditions of this response are judged by, whoever made it. Who saw the dates and named a status itself
 * (a backend, a script's Status) has judged them by its own Last-Modified, and may know better. */
struct precondition_date modified_of_response(const struct etag_request *ctx, request_rec *r);

#endif
