/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/hasher.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "etagd/lib/file_identity.h"
#include "etagd/log.h"

#define PIECE (256u * 1024u)
#define END_S 2 /* that a thread has to finish its read */

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE };
enum job_outcome { JOB_FAILED, JOB_REFUSED, JOB_CHANGED, JOB_GOOD }; /* good: the digest may be kept */

struct job {
    enum job_state state;
    enum job_outcome outcome;
    const char *why; /* refused */
    int fd;
    char text[FILE_IDENTITY_SIZE]; /* the identity as the client wrote it: the digest is published under it */
    size_t n;
    uint64_t size; /* of the file */
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

static struct span text_of(const struct job *j)
{
    return span_of(j->text, j->n);
}

/* The descriptor must be what the client says it is. Asking a server that is gone may take forever: that
 * holds up a thread like this one, never the loop. */
static bool acceptable(struct job *j, struct file_identity *identity)
{
    j->why = "the descriptor is no regular file that can be examined";
    if (!file_identity_get(identity, j->fd, NULL, NULL))
        return false;
    j->why = "the descriptor is not the file of that identity";
    if (!file_identity_is(identity, text_of(j)))
        return false;
    j->why = "the file changed less than two seconds ago";
    return identity->settled;
}

/* Reads what the identity says is there: a file that grew or shrank has another identity afterwards. */
static bool hash_file(struct hasher *h, struct job *j, struct digest *d, char *buf)
{
    off_t at = 0;

    if (!digest_begin(d))
        return false;
    while ((uint64_t)at < j->size) {
        ssize_t n = pread(j->fd, buf, PIECE, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !digest_update(d, buf, (size_t)n) || stopping(h))
            return false;
        at += n;
    }
    return digest_final(d, j->digest);
}

static enum job_outcome run(struct hasher *h, struct job *j, struct digest *d, char *buf)
{
    struct file_identity before, after;

    if (!acceptable(j, &before))
        return JOB_REFUSED;
    j->size = before.size;
    if (!d || !buf || !hash_file(h, j, d, buf))
        return JOB_FAILED;
    return file_identity_get(&after, j->fd, NULL, NULL) && file_identity_unchanged(&after, &before) ? JOB_GOOD
                                                                                                    : JOB_CHANGED;
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
        j->outcome = run(h, j, d, buf);
        close(j->fd); /* which may take its time as well */
        j->fd = -1;
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

static void count_job(struct hasher *h, const struct job *j)
{
    switch (j->outcome) {
    case JOB_GOOD:
        h->stats.hashed++;
        h->stats.bytes += j->size;
        h->done(h->arg, text_of(j), j->digest);
        break;
    case JOB_CHANGED:
        h->stats.changed++;
        break;
    case JOB_REFUSED:
        h->stats.refused++;
        log_debug("a file is not hashed: %s", j->why);
        break;
    case JOB_FAILED:
        h->stats.failed++;
        break;
    }
}

static void collect(evutil_socket_t fd, short what, void *arg)
{
    struct hasher *h = arg;
    struct job *j;
    eventfd_t count;

    (void)what;
    eventfd_read(fd, &count);
    while ((j = collect_one(h))) {
        count_job(h, j);
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
        if (span_eq(text_of(j), identity))
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
    if (!queued(h, text_of(new))) {
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

enum hasher_result hasher_add(struct hasher *h, struct span identity, int fd, const char **why)
{
    struct job *j = calloc(1, sizeof *j);
    bool taken = false;
    enum hasher_result result = HASHER_REFUSED;

    *why = "out of memory";
    if (j && identity.n && identity.n <= sizeof j->text) {
        j->fd = fd;
        memcpy(j->text, identity.p, identity.n);
        j->n = identity.n;
        result = enqueue(h, j, &taken);
    } else if (j) {
        *why = "that is no identity of a file";
    }
    if (result == HASHER_BUSY)
        h->stats.busy++;
    else if (result == HASHER_REFUSED)
        h->stats.refused++;
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

/* False when one of the threads waits for a file server that does not answer. */
static bool end_threads(struct hasher *h)
{
    struct timespec until;
    bool all = true;

    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_broadcast(&h->work);
    pthread_mutex_unlock(&h->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_S;
    for (unsigned i = 0; i < h->nthreads; i++)
        all &= pthread_timedjoin_np(h->threads[i], NULL, &until) == 0;
    return all;
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    if (!end_threads(h)) {
        log_warn("a file server does not answer: etagd ends without waiting for it");
        return; /* the thread still uses it; the process's end takes both */
    }
    while (h->jobs) {
        struct job *j = h->jobs;
        h->jobs = j->next;
        if (j->fd >= 0)
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
