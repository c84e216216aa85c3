/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket that stands for one whose bytes are not there yet (a pipe, a socket) and shows them to somebody when they
 * are read: by whom, when, and in which pieces stays as it is. One thread at a time.
 */
#ifndef MOD_ETAG_TEE_H
#define MOD_ETAG_TEE_H

#include <apr_buckets.h>

/* data NULL: the end was reached. Not called for a bucket that is thrown away before. */
typedef void tee_seen(void *arg, const char *data, apr_size_t n);

/* Puts it in the place of b in b's brigade, and returns it. arg lives as long as its bytes may be asked for. */
apr_bucket *tee_replace(apr_bucket *b, tee_seen *seen, void *arg);

#endif
