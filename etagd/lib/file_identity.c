/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/file_identity.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID_SIZE FILE_IDENTITY_BOOT_SIZE
#define PREFIX_SIZE (5 + BOOT_ID_SIZE) /* "file:" and the boot id */
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

/* Everything up to MINUTE; the length. */
static size_t write_numbers(char text[FILE_IDENTITY_SIZE], const uint64_t numbers[FILE_IDENTITY_NUMBERS])
{
    char *p = text + PREFIX_SIZE;

    memcpy(text, "file:", 5);
    memcpy(text + 5, boot_id, BOOT_ID_SIZE);
    for (size_t i = 0; i < FILE_IDENTITY_NUMBERS; i++)
        p = put_hex(p, numbers[i]);
    text[PREFIX_SIZE] = ':';
    *p = '\0';
    return (size_t)(p - text);
}

_Static_assert(PREFIX_SIZE + (FILE_IDENTITY_NUMBERS + 1) * 17 < FILE_IDENTITY_SIZE,
               "numbers of a dot and sixteen digits, and MINUTE");

static uint64_t minute_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec / UNTRUSTED_S;
}

static void write_text(struct file_identity *out, const struct statx *st, uint64_t mount)
{
    const uint64_t numbers[FILE_IDENTITY_NUMBERS] = {mount,
                                                     st->stx_dev_major,
                                                     st->stx_dev_minor,
                                                     st->stx_ino,
                                                     st->stx_size,
                                                     (uint64_t)st->stx_mtime.tv_sec,
                                                     st->stx_mtime.tv_nsec,
                                                     (uint64_t)st->stx_ctime.tv_sec,
                                                     st->stx_ctime.tv_nsec};

    out->n = out->stat_n = write_numbers(out->text, numbers);
    if (out->trusted)
        return;
    char *end = put_hex(out->text + out->stat_n, minute_now());
    *end = '\0';
    out->n = (size_t)(end - out->text);
}

bool file_identity_get(struct file_identity *out, int fd, const char *path, const struct file_trust *trust)
{
    static const struct file_trust by_itself;
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
    out->trusted = file_mount_judge(&mount, st.stx_mask & STATX_MNT_ID_UNIQUE, fd, path, trust ? trust : &by_itself);
    write_text(out, &st, mount);
    return true;
}

bool file_identity_is(const struct file_identity *own, struct span text)
{
    const struct span stat = span_of(own->text, own->stat_n);
    const uint64_t minute = minute_now();
    char end[20];

    if (text.n < stat.n || memcmp(text.p, stat.p, stat.n) != 0)
        return false;
    const struct span rest = span_of(text.p + stat.n, text.n - stat.n);
    if (rest.n == 0)
        return true;
    /* It may have been written a moment before the minute was over. */
    for (uint64_t ago = 0; ago < 2 && ago <= minute; ago++)
        if (span_eq(rest, span_of(end, (size_t)(put_hex(end, minute - ago) - end))))
            return true;
    return false;
}

/* --- texts of others --- */

const char *file_identity_boot(void)
{
    file_identity_prepare();
    return have_boot_id ? boot_id : NULL;
}

/* A number behind a dot, as put_hex writes it; *at moves behind it. */
static bool take_hex(struct span text, size_t *at, uint64_t *value)
{
    const size_t begin = *at + 1;

    if (*at >= text.n)
        return false;
    *value = 0;
    for (*at = begin; *at < text.n && *at - begin < 16; ++*at) {
        const char c = text.p[*at];
        if (c >= '0' && c <= '9')
            *value = *value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (uint64_t)(c - 'a' + 10);
        else
            break;
    }
    return *at > begin;
}

bool file_identity_parse(struct span text, uint64_t numbers[FILE_IDENTITY_NUMBERS])
{
    char again[FILE_IDENTITY_SIZE];
    size_t at = PREFIX_SIZE;

    file_identity_prepare();
    for (size_t i = 0; i < FILE_IDENTITY_NUMBERS; i++)
        if (!take_hex(text, &at, &numbers[i]))
            return false;
    /* Boot, punctuation, leading zeros and whatever follows: there is one way to write it. */
    return have_boot_id && span_eq(text, span_of(again, write_numbers(again, numbers)));
}

size_t file_identity_format(const uint64_t numbers[FILE_IDENTITY_NUMBERS], char text[FILE_IDENTITY_SIZE])
{
    file_identity_prepare();
    return have_boot_id ? write_numbers(text, numbers) : 0;
}
