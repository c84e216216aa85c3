/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETagVersion expr=...: a version that is known before the handler runs. It is evaluated then and at no other time:
 * a change that is told while the handler works leaves newer content under an older version, which costs a miss;
 * evaluated afterwards, older content could get a newer version and be confirmed for good.
 *
 * etag_version('NAME') in it is what the log has told of a named version (etagd/lib/version.h), read from the shared
 * table. If one of those is unknown there is no version, and so no tag from one.
 *
 * The tag is made in two steps. What is learned of a response and shared is the first, the base without the version,
 * with the headers that a 304 has to repeat: so it stays true when the version changes.
 *
 *   base   recipe 'v' over the variant, Content-Type, Content-Language, Content-Encoding, ETagSalt (digest.h)
 *   tag    recipe 'v' over the base and the version, signed like every tag of ours; weak
 *
 * One thread at a time, memory from r->pool.
 */
#ifndef MOD_ETAG_VERSION_H
#define MOD_ETAG_VERSION_H

#include "mod_etag/mod_etag.h"

/* Makes etag_version() known to httpd's expressions. */
void version_register(void);

/* The text of an expression in which etag_version('NAME') is spelled as httpd's parser wants it in a text; NULL and *error: a
 * NAME is none. In p. */
const char *version_expression(apr_pool_t *p, const char *text, const char **error);

/* Whether a response of this location may get its tag from an expression. */
bool version_wanted(const struct etag_dir *dir);

/* Before the handler, ctx->key known. Sets ctx->version.text where there is a version. */
void version_evaluate(struct etag_request *ctx, request_rec *r);

/* Sets ctx->tag for a response whose headers are not sent yet. False: no version, or none for this response. */
bool version_tag(struct etag_request *ctx, request_rec *r);

/* Before the handler: sets ctx->tag from what was learned of such a response (ENTRY_VERSION_BASE) and ctx->version.text. */
bool version_from_entry(struct etag_request *ctx, request_rec *r, const struct entry *e);

/* The headers are final: whether ctx->tag, if it is from a version, is still what they make of it. */
bool version_stands(struct etag_request *ctx, request_rec *r);

/* The headers are final: where filters have changed what the tag was made from it is made anew, or taken off. */
void version_finish(struct etag_request *ctx, request_rec *r);

#endif
