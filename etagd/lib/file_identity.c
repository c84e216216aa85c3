/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/file_identity.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID_SIZE 36
#define SETTLED_S 2
#define UNTRUSTED_S 60

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
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

/* --- file systems --- */

/* Whose stat need not change when the content does: an image mounted in another's place has equal inodes
 * and times, and a server elsewhere or a program may say what it likes. */
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
    for (size_t i = 0; i < sizeof(untrusted) / sizeof(*untrusted); i++)
        if (type == untrusted[i])
            return true;
    return false;
}

/* Mounts seen: 62 bits of a mixed mount and device, then "known" and "trusted". A lost race or a crowded
 * place costs a statfs, nothing else. */
#define MOUNTS 64
static _Atomic uint64_t mounts[MOUNTS];

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool mount_is_trusted(const struct statx *st, uint64_t mount, int fd, const char *path)
{
    const uint64_t id = mix(mix(mount) ^ ((uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor)) & ~UINT64_C(3);
    _Atomic uint64_t *place = &mounts[id >> 58 & (MOUNTS - 1)];
    const uint64_t seen = atomic_load_explicit(place, memory_order_relaxed);
    struct statfs fs;

    if ((seen & ~UINT64_C(1)) == (id | 2))
        return seen & 1;
    if ((fd >= 0 ? fstatfs(fd, &fs) : statfs(path, &fs)) != 0)
        return false;
    const bool trusted = !type_is_untrusted((uint32_t)fs.f_type);
    /* Without a mount id a device number may come back with another file system on it. */
    if (mount)
        atomic_store_explicit(place, id | 2 | trusted, memory_order_relaxed);
    return trusted;
}

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
    if (!have_boot_id ||
        statx(fd >= 0 ? fd : AT_FDCWD, fd >= 0 ? "" : path, fd >= 0 ? AT_EMPTY_PATH : 0,
              STATX_BASIC_STATS | STATX_MNT_ID, &st) != 0 ||
        (st.stx_mask & STATX_BASIC_STATS) != STATX_BASIC_STATS || !S_ISREG(st.stx_mode))
        return false;
    const uint64_t mount = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;

    clock_gettime(CLOCK_REALTIME, &now);
    out->size = st.stx_size;
    out->mtime_s = st.stx_mtime.tv_sec;
    /* Nobody can set ctime; mtime may be anything. */
    out->settled = st.stx_ctime.tv_sec + SETTLED_S < now.tv_sec;
    out->trusted = mount_is_trusted(&st, mount, fd, path);
    write_text(out, &st, mount);
    return true;
}
