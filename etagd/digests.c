/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/digests.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "etagd/digest_file.h"
#include "etagd/lib/xxh.h"
#include "etagd/log.h"

#define CHAINS 65536u /* a power of two */
#define FILE_NUMBERS 4u /* of an identity: mount, device, inode. The others change with the content */
#define PIECE 256u /* records copied for the writer at a time */

struct kept {
    uint64_t numbers[FILE_IDENTITY_NUMBERS];
    uint8_t digest[DIGEST_SIZE];
    uint32_t next; /* of its chain: place + 1, 0 ends */
};

struct digests {
    pthread_mutex_t lock; /* list; whoever changes it is the loop's thread, which reads it without */
    struct kept *list; /* a ring once it is full: the oldest is overwritten */
    size_t n, oldest;
    uint32_t chains[CHAINS]; /* place + 1 */

    char *path;
    struct event *timer; /* pending: something has changed */
    uint64_t save_every_ms;

    pthread_t saver;
    bool saving;
    int saved_fd; /* the saver tells the loop */
    struct event *saved;
    int save_error; /* errno, 0: written; the saver's until it has told */
    uint64_t save_bytes;
    bool failing; /* said so */
    struct digests_stats stats;
};

/* --- the list --- */

static uint32_t *chain_of(struct digests *d, const uint64_t numbers[FILE_IDENTITY_NUMBERS])
{
    return &d->chains[XXH3_64bits(numbers, FILE_NUMBERS * sizeof *numbers) % CHAINS];
}

/* The record of the same file, whatever it held then. */
static struct kept *find(struct digests *d, const uint64_t numbers[FILE_IDENTITY_NUMBERS])
{
    for (uint32_t at = *chain_of(d, numbers); at; at = d->list[at - 1].next)
        if (memcmp(d->list[at - 1].numbers, numbers, FILE_NUMBERS * sizeof *numbers) == 0)
            return &d->list[at - 1];
    return NULL;
}

static bool is_identity(const struct kept *k, const uint64_t numbers[FILE_IDENTITY_NUMBERS])
{
    return memcmp(k->numbers, numbers, sizeof k->numbers) == 0;
}

static void unchain(struct digests *d, size_t place)
{
    uint32_t *at = chain_of(d, d->list[place].numbers);

    while (*at != place + 1)
        at = &d->list[*at - 1].next;
    *at = d->list[place].next;
}

static void append(struct digests *d, const uint64_t numbers[FILE_IDENTITY_NUMBERS], const uint8_t digest[DIGEST_SIZE])
{
    size_t place = d->n;

    if (d->n == DIGEST_FILE_MAX) {
        place = d->oldest;
        d->oldest = (d->oldest + 1) % DIGEST_FILE_MAX;
        unchain(d, place);
    }
    struct kept *k = &d->list[place];
    uint32_t *chain = chain_of(d, numbers);

    pthread_mutex_lock(&d->lock);
    memcpy(k->numbers, numbers, sizeof k->numbers);
    memcpy(k->digest, digest, DIGEST_SIZE);
    k->next = *chain;
    if (place == d->n)
        d->n++;
    pthread_mutex_unlock(&d->lock);
    *chain = (uint32_t)place + 1;
}

/* One record for each file: one that is written again and again must not push the others out. */
static void keep(struct digests *d, const uint64_t numbers[FILE_IDENTITY_NUMBERS], const uint8_t digest[DIGEST_SIZE])
{
    struct kept *same = find(d, numbers);

    if (!same) {
        append(d, numbers, digest);
        return;
    }
    pthread_mutex_lock(&d->lock);
    memcpy(same->numbers, numbers, sizeof same->numbers);
    memcpy(same->digest, digest, DIGEST_SIZE);
    pthread_mutex_unlock(&d->lock);
}

void digests_each(const struct digests *d, void (*each)(void *arg, struct span identity, const uint8_t *digest),
                  void *arg)
{
    char text[FILE_IDENTITY_SIZE];

    for (size_t i = 0; i < d->n; i++) {
        const struct kept *k = &d->list[(d->oldest + i) % DIGEST_FILE_MAX];
        const size_t n = file_identity_format(k->numbers, text);
        if (n)
            each(arg, span_of(text, n), k->digest);
    }
}

/* --- writing --- */

/* Copies from place on; fewer than room at the end. */
static size_t copy(struct digests *d, size_t place, size_t end, struct digest_record *out)
{
    size_t n = end - place < PIECE ? end - place : PIECE;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < n; i++) {
        memcpy(out[i].numbers, d->list[place + i].numbers, sizeof out[i].numbers);
        memcpy(out[i].digest, d->list[place + i].digest, DIGEST_SIZE);
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* In any thread. Each record is whole; what comes in meanwhile is written next time. */
static void write_file(struct digests *d)
{
    struct digest_record piece[PIECE];

    pthread_mutex_lock(&d->lock);
    const size_t end = d->n;
    pthread_mutex_unlock(&d->lock);
    struct digest_writer *w = digest_writer_begin(d->path, end);
    bool ok = w != NULL;

    for (size_t at = 0; ok && at < end; at += PIECE)
        ok = digest_writer_add(w, piece, copy(d, at, end, piece));
    if (w)
        ok = digest_writer_finish(w, &d->save_bytes);
    d->save_error = ok ? 0 : errno;
}

static void *save_in_thread(void *arg)
{
    struct digests *d = arg;

    write_file(d);
    eventfd_write(d->saved_fd, 1);
    return NULL;
}

static void arm(struct digests *d)
{
    const struct timeval after = {(time_t)(d->save_every_ms / 1000), (suseconds_t)(d->save_every_ms % 1000 * 1000)};

    if (!event_pending(d->timer, EV_TIMEOUT, NULL))
        event_add(d->timer, &after);
}

static void count_save(struct digests *d)
{
    if (d->save_error == 0) {
        d->stats.saves++;
        d->stats.file_bytes = d->save_bytes;
        d->failing = false;
        return;
    }
    d->stats.save_failures++;
    if (!d->failing)
        log_warn("%s: %s: files will be hashed again after the next start; make the folder writable or set DigestFile",
                 d->path, strerror(d->save_error));
    d->failing = true;
    arm(d);
}

static void finish_save(struct digests *d)
{
    if (!d->saving)
        return;
    pthread_join(d->saver, NULL);
    d->saving = false;
    count_save(d);
}

static void on_saved(evutil_socket_t fd, short what, void *arg)
{
    eventfd_t count;

    (void)what;
    if (eventfd_read(fd, &count) == 0)
        finish_save(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct digests *d = arg;

    (void)fd;
    (void)what;
    if (d->saving || pthread_create(&d->saver, NULL, save_in_thread, d) != 0)
        arm(d); /* a slow disk, or no threads: later */
    else
        d->saving = true;
}

void digests_save(struct digests *d)
{
    if (!d)
        return;
    finish_save(d);
    if (!event_pending(d->timer, EV_TIMEOUT, NULL))
        return;
    event_del(d->timer);
    write_file(d);
    count_save(d);
}

/* --- reading --- */

/* The mounts of a file's records, few and mostly in a row. */
static bool mount_is_gone(const struct digest_record *r, uint64_t *last, bool *gone)
{
    if (!(r->flags & DIGEST_MOUNT_SEEN))
        return false;
    if (*last != r->numbers[0]) {
        *last = r->numbers[0];
        *gone = file_mount_state(*last) == FILE_MOUNT_GONE;
    }
    return *gone;
}

static bool take(struct digests *d, const struct digest_record *r, size_t n)
{
    uint64_t last = 0;
    bool gone = false;

    for (size_t i = 0; i < n; i++) {
        const struct kept *same = find(d, r[i].numbers);
        if (same && is_identity(same, r[i].numbers) && memcmp(same->digest, r[i].digest, DIGEST_SIZE) != 0)
            return false; /* one of the two is a lie: which? */
        if (mount_is_gone(&r[i], &last, &gone))
            d->stats.dropped++;
        else
            keep(d, r[i].numbers, r[i].digest);
    }
    return true;
}

static void forget(struct digests *d)
{
    d->n = 0;
    d->stats.dropped = 0;
    memset(d->chains, 0, sizeof d->chains);
}

static void read_file(struct digests *d)
{
    enum digest_file_result result;
    const struct digest_record *records;
    size_t size, n;
    void *bytes = digest_file_read(d->path, &size, &result);

    if (bytes)
        result = digest_file_parse(bytes, size, &records, &n);
    if (result == DIGEST_FILE_OK && !take(d, records, n)) {
        forget(d);
        result = DIGEST_FILE_DAMAGED;
    }
    free(bytes);
    d->stats.restored = d->n;
    d->stats.start = digest_file_result_text(result);
    if (result == DIGEST_FILE_OK)
        log_info("%s: %zu digests of files restored", d->path, d->n);
    else if (result != DIGEST_FILE_NONE)
        log_warn("%s: %s: not used, files are hashed again", d->path, d->stats.start);
}

/* --- life --- */

struct digests *digests_new(struct event_base *base, const char *path, uint64_t save_every_ms)
{
    struct digests *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    pthread_mutex_init(&d->lock, NULL);
    d->save_every_ms = save_every_ms;
    d->list = calloc(DIGEST_FILE_MAX, sizeof *d->list);
    d->path = strdup(path);
    d->timer = evtimer_new(base, on_timer, d);
    d->saved_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->saved_fd >= 0)
        d->saved = event_new(base, d->saved_fd, EV_READ | EV_PERSIST, on_saved, d);
    if (!d->list || !d->path || !d->timer || !d->saved || event_add(d->saved, NULL) != 0) {
        digests_free(d);
        return NULL;
    }
    read_file(d);
    return d;
}

void digests_add(struct digests *d, struct span identity, const uint8_t digest[DIGEST_SIZE])
{
    uint64_t numbers[FILE_IDENTITY_NUMBERS];

    if (!d || !file_identity_parse(identity, numbers))
        return;
    const struct kept *same = find(d, numbers);
    if (same && is_identity(same, numbers) && memcmp(same->digest, digest, DIGEST_SIZE) == 0)
        return;
    keep(d, numbers, digest);
    arm(d);
}

const char *digests_path(const struct digests *d)
{
    return d->path;
}

void digests_stats(const struct digests *d, struct digests_stats *out)
{
    *out = d->stats;
    out->kept = d->n;
}

void digests_free(struct digests *d)
{
    if (!d)
        return;
    finish_save(d);
    if (d->timer)
        event_free(d->timer);
    if (d->saved)
        event_free(d->saved);
    if (d->saved_fd >= 0)
        close(d->saved_fd);
    pthread_mutex_destroy(&d->lock);
    free(d->list);
    free(d->path);
    free(d);
}
