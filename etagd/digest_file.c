/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/digest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "etagd/lib/xxh.h"

#define MAGIC "ETAGDIGS"
#define FORMAT 1u
#define NS UINT64_C(1000000000)

struct head {
    char magic[8];
    uint32_t version, record_size;
    uint64_t count;
    char boot[40]; /* padded with zeros */
    uint64_t checksum;
};

_Static_assert(sizeof(struct head) % 8 == 0 && sizeof(struct digest_record) % 8 == 0, "everything lies at 8");
_Static_assert(sizeof(struct digest_record) == 8 * FILE_IDENTITY_NUMBERS + DIGEST_SIZE + 16, "no padding to hash");

#define SIZE_OF(count) (sizeof(struct head) + (count) * sizeof(struct digest_record) + sizeof(uint64_t))

static bool head_fill(struct head *h, size_t count)
{
    const char *boot = file_identity_boot();

    memset(h, 0, sizeof *h);
    if (!boot)
        return false;
    memcpy(h->magic, MAGIC, sizeof h->magic);
    h->version = FORMAT;
    h->record_size = sizeof(struct digest_record);
    h->count = count;
    memcpy(h->boot, boot, FILE_IDENTITY_BOOT_SIZE);
    h->checksum = XXH3_64bits(h, offsetof(struct head, checksum));
    return true;
}

static uint64_t record_checksum(const struct digest_record *r, size_t place)
{
    return XXH3_64bits_withSeed(r, offsetof(struct digest_record, checksum), place);
}

/* --- reading --- */

const char *digest_file_result_text(enum digest_file_result result)
{
    switch (result) {
    case DIGEST_FILE_OK:
        return "read";
    case DIGEST_FILE_NONE:
        return "there was none";
    case DIGEST_FILE_FOREIGN:
        return "not a file that etagd's user alone can write";
    case DIGEST_FILE_OTHER:
        return "of another boot or version";
    case DIGEST_FILE_DAMAGED:
        return "damaged";
    case DIGEST_FILE_UNREADABLE:
        break;
    }
    return "unreadable";
}

/* What no file of this boot can have. Nor can a digest be kept of one that is younger than now. */
static bool possible(const struct digest_record *r, int64_t now_s)
{
    const uint64_t *n = r->numbers;

    return n[6] < NS && n[8] < NS && (int64_t)n[7] <= now_s && !(r->flags & ~DIGEST_MOUNT_SEEN);
}

enum digest_file_result digest_file_parse(const void *bytes, size_t size, const struct digest_record **records,
                                          size_t *n)
{
    const struct head *h = bytes;
    const struct digest_record *r = (const void *)(h + 1);
    const int64_t now_s = (int64_t)time(NULL);
    struct head mine;
    uint64_t sum;

    if (size < SIZE_OF(0) || memcmp(h->magic, MAGIC, sizeof h->magic) != 0 ||
        h->checksum != XXH3_64bits(h, offsetof(struct head, checksum)))
        return DIGEST_FILE_DAMAGED;
    if (!head_fill(&mine, 0) || h->version != mine.version || h->record_size != mine.record_size ||
        memcmp(h->boot, mine.boot, sizeof h->boot) != 0)
        return DIGEST_FILE_OTHER;
    if (h->count > DIGEST_FILE_MAX || size != SIZE_OF(h->count))
        return DIGEST_FILE_DAMAGED;
    memcpy(&sum, (const char *)bytes + size - sizeof sum, sizeof sum);
    if (sum != XXH3_64bits(bytes, size - sizeof sum))
        return DIGEST_FILE_DAMAGED;
    for (size_t i = 0; i < h->count; i++)
        if (r[i].checksum != record_checksum(&r[i], i) || !possible(&r[i], now_s))
            return DIGEST_FILE_DAMAGED;
    *records = r;
    *n = (size_t)h->count;
    return DIGEST_FILE_OK;
}

/* Whether nobody but this user, and root, can have written it. */
static bool own(int fd, struct stat *st)
{
    return fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid() &&
           !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* All of it, read and not mapped: a file that shrinks must not kill its reader. */
static void *read_all(int fd, size_t size)
{
    char *bytes = malloc(size);
    size_t at = 0;

    while (bytes && at < size) {
        const ssize_t n = read(fd, bytes + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            free(bytes);
            return NULL;
        }
        at += (size_t)n;
    }
    return bytes;
}

void *digest_file_read(const char *path, size_t *size, enum digest_file_result *result)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    void *bytes = NULL;

    if (fd < 0) {
        *result = errno == ENOENT ? DIGEST_FILE_NONE : errno == ELOOP ? DIGEST_FILE_FOREIGN : DIGEST_FILE_UNREADABLE;
        return NULL;
    }
    if (!own(fd, &st)) {
        *result = DIGEST_FILE_FOREIGN;
    } else if (st.st_size < (off_t)SIZE_OF(0) || st.st_size > (off_t)SIZE_OF(DIGEST_FILE_MAX)) {
        *result = DIGEST_FILE_DAMAGED;
    } else {
        *size = (size_t)st.st_size;
        bytes = read_all(fd, *size);
        *result = bytes ? DIGEST_FILE_OK : DIGEST_FILE_UNREADABLE;
    }
    close(fd);
    return bytes;
}

/* --- writing --- */

struct digest_writer {
    int fd, error; /* error: errno of the first failure */
    size_t count, written; /* records */
    uint64_t mount; /* the one looked for last, and what came of it */
    enum file_mount_state mount_state;
    XXH3_state_t *sum;
    char path[4096], beside[4096 + 8];
};

static bool fail(struct digest_writer *w, int error)
{
    if (!w->error)
        w->error = error ? error : EIO;
    return false;
}

static bool put(struct digest_writer *w, const void *bytes, size_t size)
{
    const char *at = bytes, *end = at + size;

    if (!w->error && XXH3_64bits_update(w->sum, bytes, size) != XXH_OK)
        return fail(w, EIO);
    while (!w->error && at < end) {
        const ssize_t n = write(w->fd, at, (size_t)(end - at));
        if (n > 0)
            at += n;
        else if (n == 0 || errno != EINTR)
            fail(w, n < 0 ? errno : EIO);
    }
    return !w->error;
}

static void writer_free(struct digest_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    XXH3_freeState(w->sum);
    free(w);
}

struct digest_writer *digest_writer_begin(const char *path, size_t count)
{
    struct digest_writer *w = calloc(1, sizeof *w);
    struct head head;

    if (!w)
        return NULL;
    w->fd = -1;
    w->count = count;
    w->sum = XXH3_createState();
    const int n = snprintf(w->path, sizeof w->path, "%s", path);
    snprintf(w->beside, sizeof w->beside, "%s.new", path);
    if (!w->sum || XXH3_64bits_reset(w->sum) != XXH_OK) {
        fail(w, ENOMEM);
    } else if (n >= (int)sizeof w->path) {
        fail(w, ENAMETOOLONG);
    } else if (!head_fill(&head, count)) {
        fail(w, ENOSYS); /* no boot id: a container without /proc */
    } else {
        unlink(w->beside); /* of a writer that was killed; or somebody's trap: never written through */
        w->fd = open(w->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->fd < 0)
            fail(w, errno);
        else
            put(w, &head, sizeof head);
    }
    if (w->error) {
        const int error = w->error;
        if (w->fd >= 0)
            unlink(w->beside);
        writer_free(w);
        errno = error;
        return NULL;
    }
    return w;
}

bool digest_writer_add(struct digest_writer *w, struct digest_record *records, size_t n)
{
    if (n > w->count - w->written)
        return fail(w, EINVAL);
    for (size_t i = 0; i < n; i++) {
        struct digest_record *r = &records[i];
        if (w->written + i == 0 || r->numbers[0] != w->mount) {
            w->mount = r->numbers[0];
            w->mount_state = file_mount_state(w->mount);
        }
        r->flags = w->mount_state == FILE_MOUNT_THERE ? DIGEST_MOUNT_SEEN : 0;
        r->checksum = record_checksum(r, w->written + i);
    }
    w->written += n;
    return put(w, records, n * sizeof *records);
}

bool digest_writer_finish(struct digest_writer *w, uint64_t *size)
{
    const uint64_t sum = XXH3_64bits_digest(w->sum);

    if (w->written != w->count)
        fail(w, EINVAL);
    if (put(w, &sum, sizeof sum) && fsync(w->fd) != 0)
        fail(w, errno);
    if (!w->error && rename(w->beside, w->path) != 0)
        fail(w, errno);
    if (w->error)
        unlink(w->beside);
    const int error = w->error;
    *size = SIZE_OF(w->count);
    writer_free(w);
    errno = error;
    return !error;
}
