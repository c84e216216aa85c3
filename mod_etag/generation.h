/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETagSource generation: a tag made from the name that the store gives to the current generation of a URL (ETAG
 * NAME, proto.h), not from the response's bytes. It changes when something that covers the response is invalidated,
 * or when the name's life (ETagTTL) is over, and is weak: two responses of one generation may differ.
 *
 * Mixed in are what selection.h says, Content-Type, Content-Language, and the labels that the name was given for.
 *
 * One thread at a time, memory from r->pool.
 */
#ifndef MOD_ETAG_GENERATION_H
#define MOD_ETAG_GENERATION_H

#include "mod_etag/mod_etag.h"

/* Whether a response of this location may need a name: then it has to be known where in the log it was begun. */
bool generation_wanted(const struct etag_dir *dir);

/* Sets ctx->tag for a response whose headers are not sent yet. May ask etagd. False: no name, no tag. */
bool generation_tag(struct etag_request *ctx, request_rec *r);

/* The headers are final, ctx->tags and ctx->groups taken from them: where filters have changed what the tag was made
 * from it is made anew, or taken off. */
void generation_finish(struct etag_request *ctx, request_rec *r);

#endif
