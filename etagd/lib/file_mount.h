/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose stat shows every change of a file's content. Three kinds of file systems are known by name:
 * disks of this machine and tmpfs, overlayfs, and those that are never believed by themselves: images
 * (squashfs, erofs), whose times are their maker's choice, and what a program or another machine says
 * (FUSE, 9p, NFS and other network and cluster file systems). What is not known is not believed either.
 *
 * A mount with a unique id (Linux 6.8) is never taken for another one. Without unique ids another image
 * may stand in its place with equal inodes and times: then disks are believed only while mounted
 * read-write, and overlayfs not at all.
 * Any thread.
 */
#ifndef ETAG_LIB_FILE_MOUNT_H
#define ETAG_LIB_FILE_MOUNT_H

#include <stdint.h>

#include "etagd/lib/span.h"

/* What the administrator says of it (ETagTrustFS). Zero: nothing. */
struct file_trust {
    enum { FILE_TRUST_AUTO, FILE_TRUST_ALL, FILE_TRUST_NONE } mode;
    uint32_t types; /* besides, with AUTO: bits that file_trust_type gave */
};

/* The bits of the file systems of this name (as in mount(8), any case); 0: none is known by it. */
uint32_t file_trust_type(struct span name);
/* Their names one by one, for messages; NULL after the last. */
const char *file_trust_name(size_t i);

/* The judgement itself, of statfs's f_type. */
bool file_mount_believed(uint32_t type, bool read_only, bool unique_id, const struct file_trust *trust);

/* Judges the mount of an open file (fd >= 0) or of the file that path names. With a unique id: one statfs
 * per mount and process. Without: one each time, and *id is told apart by the file system's own id. */
bool file_mount_judge(uint64_t *id, bool unique_id, int fd, const char *path, const struct file_trust *trust);

enum file_mount_state {
    FILE_MOUNT_THERE,
    FILE_MOUNT_GONE,   /* this process's namespace has no mount of that unique id */
    FILE_MOUNT_UNKNOWN /* the kernel does not say (Linux before 6.8, a container's rules) */
};

enum file_mount_state file_mount_state(uint64_t unique_id);

#endif
