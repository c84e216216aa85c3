/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/flight.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PLACES 256u
#define LOOK_EVERY INT64_C(10000000) /* nanoseconds: whether the maker still lives */
#define LOCK_MOST 100000000L /* nanoseconds: the lock is held for microseconds, but for one who is stopped */

enum state { FREE, FLYING, LANDED };

struct place {
    _Atomic uint32_t changes; /* futex: grows when those who wait should look again */
    enum state state;
    pid_t maker;
    uint64_t ticket; /* of the claim, or of the moment it landed: the smallest is the oldest */
    _Atomic int64_t sign; /* CLOCK_MONOTONIC in ns: the maker was at work */
    uint8_t id[FLIGHT_ID_SIZE], digest[DIGEST_SIZE];
};

struct flights {
    pthread_mutex_t lock; /* robust: a process may be killed while it holds it. Never held while working */
    uint64_t tickets;
    struct place places[PLACES];
};

/* --- life --- */

struct flights *flights_new(void)
{
    pthread_mutexattr_t attributes;
    struct flights *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (f == MAP_FAILED)
        return NULL;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    const int error = pthread_mutex_init(&f->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (error) {
        munmap(f, sizeof *f);
        errno = error;
        return NULL;
    }
    return f;
}

void flights_free(struct flights *f)
{
    if (f)
        munmap(f, sizeof *f);
}

/* --- waiting --- */

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void wake(struct place *p)
{
    atomic_fetch_add(&p->changes, 1);
    syscall(SYS_futex, &p->changes, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void sleep_on(struct place *p, uint32_t seen, int64_t ns)
{
    const struct timespec most = {.tv_nsec = ns < LOOK_EVERY ? ns : LOOK_EVERY};

    syscall(SYS_futex, &p->changes, FUTEX_WAIT, seen, &most, NULL, 0);
}

/* What a dead process left half written is nobody's. */
static void forget_all(struct flights *f)
{
    for (size_t i = 0; i < PLACES; i++) {
        f->places[i].state = FREE;
        wake(&f->places[i]);
    }
}

/* False: somebody was stopped while he held it. */
static bool lock(struct flights *f)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOCK_MOST;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    const int error = pthread_mutex_timedlock(&f->lock, &until);
    if (error == EOWNERDEAD) {
        pthread_mutex_consistent(&f->lock);
        forget_all(f);
    }
    return error == 0 || error == EOWNERDEAD;
}

static void unlock(struct flights *f)
{
    pthread_mutex_unlock(&f->lock);
}

/* --- places; the lock is held --- */

static struct place *find(struct flights *f, const uint8_t id[FLIGHT_ID_SIZE])
{
    for (size_t i = 0; i < PLACES; i++)
        if (f->places[i].state != FREE && memcmp(f->places[i].id, id, FLIGHT_ID_SIZE) == 0)
            return &f->places[i];
    return NULL;
}

/* A free one, or that of the oldest result; NULL when all are being worked for. */
static struct place *find_room(struct flights *f)
{
    struct place *oldest = NULL;

    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &f->places[i];
        if (p->state == FREE)
            return p;
        if (p->state == LANDED && (!oldest || p->ticket < oldest->ticket))
            oldest = p;
    }
    return oldest;
}

static void claim(struct flights *f, struct place *p, const uint8_t id[FLIGHT_ID_SIZE], int64_t now,
                  struct flight *mine)
{
    p->state = FLYING;
    p->maker = getpid();
    p->ticket = ++f->tickets;
    atomic_store(&p->sign, now);
    memcpy(p->id, id, FLIGHT_ID_SIZE);
    *mine = (struct flight){.place = (uint32_t)(p - f->places), .ticket = p->ticket};
}

/* A dead process that its parent has not noticed yet counts as alive; patience ends that as well. */
static bool lost(const struct place *p, int64_t patience_ns, int64_t now)
{
    return now - atomic_load(&p->sign) >= patience_ns || (kill(p->maker, 0) != 0 && errno == ESRCH);
}

/* --- entry points --- */

enum flight_result flights_begin(struct flights *f, const uint8_t id[FLIGHT_ID_SIZE], int64_t patience_ns,
                                 int64_t most_ns, struct flight *mine, uint8_t digest[DIGEST_SIZE])
{
    const int64_t until = now_ns() + most_ns;
    enum flight_result result = FLIGHT_ALONE;
    struct place *p;

    if (!lock(f))
        return FLIGHT_ALONE;
    for (;;) {
        const int64_t now = now_ns();

        p = find(f, id);
        if (p && p->state == LANDED) {
            memcpy(digest, p->digest, DIGEST_SIZE);
            result = FLIGHT_LANDED;
            break;
        }
        if (!p || lost(p, patience_ns, now)) {
            p = p ? p : find_room(f);
            if (p) {
                claim(f, p, id, now, mine);
                result = FLIGHT_MINE;
            }
            break;
        }
        if (now >= until)
            break;
        const uint32_t seen = atomic_load(&p->changes);
        unlock(f);
        sleep_on(p, seen, until - now);
        if (!lock(f))
            return FLIGHT_ALONE;
    }
    unlock(f);
    return result;
}

/* Without the lock: of a claim that was lost meanwhile it makes others wait a little longer, no more. */
void flights_sign(struct flights *f, const struct flight *mine)
{
    atomic_store(&f->places[mine->place].sign, now_ns());
}

void flights_land(struct flights *f, const struct flight *mine, const uint8_t *digest)
{
    struct place *p = &f->places[mine->place];

    if (!lock(f))
        return; /* the claim is given up when patience is over */
    /* The claim may be another one's now, and the result then comes from there. */
    if (p->state == FLYING && p->ticket == mine->ticket) {
        if (digest)
            memcpy(p->digest, digest, DIGEST_SIZE);
        p->state = digest ? LANDED : FREE;
        p->ticket = ++f->tickets;
        wake(p);
    }
    unlock(f);
}
