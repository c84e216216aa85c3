/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content digests of files, cached by stat identity: in the node's table (self-validating records,
 * true with or without a lease) and, while there is no table, in a small cache of the process.
 *
 * The identity is etagd/lib/file_identity.h's. A digest is kept only when ctime was at least 2 s old when
 * hashing began and stat is equal afterwards (coarse kernel clocks); otherwise it serves this response
 * alone. Where stat cannot be trusted (squashfs, FUSE, NFS and the like) it is kept for at most 60 s.
 */
#ifndef MOD_ETAG_FILE_DIGEST_H
#define MOD_ETAG_FILE_DIGEST_H

#include <httpd.h>

#include "etagd/lib/digest.h"

struct etag_request;

enum file_digest_result {
    FILE_DIGEST_KNOWN,   /* out is the digest of exactly this identity */
    FILE_DIGEST_UNKNOWN, /* not hashed yet (file_digest_peek), or queued at etagd (over ETagInlineLimit) */
    FILE_DIGEST_FAILED   /* unreadable, changed while hashing: this response gets no tag */
};

/* post_config, in the parent: what the children share. */
void file_digest_post_config(apr_pool_t *p, server_rec *s);

/* By name, without opening: one statx. For early answers; never hashes. mtime_s is the file's. */
enum file_digest_result file_digest_peek(struct etag_request *ctx, request_rec *r, const char *filename,
                                         uint8_t out[DIGEST_SIZE], int64_t *mtime_s);

/* Of the descriptor about to be served: cached, else hashed with pread (the file's offset is not
 * touched), else passed to etagd when larger than ETagInlineLimit. size must equal its fstat size. */
enum file_digest_result file_digest_get(struct etag_request *ctx, request_rec *r, int fd, apr_off_t size,
                                        uint8_t out[DIGEST_SIZE], int64_t *mtime_s);

#endif
