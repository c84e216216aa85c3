/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/file_mount.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum kind {
    DISK, /* of this machine, written to by its kernel alone */
    LAYERED, /* overlayfs: holds its layers as long as it is mounted, and they may not be changed beneath it */
    TOLD /* its stat is what an image, a program or another machine says */
};

/* A place in this list is a bit of struct file_trust.types. */
static const struct type {
    const char *name;
    uint32_t magic;
    enum kind kind;
} types[] = {
    {"ext2", 0xEF53, DISK}, /* ext3 and ext4 as well */
    {"ext3", 0xEF53, DISK},         {"ext4", 0xEF53, DISK},
    {"xfs", 0x58465342, DISK},      {"btrfs", 0x9123683E, DISK},
    {"zfs", 0x2FC12FC1, DISK},      {"f2fs", 0xF2F52010, DISK},
    {"tmpfs", 0x01021994, DISK},    {"overlay", 0x794C7630, LAYERED},
    {"squashfs", 0x73717368, TOLD}, {"erofs", 0xE0F5E1E2, TOLD},
    {"cramfs", 0x28CD3D45, TOLD},   {"iso9660", 0x9660, TOLD},
    {"udf", 0x15013346, TOLD},      {"vfat", 0x4D44, TOLD}, /* times of two seconds */
    {"exfat", 0x2011BAB0, TOLD},    {"fuse", 0x65735546, TOLD}, /* virtiofs as well */
    {"9p", 0x01021997, TOLD},       {"nfs", 0x6969, TOLD},
    {"smb", 0xFF534D42, TOLD},      {"smb", 0xFE534D42, TOLD},
    {"smb", 0x517B, TOLD},          {"ceph", 0x00C36400, TOLD},
    {"afs", 0x5346414F, TOLD},      {"afs", 0x6B414653, TOLD},
    {"gfs2", 0x01161970, TOLD},     {"ocfs2", 0x7461636F, TOLD},
    {"lustre", 0x0BD00BD0, TOLD},   {"aufs", 0x61756673, TOLD},
    {"vboxsf", 0x786F4256, TOLD},
};
#define TYPES (sizeof types / sizeof *types)
#define TYPE_UNKNOWN TYPES

_Static_assert(TYPES <= 32, "struct file_trust.types has a bit for each");

static size_t place_of(uint32_t magic)
{
    size_t i = 0;

    while (i < TYPES && types[i].magic != magic)
        i++;
    return i;
}

uint32_t file_trust_type(struct span name)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < TYPES; i++)
        if (span_eq_nocase(name, span_str(types[i].name)))
            bits |= UINT32_C(1) << place_of(types[i].magic); /* three names of one number have one bit */
    return bits;
}

const char *file_trust_name(size_t i)
{
    for (size_t at = 0; at < TYPES; at++) {
        if (at && strcmp(types[at].name, types[at - 1].name) == 0)
            continue;
        if (i-- == 0)
            return types[at].name;
    }
    return NULL;
}

static bool believed(size_t place, bool read_only, bool unique_id, const struct file_trust *trust)
{
    if (trust->mode != FILE_TRUST_AUTO)
        return trust->mode == FILE_TRUST_ALL;
    if (place == TYPE_UNKNOWN)
        return false;
    if (trust->types >> place & 1)
        return true;
    switch (types[place].kind) {
    case DISK:
        return unique_id || !read_only;
    case LAYERED:
        return unique_id;
    case TOLD:
        break;
    }
    return false;
}

bool file_mount_believed(uint32_t type, bool read_only, bool unique_id, const struct file_trust *trust)
{
    return believed(place_of(type), read_only, unique_id, trust);
}

static bool ask(struct statfs *fs, int fd, const char *path)
{
    return (fd >= 0 ? fstatfs(fd, fs) : statfs(path, fs)) == 0;
}

/* Mounts seen: a unique id, "known", and the place of its type. A lost race or a crowded place costs a
 * statfs, nothing else. What a unique id was told once holds until the next boot. */
#define MOUNTS 64u
#define KNOWN UINT64_C(128)
static _Atomic uint64_t mounts[MOUNTS];

static bool judge_unique(uint64_t id, int fd, const char *path, const struct file_trust *trust)
{
    _Atomic uint64_t *at = &mounts[id % MOUNTS];
    const uint64_t seen = atomic_load_explicit(at, memory_order_relaxed), mine = id << 8 | KNOWN;
    struct statfs fs;

    if ((seen & ~(KNOWN - 1)) == mine)
        return believed(seen & (KNOWN - 1), false, true, trust);
    if (!ask(&fs, fd, path))
        return false;
    const size_t place = place_of((uint32_t)fs.f_type);
    atomic_store_explicit(at, mine | place, memory_order_relaxed);
    return believed(place, false, true, trust);
}

_Static_assert(TYPE_UNKNOWN < KNOWN, "a place fits below the mark");
_Static_assert(sizeof((struct statfs *)0)->f_fsid == sizeof(uint64_t), "the id of a file system");

bool file_mount_judge(uint64_t *id, bool unique_id, int fd, const char *path, const struct file_trust *trust)
{
    uint64_t fsid = 0;
    struct statfs fs;

    if (unique_id)
        return judge_unique(*id, fd, path, trust);
    /* Nothing may be kept of a mount whose number the next one gets. */
    if (!ask(&fs, fd, path))
        return false;
    memcpy(&fsid, &fs.f_fsid, sizeof fsid);
    *id ^= fsid * UINT64_C(0x9E3779B97F4A7C15);
    return file_mount_believed((uint32_t)fs.f_type, fs.f_flags & ST_RDONLY, false, trust);
}

/* --- mounts that are gone --- */

#ifndef SYS_statmount
#define SYS_statmount 457 /* the headers of Debian 12 are older than the call */
#endif

enum file_mount_state file_mount_state(uint64_t unique_id)
{
    const struct {
        uint32_t size, spare;
        uint64_t id, mask;
    } request = {.size = 24, .id = unique_id, .mask = 2 /* STATMOUNT_MNT_BASIC */};
    char answer[1024];

    if (syscall(SYS_statmount, &request, answer, sizeof answer, 0) == 0)
        return FILE_MOUNT_THERE;
    return errno == ENOENT ? FILE_MOUNT_GONE : FILE_MOUNT_UNKNOWN;
}
