/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of a file's content, under which its digest is kept: as long as the identity is the same,
 * so are the bytes. httpd and etagd make it with the same code, so that one can check the other.
 *
 *   file:BOOT:MNT.MAJOR.MINOR.INODE.SIZE.MTIME.MTIME_NS.CTIME.CTIME_NS[.MINUTE]
 *
 * BOOT is the kernel's boot id, the numbers are in lower-case hexadecimal without leading zeros. Times of a
 * file change with a coarse clock, so a digest may be kept only when the identity was settled before
 * hashing began, and is equal afterwards.
 *
 * MNT is the unique mount id (Linux 6.8), which no other mount has until the next boot: an image mounted in
 * another's place, with equal inodes and times, has another one. Linux before 6.8 gives a mount's id to
 * the next one; there MNT is that id xor statfs's f_fsid * 0x9E3779B97F4A7C15 (64 bits), which tells file
 * systems apart but not copies of one.
 *
 * MINUTE (of CLOCK_BOOTTIME) stands where stat cannot be trusted to show every change (file_mount.h): such
 * an identity is over when the minute is.
 * Any thread.
 */
#ifndef ETAG_LIB_FILE_IDENTITY_H
#define ETAG_LIB_FILE_IDENTITY_H

#include <stdint.h>

#include "etagd/lib/file_mount.h"

#define FILE_IDENTITY_SIZE 224 /* room for the text and a NUL */
#define FILE_IDENTITY_BOOT_SIZE 36
#define FILE_IDENTITY_NUMBERS 9 /* MNT to CTIME_NS */

struct file_identity {
    char text[FILE_IDENTITY_SIZE];
    size_t n;
    size_t stat_n; /* length of the text without MINUTE */
    uint64_t size; /* bytes */
    int64_t mtime_s; /* seconds since 1970 */
    bool settled; /* ctime is at least two seconds old */
    bool trusted; /* no MINUTE: the identity holds as long as stat says the same */
};

/* Of an open file (fd >= 0; path may be NULL), else of the file that path names. One system call once the
 * mount is known, two where mount ids are not unique. False for what is no regular file, cannot be
 * examined, or has no boot id. trust: what the administrator says of file systems; NULL: nothing. */
bool file_identity_get(struct file_identity *out, int fd, const char *path, const struct file_trust *trust);

/* Whether text is the identity of this file, by stat. Whoever wrote it may trust the mount or not: MINUTE may
 * stand there, this one or the one before, or be missing. */
bool file_identity_is(const struct file_identity *own, struct span text);

/* The numbers of a text; true only for one of this boot, written exactly as above, without MINUTE. */
bool file_identity_parse(struct span text, uint64_t numbers[FILE_IDENTITY_NUMBERS]);
/* The text of such numbers and its length; 0 when the boot id is not known. */
size_t file_identity_format(const uint64_t numbers[FILE_IDENTITY_NUMBERS], char text[FILE_IDENTITY_SIZE]);
/* FILE_IDENTITY_BOOT_SIZE characters without NUL; NULL when it is not known. */
const char *file_identity_boot(void);

/* Reads the boot id now: for a process that may lose sight of /proc (chroot). Not needed otherwise. */
void file_identity_prepare(void);

static inline bool file_identity_eq(const struct file_identity *a, const struct file_identity *b)
{
    return span_eq(span_of(a->text, a->n), span_of(b->text, b->n));
}

/* Whether stat says the same, whatever minute it is. */
static inline bool file_identity_unchanged(const struct file_identity *a, const struct file_identity *b)
{
    return span_eq(span_of(a->text, a->stat_n), span_of(b->text, b->stat_n));
}

#endif
