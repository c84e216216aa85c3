/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mod_cache has to be told, or kept from, so that it may trust our tags: it takes any entity-tag for
 * leave to store, any 304 for its own entry's, cuts ranges out of coded bodies, and does not know that PATCH
 * changes things (RFC 9111 3, 4.3.4, 4.4).
 */
#ifndef MOD_ETAG_CACHE_H
#define MOD_ETAG_CACHE_H

#include <httpd.h>

struct etag_conditionals;
struct etag_request;

#define ETAG_WHOLE_NAME "ETAG_WHOLE"

void cache_register(void);

/* Reads from the configuration whether there is anything to do. */
void cache_post_config(void);

/* insert_filter of a main request. */
void cache_insert(request_rec *r);

/* Before the handler of a GET, engine On: takes away the conditionals that mod_cache put in and is not there to
 * take the answer of (its lock could not be had), since the client would get a 304 that it did not ask for; and
 * those for mod_cache_socache, which forgets a body when a 304 refreshes its entry and from then on serves an
 * empty one: it gets the whole instead. */
void cache_drop_conditionals(request_rec *r);

/* The same for what was hidden from a handler that then redirected internally. */
void cache_forget_foreign(request_rec *r, struct etag_conditionals *saved);

/* Of a response whose status and validators are final, before mod_cache sees it: sets the environment variable
 * no-cache, which it obeys, on a 200 that nothing but our tag would make storable, and on a 304 that answers
 * the client's own If-None-Match and not the stored entry's, or that mod_cache_socache might get. mod_cache
 * hands such a 304 on, or asks again without condition where it would have taken it for its entry's. */
void cache_advise(const struct etag_request *ctx, request_rec *r);

#endif
