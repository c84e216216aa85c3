/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file: digests of files that outlive a restart of etagd. It is good for one boot of one
 * machine, so everything is in the machine's byte order:
 *
 *   head      magic, version, size of a record, count, boot id, checksum of the head
 *   count x   an identity's numbers (file_identity.h), digest, flags, checksum (with its place as the seed)
 *   foot      checksum of everything before it
 *
 * A reader believes nothing by halves. A file that belongs to somebody else, that others may write, of another
 * boot or version, or whose size or any checksum is not exactly what the head announces, is dropped as a
 * whole. Checksums find accidents; what keeps liars out is who may write the file. An older copy of a file of
 * this boot does no harm: what it says of an identity is as true as it was.
 * Any thread; a writer belongs to one at a time.
 */
#ifndef ETAGD_DIGEST_FILE_H
#define ETAGD_DIGEST_FILE_H

#include "etagd/lib/digest.h"
#include "etagd/lib/file_identity.h"

#define DIGEST_FILE_MAX 65536u /* records */

struct digest_record {
    uint64_t numbers[FILE_IDENTITY_NUMBERS];
    uint8_t digest[DIGEST_SIZE];
    uint64_t flags;
    uint64_t checksum;
};

#define DIGEST_MOUNT_SEEN UINT64_C(1) /* the writer's mount namespace has the mount: so must the reader's */

enum digest_file_result {
    DIGEST_FILE_OK,
    DIGEST_FILE_NONE,     /* there is none */
    DIGEST_FILE_FOREIGN,  /* not etagd's own, or writable by others, or no regular file */
    DIGEST_FILE_OTHER,    /* of another boot or version */
    DIGEST_FILE_DAMAGED,  /* not what was written, or contradicts itself */
    DIGEST_FILE_UNREADABLE /* errno */
};

const char *digest_file_result_text(enum digest_file_result result);

/* Bytes as they came from a file; with DIGEST_FILE_OK *records of them are good, n of them, aligned as bytes
 * is, which must be at 8. */
enum digest_file_result digest_file_parse(const void *bytes, size_t size, const struct digest_record **records,
                                          size_t *n);

/* The whole file, to be freed; NULL unless the result is DIGEST_FILE_OK. Never follows a link. */
void *digest_file_read(const char *path, size_t *size, enum digest_file_result *result);

/* Writing: beside the path first, in its place when complete. Every function is false after a failure, whose
 * errno stays, and then does nothing. */
struct digest_writer;

struct digest_writer *digest_writer_begin(const char *path, size_t count); /* NULL: errno */
/* flags and checksum are filled in here. Exactly count records in all. */
bool digest_writer_add(struct digest_writer *w, struct digest_record *records, size_t n);
/* Ends the writer in any case. *size: bytes. */
bool digest_writer_finish(struct digest_writer *w, uint64_t *size);

#endif
