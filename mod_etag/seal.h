/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tags of applications on bodies that our filters coded: they leave sealed (coding.h) and come back here. The
 * application is shown the tag that it sent, so that it can answer 304 itself, and judge its writes itself.
 */
#ifndef MOD_ETAG_SEAL_H
#define MOD_ETAG_SEAL_H

#include <stdbool.h>

#include <httpd.h>

struct etag_request;

/* Before a handler that judges conditionals by itself: in If-Match and If-None-Match of r->headers_in each sealed
 * tag is replaced by its base; of a GET's If-None-Match those are left out whose coding Accept-Encoding does
 * not admit. True when there were any: ctx->saved keeps what the client sent. */
bool seal_open_conditionals(request_rec *r);

/* A 304 of the application's own, from ETAG_FIN: when what the client has is one of its codings, ctx->matched is
 * set, and the 304 repeats that tag. */
void seal_answer(struct etag_request *ctx, request_rec *r);

/* The tag of a 200 that a filter of ours has coded, when it is the application's with the bare suffix. */
void seal_tag(struct etag_request *ctx, request_rec *r);

#endif
