/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that responses carry to be invalidated by: words of Surrogate-Key, xkey and Cache-Tag headers,
 * strings of Cache-Groups and Cache-Group-Invalidation (RFC 9875). One thread at a time; the texts point
 * into what was read, or into the pool.
 */
#ifndef MOD_ETAG_LABELS_H
#define MOD_ETAG_LABELS_H

#include <apr_pools.h>

#include "etagd/lib/span.h"

#define LABELS_MAX 64

struct labels {
    struct span at[LABELS_MAX];
    size_t n;
    bool incomplete; /* there were more, or some that could not be read */
};

/* Words separated by spaces, tabs or commas. */
void labels_words(struct labels *l, const char *text);

/* A list of strings (RFC 9651 3.1, 4.2), parameters ignored. Anything else makes the list incomplete. */
void labels_strings(struct labels *l, apr_pool_t *p, const char *text);

#endif
