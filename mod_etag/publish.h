/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing what a response teaches over to etagd. Of responses that say the same of a variant at the same time one is
 * handed over, by all children of this httpd together: the others have nothing to add and wait for nothing. One that
 * says something else is always handed over, because it contradicts.
 */
#ifndef MOD_ETAG_PUBLISH_H
#define MOD_ETAG_PUBLISH_H

#include "mod_etag/mod_etag.h"

/* post_config, in the parent. */
void publish_post_config(apr_pool_t *p, server_rec *s);

/* Publishes ctx->tag for the request's key when the response may be stored; called at the end of a
 * complete response, before its last bytes go out. Never fails the response. */
void publish_learned(struct etag_request *ctx, request_rec *r);

#endif
