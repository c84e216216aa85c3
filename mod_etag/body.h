/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one ETAG_IN filter, shared by in.c, which decides, and body.c, which carries the body.
 * One thread at a time, lives in r->pool.
 */
#ifndef MOD_ETAG_BODY_H
#define MOD_ETAG_BODY_H

#include <apr_portable.h>
#include <util_filter.h>

#include "mod_etag/mod_etag.h"

enum in_state {
    IN_START,  /* the first brigade decides */
    IN_HOLD,   /* the body is kept back while it is hashed, until its end or a bound */
    IN_DETECT, /* DetectionOnly: the body passes, and is looked at (detect.h) */
    IN_WATCH,  /* the tag is known from the headers; the body passes, its end tells whether it was whole */
    IN_PASS,   /* nothing more to do */
    IN_DROP    /* a 304 or 412 went out in the body's place; the rest is swallowed */
};

struct in_context {
    struct etag_request *req;
    enum in_state state;
    apr_bucket_brigade *held; /* what is kept back */
    apr_off_t held_bytes;
    apr_time_t begun;
    struct digest *digest; /* the body's own: other requests' filters may run on this thread between calls */
};

/* The tag of a complete body is known and nothing of the response was sent: sets headers and answers
 * 304 or 412 instead where the preconditions say so. True when it did; *status is then the result. */
bool in_tagged(ap_filter_t *f, struct in_context *in, const uint8_t content[DIGEST_SIZE], apr_status_t *status);

/* True and the descriptor, still the file's, when the brigade is one file from its first byte to its last,
 * then EOS: a large file may come as several buckets in order. */
bool body_whole_file(apr_bucket_brigade *bb, apr_os_file_t *fd, apr_off_t *size);

/* For a body's bytes, begun; lives in p. NULL when libcrypto fails. */
struct digest *body_digest(apr_pool_t *p);

/* Whether a body of n bytes has the length that its headers announce, if they do: a script that dies leaves no error
 * bucket. */
bool body_as_announced(request_rec *r, apr_off_t n);

/* True while the body is still held; false when the state has changed: *status says how what was held
 * went, and what is left of bb belongs to the new state. */
bool body_hold(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, apr_status_t *status);
apr_status_t body_watch(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb);
apr_status_t body_drop(struct in_context *in, request_rec *r, apr_bucket_brigade *bb);

#endif
