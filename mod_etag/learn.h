/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learning: which complete responses may be stored, and what a later 304 must repeat (the header capsule).
 * publish.h hands both over.
 */
#ifndef MOD_ETAG_LEARN_H
#define MOD_ETAG_LEARN_H

#include "mod_etag/labels.h"
#include "mod_etag/mod_etag.h"

/* Fills ctx->capsule from the response's headers as they are now: called in ETAG_IN, before mod_expires
 * and mod_headers add theirs, because those run again on a replayed 304. False when they do not fit: then
 * the response is not learned. */
bool learn_capsule(struct etag_request *ctx, request_rec *r);

/* Puts the capsule's lines on a 304 about to be emitted. */
void learn_replay(request_rec *r, const char *capsule, size_t n);

/* What the headers say now of learning the response: the names that it is invalidated by (ETagGroups, ETagGroupHeader)
 * into ctx->tags and groups, and ctx->control. */
void learn_headers(struct etag_request *ctx, request_rec *r);

/* Takes what was meant for us off the response, labels where "strip" says so: while the headers have not been sent. */
void learn_strip_headers(const struct etag_dir *dir, request_rec *r);

/* A count and the labels, as arguments of a command; returns the new number of arguments. */
int learn_add_labels(struct span *argv, int n, apr_pool_t *p, const struct labels *l);

/* The record under key, from the table or through etagd from the store; ctx->hold is there. */
enum table_result learn_known(struct etag_request *ctx, request_rec *r, struct span key, struct table_copy *out);

/* Why a response that is selected by these names (NULL: Vary: *) may not be stored; NULL: it may. */
const char *learn_refusal(struct etag_request *ctx, request_rec *r, const char *names);

#endif
