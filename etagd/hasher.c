/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/hasher.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "etagd/lib/file_identity.h"

#define PIECE (256u * 1024u)

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE };

struct job {
    enum job_state state;
    bool good; /* the digest may be kept */
    bool changed;
    int fd;
    struct file_identity identity;
    uint8_t digest[DIGEST_SIZE];
    struct job *next;
};

struct hasher {
    pthread_mutex_t lock; /* jobs and stopping */
    pthread_cond_t work;
    struct job *jobs; /* in order of arrival, until their result was collected */
    size_t njobs, queue;
    bool stopping;
    pthread_t *threads;
    unsigned nthreads;
    int wake_fd; /* the threads tell the loop that a job is done */
    struct event *wake;
    struct hasher_stats stats; /* of the loop's thread */
    void (*done)(void *arg, struct span identity, const uint8_t digest[DIGEST_SIZE]);
    void *arg;
};

static bool stopping(struct hasher *h)
{
    pthread_mutex_lock(&h->lock);
    bool stop = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return stop;
}

/* Reads what the identity says is there: a file that grew or shrank has another identity afterwards. */
static bool hash_file(struct hasher *h, struct job *j, struct digest *d, char *buf)
{
    off_t at = 0;

    if (!digest_begin(d))
        return false;
    while ((uint64_t)at < j->identity.size) {
        ssize_t n = pread(j->fd, buf, PIECE, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !digest_update(d, buf, (size_t)n) || stopping(h))
            return false;
        at += n;
    }
    return digest_final(d, j->digest);
}

static void run(struct hasher *h, struct job *j, struct digest *d, char *buf)
{
    struct file_identity after;

    if (!d || !buf || !hash_file(h, j, d, buf))
        return;
    j->changed = !file_identity_get(&after, j->fd, NULL) || !file_identity_unchanged(&after, &j->identity);
    j->good = !j->changed;
}

static struct job *next_waiting(const struct hasher *h)
{
    struct job *j = h->jobs;
    while (j && j->state != JOB_WAITING)
        j = j->next;
    return j;
}

static void *worker(void *arg)
{
    struct hasher *h = arg;
    struct digest *d = digest_new();
    char *buf = malloc(PIECE);

    pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        struct job *j = next_waiting(h);
        if (!j) {
            pthread_cond_wait(&h->work, &h->lock);
            continue;
        }
        j->state = JOB_RUNNING;
        pthread_mutex_unlock(&h->lock);
        run(h, j, d, buf);
        pthread_mutex_lock(&h->lock);
        j->state = JOB_DONE;
        eventfd_write(h->wake_fd, 1);
    }
    pthread_mutex_unlock(&h->lock);
    free(buf);
    digest_free(d);
    return NULL;
}

/* Takes the first finished job out of the list. */
static struct job *collect_one(struct hasher *h)
{
    struct job **at, *j = NULL;

    pthread_mutex_lock(&h->lock);
    for (at = &h->jobs; *at && (*at)->state != JOB_DONE; at = &(*at)->next)
        ;
    if (*at) {
        j = *at;
        *at = j->next;
        h->njobs--;
    }
    pthread_mutex_unlock(&h->lock);
    return j;
}

static void collect(evutil_socket_t fd, short what, void *arg)
{
    struct hasher *h = arg;
    struct job *j;
    eventfd_t count;

    (void)what;
    eventfd_read(fd, &count);
    while ((j = collect_one(h))) {
        if (j->good) {
            h->stats.hashed++;
            h->stats.bytes += j->identity.size;
            h->done(h->arg, span_of(j->identity.text, j->identity.n), j->digest);
        } else if (j->changed) {
            h->stats.changed++;
        } else {
            h->stats.failed++;
        }
        close(j->fd);
        free(j);
    }
}

struct hasher *hasher_new(struct event_base *base, unsigned threads, size_t queue,
                          void (*done)(void *arg, struct span identity, const uint8_t digest[DIGEST_SIZE]), void *arg)
{
    struct hasher *h = calloc(1, sizeof *h);

    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->work, NULL);
    h->queue = queue;
    h->done = done;
    h->arg = arg;
    h->threads = calloc(threads, sizeof *h->threads);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake_fd >= 0)
        h->wake = event_new(base, h->wake_fd, EV_READ | EV_PERSIST, collect, h);
    if (!h->threads || !h->wake || event_add(h->wake, NULL) < 0) {
        hasher_free(h);
        return NULL;
    }
    while (h->nthreads < threads && pthread_create(&h->threads[h->nthreads], NULL, worker, h) == 0)
        h->nthreads++;
    if (h->nthreads == 0) {
        hasher_free(h);
        return NULL;
    }
    return h;
}

static bool queued(struct hasher *h, struct span identity)
{
    for (const struct job *j = h->jobs; j; j = j->next)
        if (span_eq(span_of(j->identity.text, j->identity.n), identity))
            return true;
    return false;
}

/* Into the list; *taken says whether the job is the list's now. A second request for a file that waits or
 * is being read joins the first. */
static enum hasher_result enqueue(struct hasher *h, struct job *new, bool *taken)
{
    enum hasher_result result = HASHER_QUEUED;

    pthread_mutex_lock(&h->lock);
    *taken = false;
    if (!queued(h, span_of(new->identity.text, new->identity.n))) {
        if (h->njobs < h->queue) {
            struct job **at = &h->jobs;
            while (*at)
                at = &(*at)->next;
            *at = new;
            *taken = true;
            h->njobs++;
            pthread_cond_signal(&h->work);
        } else {
            result = HASHER_BUSY;
        }
    }
    pthread_mutex_unlock(&h->lock);
    return result;
}

/* The descriptor must be what the client says it is: the digest is published under that identity. */
static bool acceptable(struct job *j, struct span identity, const char **why)
{
    *why = "the descriptor is no regular file that can be examined";
    if (!file_identity_get(&j->identity, j->fd, NULL))
        return false;
    *why = "the descriptor is not the file of that identity";
    if (!span_eq(span_of(j->identity.text, j->identity.n), identity))
        return false;
    *why = "the file changed less than two seconds ago";
    return j->identity.settled;
}

enum hasher_result hasher_add(struct hasher *h, struct span identity, int fd, const char **why)
{
    struct job *j = calloc(1, sizeof *j);

    *why = "out of memory";
    if (j)
        j->fd = fd;
    if (!j || !acceptable(j, identity, why)) {
        h->stats.refused++;
        free(j);
        close(fd);
        return HASHER_REFUSED;
    }
    bool taken;
    enum hasher_result result = enqueue(h, j, &taken);
    if (result == HASHER_BUSY)
        h->stats.busy++;
    if (!taken) {
        close(fd);
        free(j);
    }
    return result;
}

void hasher_stats(const struct hasher *h, struct hasher_stats *out)
{
    *out = h->stats;
    out->waiting = h->njobs;
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_broadcast(&h->work);
    pthread_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < h->nthreads; i++)
        pthread_join(h->threads[i], NULL);
    while (h->jobs) {
        struct job *j = h->jobs;
        h->jobs = j->next;
        close(j->fd);
        free(j);
    }
    if (h->wake)
        event_free(h->wake);
    if (h->wake_fd >= 0)
        close(h->wake_fd);
    free(h->threads);
    pthread_cond_destroy(&h->work);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
