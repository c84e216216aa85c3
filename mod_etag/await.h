/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for more of a body that is held back. No timer can enter a filter: who leaves the waiting to the
 * handler or to a blocking read cannot keep ETagBufferTime. So the filter itself waits, for as long as it
 * may, and lets go when nothing came. The thread would have waited in the handler all the same.
 */
#ifndef MOD_ETAG_AWAIT_H
#define MOD_ETAG_AWAIT_H

#include <stdbool.h>

#include <httpd.h>
#include <apr_buckets.h>

/* register_hooks: mod_proxy_http tells which connection a response comes from. */
void await_register_hooks(void);

/* The handler has flushed, that is, it is about to wait for its backend: false when the backend sent
 * nothing until then. True at once where the backend is not known (other handlers than mod_proxy_http). */
bool await_backend(request_rec *r, apr_time_t until);

/* A read of this bucket would block: false when until has passed, else read again without blocking. */
bool await_bucket(const apr_bucket *b, apr_time_t until);

#endif
