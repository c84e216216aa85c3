/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/file_identity.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID_SIZE 36
#define SETTLED_S 2
#define UNTRUSTED_S 60

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

/* --- boot id --- */

static char boot_id[BOOT_ID_SIZE];
static bool have_boot_id;

static void read_boot_id(void)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    have_boot_id = read(fd, boot_id, sizeof(boot_id)) == BOOT_ID_SIZE;
    close(fd);
}

void file_identity_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_boot_id);
}

/* --- mounts --- */

static bool is_one_of(uint32_t type, const uint32_t *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (type == types[i])
            return true;
    return false;
}

/* Whose stat need not change when the content does: a server elsewhere or a program may say what it likes,
 * and what was made to be copied as an image has the times that its maker chose. */
static bool type_is_untrusted(uint32_t type)
{
    static const uint32_t untrusted[] = {
        0x73717368, /* squashfs */
        0xE0F5E1E2, /* erofs */
        0x28cd3d45, /* cramfs */
        0x4d44, /* FAT: times of two seconds */
        0x2011BAB0, /* exFAT */
        0x9660, /* iso9660 */
        0x65735546, /* FUSE */
        0x01021997, /* 9p */
        0x6969, /* NFS */
        0xFF534D42, /* CIFS */
        0xFE534D42, /* SMB2 */
        0x517B, /* SMB */
        0x00C36400, /* Ceph */
        0x5346414F, /* AFS */
        0x6B414653, /* kAFS */
        0x61756673, /* aufs */
        0x786F4256, /* vboxsf */
    };
    return is_one_of(type, untrusted, sizeof untrusted / sizeof *untrusted);
}

/* A mount id that comes back may stand for another image with the same inodes and times. Images are
 * mounted read-only; what is written to gets times of its own. */
static bool is_written_disk(const struct statfs *fs)
{
    static const uint32_t disks[] = {
        0xEF53, /* ext2, ext3, ext4 */
        0x58465342, /* XFS */
        0x9123683E, /* Btrfs */
        0x2FC12FC1, /* ZFS */
        0xF2F52010, /* F2FS */
        0x01021994, /* tmpfs */
    };
    return !(fs->f_flags & ST_RDONLY) && is_one_of((uint32_t)fs->f_type, disks, sizeof disks / sizeof *disks);
}

static bool ask_mount(struct statfs *fs, int fd, const char *path)
{
    return (fd >= 0 ? fstatfs(fd, fs) : statfs(path, fs)) == 0;
}

/* Mounts seen: a unique mount id, then "known" and "trusted". A lost race or a crowded place costs a
 * statfs, nothing else. */
#define MOUNTS 64u
static _Atomic uint64_t mounts[MOUNTS];

/* What a unique id was told once holds until the next boot: no other mount ever has it. */
static bool unique_mount_is_trusted(uint64_t id, int fd, const char *path)
{
    _Atomic uint64_t *place = &mounts[id % MOUNTS];
    const uint64_t seen = atomic_load_explicit(place, memory_order_relaxed);
    struct statfs fs;

    if ((seen & ~UINT64_C(1)) == (id << 2 | 2))
        return seen & 1;
    if (!ask_mount(&fs, fd, path))
        return false;
    const bool trusted = !type_is_untrusted((uint32_t)fs.f_type);
    atomic_store_explicit(place, id << 2 | 2 | trusted, memory_order_relaxed);
    return trusted;
}

/* Without unique ids nothing may be kept of a mount: it is asked each time. *number also tells file
 * systems apart by their own id, as far as they have one. */
static bool reused_mount_is_trusted(uint64_t *number, int fd, const char *path)
{
    uint64_t fsid = 0;
    struct statfs fs;

    if (!ask_mount(&fs, fd, path))
        return false;
    memcpy(&fsid, &fs.f_fsid, sizeof fsid);
    *number ^= fsid * UINT64_C(0x9E3779B97F4A7C15);
    return is_written_disk(&fs);
}

_Static_assert(sizeof((struct statfs *)0)->f_fsid == sizeof(uint64_t), "the id of a file system");

/* --- text --- */

static char *put_hex(char *p, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    const int bits = value ? 64 - __builtin_clzll(value) : 1;

    *p++ = '.';
    for (int shift = (bits + 3) / 4 * 4 - 4; shift >= 0; shift -= 4)
        *p++ = digits[value >> shift & 15];
    return p;
}

static void write_text(struct file_identity *out, const struct statx *st, uint64_t mount)
{
    const uint64_t numbers[] = {mount,
                                st->stx_dev_major,
                                st->stx_dev_minor,
                                st->stx_ino,
                                st->stx_size,
                                (uint64_t)st->stx_mtime.tv_sec,
                                st->stx_mtime.tv_nsec,
                                (uint64_t)st->stx_ctime.tv_sec,
                                st->stx_ctime.tv_nsec};
    struct timespec now;
    char *p = out->text;

    memcpy(p, "file:", 5);
    memcpy(p + 5, boot_id, BOOT_ID_SIZE);
    p += 5 + BOOT_ID_SIZE;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        p = put_hex(p, numbers[i]);
    out->text[5 + BOOT_ID_SIZE] = ':';
    out->stat_n = (size_t)(p - out->text);
    if (!out->trusted) {
        clock_gettime(CLOCK_BOOTTIME, &now);
        p = put_hex(p, (uint64_t)now.tv_sec / UNTRUSTED_S);
    }
    *p = '\0';
    out->n = (size_t)(p - out->text);
}

_Static_assert(5 + BOOT_ID_SIZE + 10 * 17 < FILE_IDENTITY_SIZE, "ten numbers of a dot and sixteen digits");

bool file_identity_get(struct file_identity *out, int fd, const char *path)
{
    struct timespec now;
    struct statx st;

    file_identity_prepare();
    out->n = 0;
    /* A kernel that has unique mount ids prefers them when asked for both. */
    if (!have_boot_id ||
        statx(fd >= 0 ? fd : AT_FDCWD, fd >= 0 ? "" : path, fd >= 0 ? AT_EMPTY_PATH : 0,
              STATX_BASIC_STATS | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &st) != 0 ||
        (st.stx_mask & STATX_BASIC_STATS) != STATX_BASIC_STATS || !S_ISREG(st.stx_mode))
        return false;
    uint64_t mount = st.stx_mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE) ? st.stx_mnt_id : 0;

    clock_gettime(CLOCK_REALTIME, &now);
    out->size = st.stx_size;
    out->mtime_s = st.stx_mtime.tv_sec;
    /* Nobody can set ctime; mtime may be anything. */
    out->settled = st.stx_ctime.tv_sec + SETTLED_S < now.tv_sec;
    out->trusted = st.stx_mask & STATX_MNT_ID_UNIQUE ? unique_mount_is_trusted(mount, fd, path)
                                                     : reused_mount_is_trusted(&mount, fd, path);
    write_text(out, &st, mount);
    return true;
}
