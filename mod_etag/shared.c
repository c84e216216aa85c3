/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/shared.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include <http_config.h>
#include <http_log.h>
#include <http_main.h>

#include "mod_etag/pending_file.h"

APLOG_USE_MODULE(etag);

#define RETAINED_KEY "mod_etag:shared"
#define REPORT_EVERY APR_USEC_PER_SEC

struct waiting_host {
    uint64_t serial; /* 0: free */
    char host[SHARED_HOST_SIZE];
};

struct shared {
    size_t size; /* an update of the module may find memory of another layout */
    _Atomic uint32_t state, doubt;
    _Atomic uint64_t announced, generation;
    _Atomic uint32_t waiting; /* not 0: hosts or all wait; written under the mutex */
    pthread_mutex_t mutex;
    uint64_t serial, all_serial; /* all_serial 0: not everything */
    bool marked; /* on disk as well */
    struct waiting_host hosts[SHARED_HOSTS];
    _Atomic uint64_t detected[DETECTION_COUNT];
    _Atomic int64_t reported_at;
};

static struct shared *shared;

/* --- life --- */

static struct shared *allocate(void)
{
    pthread_mutexattr_t attributes;
    struct shared *made = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (made == MAP_FAILED)
        return NULL;
    made->size = sizeof *made;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    /* A child may be killed while it holds the mutex. */
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int failed = pthread_mutex_init(&made->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (failed) {
        munmap(made, sizeof *made);
        return NULL;
    }
    return made;
}

/* A new httpd knows nothing but the mark that one before it left. */
static void take_over(server_rec *s)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 "mod_etag: httpd ended before etagd was told of invalidations: everything will be forgotten");
    shared_pending_keep((struct span){NULL, 0});
}

apr_status_t shared_create(apr_pool_t *p, server_rec *s)
{
    struct shared **retained = ap_retained_data_get(RETAINED_KEY);
    const bool successor = retained && *retained && (*retained)->size != sizeof(struct shared);
    const bool marked = pending_file_open(p, s), fresh = !retained || !*retained;

    if (!retained)
        retained = ap_retained_data_create(RETAINED_KEY, sizeof *retained);
    if (!*retained || successor) {
        struct shared *made = allocate();
        if (!made) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "mod_etag: cannot allocate %lu bytes of shared memory",
                         (unsigned long)sizeof *made);
            return APR_ENOMEM;
        }
        *retained = made; /* the old one may be in use by children that are still at work */
    }
    shared = *retained;
    if (successor)
        shared_pending_keep((struct span){NULL, 0});
    else if (fresh && marked)
        take_over(s);
    atomic_store(&shared->announced, 0);
    return APR_SUCCESS;
}

/* --- state --- */

bool shared_change_state(enum shared_state to)
{
    return atomic_load_explicit(&shared->state, memory_order_relaxed) != to &&
           atomic_exchange(&shared->state, to) != to;
}

enum shared_state shared_state_now(void)
{
    return atomic_load_explicit(&shared->state, memory_order_relaxed);
}

uint32_t shared_doubt(void)
{
    return atomic_load(&shared->doubt);
}

void shared_raise_doubt(uint32_t made_at)
{
    atomic_compare_exchange_strong(&shared->doubt, &made_at, made_at + 1);
}

uint32_t shared_meet_generation(uint64_t generation, uint32_t begun_at)
{
    const uint64_t before = atomic_exchange(&shared->generation, generation);
    uint32_t expected = begun_at;

    if (before == generation || before == 0 || !atomic_compare_exchange_strong(&shared->doubt, &expected, begun_at + 1))
        return begun_at;
    return begun_at + 1;
}

bool shared_claim_announcement(uint64_t generation)
{
    uint64_t before = atomic_load(&shared->announced);
    return before != generation && atomic_compare_exchange_strong(&shared->announced, &before, generation);
}

bool shared_announced(uint64_t generation)
{
    return atomic_load_explicit(&shared->announced, memory_order_relaxed) == generation;
}

void shared_announcement_failed(void)
{
    atomic_store(&shared->announced, 0);
}

/* --- invalidations that wait --- */

/* The mutex is held. The flag is set after the mark, and taken back before it: wherever a child dies, a mark
 * that is missing is not believed to be there. */
static void something_waits(void)
{
    if (!shared->marked)
        shared->marked = pending_file_mark();
    if (!shared->marked && !atomic_load(&shared->waiting))
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                     "mod_etag: cannot write down that invalidations wait: they are lost if httpd stops before etagd "
                     "is back");
    atomic_store(&shared->waiting, 1);
}

static void nothing_waits(void)
{
    atomic_store(&shared->waiting, 0);
    shared->marked = false;
    pending_file_clear();
}

static void widen_to_all(void)
{
    shared->all_serial = ++shared->serial;
    memset(shared->hosts, 0, sizeof shared->hosts);
    something_waits();
}

static void lock(void)
{
    if (pthread_mutex_lock(&shared->mutex) == EOWNERDEAD) {
        /* The dead child may have left half a host name. */
        pthread_mutex_consistent(&shared->mutex);
        widen_to_all();
    }
}

static void unlock(void)
{
    pthread_mutex_unlock(&shared->mutex);
}

bool shared_pending_any(void)
{
    return atomic_load(&shared->waiting) != 0;
}

void shared_pending_keep(struct span host)
{
    struct waiting_host *place = NULL;

    lock();
    for (size_t i = 0; i < SHARED_HOSTS; i++) {
        struct waiting_host *w = &shared->hosts[i];
        if (w->serial && span_eq_nocase(span_str(w->host), host))
            place = w;
        else if (!w->serial && !place)
            place = w;
    }
    if (!host.n || host.n >= SHARED_HOST_SIZE || !place || shared->all_serial) {
        widen_to_all();
    } else {
        memcpy(place->host, host.p, host.n);
        place->host[host.n] = '\0';
        place->serial = ++shared->serial;
        something_waits();
    }
    unlock();
}

void shared_pending_copy(struct shared_pending *out)
{
    lock();
    out->all = shared->all_serial != 0;
    out->serial = shared->serial;
    out->n = 0;
    for (size_t i = 0; i < SHARED_HOSTS; i++)
        if (shared->hosts[i].serial)
            memcpy(out->host[out->n++], shared->hosts[i].host, SHARED_HOST_SIZE);
    unlock();
}

void shared_pending_done(const struct shared_pending *copied)
{
    bool left = false;

    lock();
    if (shared->all_serial && shared->all_serial <= copied->serial)
        shared->all_serial = 0;
    for (size_t i = 0; i < SHARED_HOSTS; i++) {
        struct waiting_host *w = &shared->hosts[i];
        if (w->serial && w->serial <= copied->serial)
            w->serial = 0;
        left |= w->serial != 0;
    }
    if (!left && !shared->all_serial)
        nothing_waits();
    unlock();
}

/* --- what DetectionOnly counts --- */

void shared_count(enum detection_counter which)
{
    atomic_fetch_add_explicit(&shared->detected[which], 1, memory_order_relaxed);
}

bool shared_counts_take(uint64_t out[DETECTION_COUNT])
{
    const int64_t now = apr_time_now();
    int64_t before = atomic_load_explicit(&shared->reported_at, memory_order_relaxed);
    uint64_t any = 0;

    for (size_t i = 0; i < DETECTION_COUNT; i++)
        any |= atomic_load_explicit(&shared->detected[i], memory_order_relaxed);
    if (!any || (now >= before && now - before < REPORT_EVERY) ||
        !atomic_compare_exchange_strong(&shared->reported_at, &before, now))
        return false;
    for (size_t i = 0; i < DETECTION_COUNT; i++)
        out[i] = atomic_exchange(&shared->detected[i], 0);
    return true;
}

void shared_counts_return(const uint64_t counts[DETECTION_COUNT])
{
    for (size_t i = 0; i < DETECTION_COUNT; i++)
        atomic_fetch_add(&shared->detected[i], counts[i]);
}
