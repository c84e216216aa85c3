/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content digests of files, cached by stat identity: in the node's table (self-validating records,
 * true with or without a lease) and, while there is no table, in a small cache of the process.
 *
 * Identity: boot id, mount id, device, inode, size, mtime and ctime in nanoseconds, as text (the form
 * is normative in docs/protocol.md and checked again by etagd). A digest is kept only when ctime and
 * mtime were at least 2 s old when hashing began and stat is equal afterwards (coarse kernel clocks);
 * otherwise it serves this response alone. File systems whose stat cannot be trusted
 * (squashfs, erofs, FUSE, 9p, NFS by statfs type) keep a digest for at most 60 s.
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

/* child_init. */
void file_digest_child_init(apr_pool_t *p);

/* By name, without opening: one statx. For early answers; never hashes. mtime_s is the file's. */
enum file_digest_result file_digest_peek(struct etag_request *ctx, request_rec *r, const char *filename,
                                         uint8_t out[DIGEST_SIZE], int64_t *mtime_s);

/* Of the descriptor about to be served: cached, else hashed with pread (the file's offset is not
 * touched), else passed to etagd when larger than ETagInlineLimit. size must equal its fstat size. */
enum file_digest_result file_digest_get(struct etag_request *ctx, request_rec *r, int fd, apr_off_t size,
                                        uint8_t out[DIGEST_SIZE], int64_t *mtime_s);

#endif
