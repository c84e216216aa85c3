/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes large files away from httpd's workers: descriptors that clients pass are read by a few threads
 * and the digests come back to the event loop. The threads also examine what was passed: statx on a file
 * of a server that is gone may never return. The queue is bounded and single-flight by identity.
 * Everything but the threads themselves belongs to the event loop's thread.
 */
#ifndef ETAGD_HASHER_H
#define ETAGD_HASHER_H

#include "etagd/lib/digest.h"

struct event_base;
struct hasher;

enum hasher_result {
    HASHER_QUEUED, /* or in the queue already */
    HASHER_BUSY,   /* the queue is full: ask again with a later request */
    HASHER_REFUSED /* *why says */
};

struct hasher_stats {
    uint64_t hashed, bytes, changed, failed, busy;
    uint64_t refused; /* no regular file, or not the file of that identity, or changed too lately */
    uint64_t waiting;
};

/* done is called on the loop's thread for every digest that may be kept. NULL when threads are refused. */
struct hasher *hasher_new(struct event_base *base, unsigned threads, size_t queue,
                          void (*done)(void *arg, struct span identity, const uint8_t digest[DIGEST_SIZE]), void *arg);

/* Whether fd is the file of that identity shows later: a refusal is counted then. Takes over fd whatever the result. */
enum hasher_result hasher_add(struct hasher *h, struct span identity, int fd, const char **why);

void hasher_stats(const struct hasher *h, struct hasher_stats *out);

/* Waits for the file being read, at most a read's length, and two seconds where it does not come back: then
 * the hasher stays for the process's end to take. Drops what is queued. */
void hasher_free(struct hasher *h);

#endif
