/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer, several readers, and an oracle (table_oracle.h), as threads and as processes:
 *
 *   table_stress [seconds] [seed] [readers]
 *
 * Threads: all in one process, so that ThreadSanitizer sees both sides. Processes: as in service, over
 * the descriptors; the writer is killed at random instants, readers are stopped and continued, and go
 * on reading the orphaned table until after its lease, when nothing trusted may be believed.
 *
 * In both, the lease is let lapse again and again, the world changes unseen, and only then are flush
 * and renewal written: who looks at the lease last answers with what was true before (table.h).
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/table_oracle.h"

#define READERS_MAX 16
#define LEASE_MS 6u
#define CHANGES_PER_LEASE 512u
#define LEASES_PER_LAPSE 8u
/* Cells as large as allowed make the rings small: they are lapped hundreds of times. The odd size leaves
 * nothing over for the index, so that it fills. */
static const struct writer_size table_size = {
    .bytes = (4u << 20) + (60u << 10), .log2_cells = 18, .dict_bytes = ORACLE_DICT_BYTES};

enum { PHASE_LIVE, PHASE_ORPHANED, PHASE_LAPSED, PHASE_STOP };

struct shared {
    struct oracle oracle;
    _Atomic int phase;
    _Atomic uint64_t lookups, hits, self_hits_lapsed, results[6];
    _Atomic uint64_t wrong, outdated, bad_capsules, believed_without_lease;
};

static struct shared *shared;

static uint64_t violations(void)
{
    return shared->wrong + shared->outdated + shared->bad_capsules + shared->believed_without_lease;
}

/* ---- reader ---- */

struct counts {
    uint64_t lookups, hits, self_hits_lapsed, results[6];
};

static void add_counts(const struct counts *c)
{
    atomic_fetch_add(&shared->lookups, c->lookups);
    atomic_fetch_add(&shared->hits, c->hits);
    atomic_fetch_add(&shared->self_hits_lapsed, c->self_hits_lapsed);
    for (int i = 0; i < 6; i++)
        atomic_fetch_add(&shared->results[i], c->results[i]);
}

static void report(enum oracle_verdict verdict, uint32_t key)
{
    static _Atomic int shown;
    static const char *const name[] = {"", "", "wrong bytes", "outdated", "wrong capsule"};

    if (atomic_fetch_add(&shown, 1) < 3)
        fprintf(stderr, "VIOLATION %s, key %u\n", name[verdict], key);
    atomic_fetch_add(verdict == ORACLE_WRONG      ? &shared->wrong
                     : verdict == ORACLE_OUTDATED ? &shared->outdated
                                                  : &shared->bad_capsules,
                     1);
}

/* A quarter any key, a quarter one of the very last, else one of the recent. */
static uint32_t choose(uint64_t random)
{
    if (random & 1)
        return oracle_recent(&shared->oracle, random >> 8, ORACLE_RECENT);
    if (random & 2)
        return oracle_recent(&shared->oracle, random >> 8, 4);
    return (uint32_t)(random >> 32) % ORACLE_KEYS;
}

/* Until told to stop; in an orphaned table, until enough was asked after its lease. */
static void read_on(const struct table *t, uint64_t seed)
{
    struct table_id *ids = oracle_identify(t);
    struct counts c = {0};
    uint64_t random = seed, after_lease = 0;

    for (;;) {
        const int phase = atomic_load_explicit(&shared->phase, memory_order_acquire);
        if (phase == PHASE_STOP || after_lease == 20000)
            break;
        after_lease += phase == PHASE_LAPSED;
        const uint64_t r = oracle_random(&random);
        const uint32_t key = choose(r);
        enum table_result result;
        const enum oracle_verdict verdict = oracle_look(&shared->oracle, t, ids, key, &result);
        c.lookups++;
        c.results[result - TABLE_CONFLICT]++;
        if (verdict > ORACLE_RIGHT)
            report(verdict, key);
        if (result != TABLE_HIT)
            continue;
        c.hits++;
        if (phase == PHASE_LAPSED && oracle_is_self(key))
            c.self_hits_lapsed++;
        else if (phase == PHASE_LAPSED)
            atomic_fetch_add(&shared->believed_without_lease, 1);
    }
    add_counts(&c);
    free(ids);
}

/* ---- writer ---- */

static void sleep_until(uint64_t boottime_ms)
{
    const struct timespec until = {.tv_sec = (time_t)(boottime_ms / 1000),
                                   .tv_nsec = (long)(boottime_ms % 1000) * 1000000};

    while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL) != 0)
        ;
}

/* The world moves while nobody holds a lease: no lookup that begins after the lapse may return what was
 * before, although the table learns of the change only now. */
static void lapse(struct writer *w, uint64_t lease_end, uint64_t random)
{
    const uint32_t key = oracle_recent(&shared->oracle, random >> 8, 4);
    const uint64_t version = atomic_load(&shared->oracle.version) + 1;
    const unsigned kind = random & 1;
    char text[64];
    const struct span scope = oracle_scope(text, kind, key);

    sleep_until(lease_end);
    oracle_forbid_scope(&shared->oracle, kind, key, version);
    writer_invalidate(w, &scope, 1);
}

static void write_on(struct writer *w, uint64_t seed)
{
    uint64_t random = seed;

    while (atomic_load_explicit(&shared->phase, memory_order_relaxed) == PHASE_LIVE) {
        uint64_t lease_end = 0;
        for (unsigned i = 0; i < LEASES_PER_LAPSE * CHANGES_PER_LEASE; i++) {
            if (i % CHANGES_PER_LEASE == 0)
                writer_lease(w, lease_end = table_now_ms() + LEASE_MS);
            oracle_change(&shared->oracle, w, oracle_random(&random));
        }
        lapse(w, lease_end, oracle_random(&random));
    }
}

/* ---- threads ---- */

struct thread {
    pthread_t id;
    struct writer *writer;
    uint64_t seed;
};

static void *reader_thread(void *arg)
{
    const struct thread *me = arg;

    read_on(writer_table(me->writer), me->seed);
    return NULL;
}

static void *writer_thread(void *arg)
{
    const struct thread *me = arg;

    write_on(me->writer, me->seed);
    return NULL;
}

static struct writer *create(void)
{
    const char *why;
    struct writer *w = writer_create(&table_size, &why);

    if (!w) {
        fprintf(stderr, "writer_create: %s\n", why);
        exit(1);
    }
    return w;
}

static void start(pthread_t *id, void *(*run)(void *), struct thread *arg)
{
    if (pthread_create(id, NULL, run, arg) != 0) {
        fprintf(stderr, "pthread_create failed\n");
        exit(1);
    }
}

/* False when not everything was exercised. */
static bool as_threads(unsigned seconds, uint64_t seed, unsigned readers)
{
    struct writer *w = create();
    struct thread thread[READERS_MAX + 1];
    struct writer_stats stats;

    for (unsigned i = 0; i <= readers; i++) {
        thread[i] = (struct thread){.writer = w, .seed = seed + i};
        start(&thread[i].id, i ? reader_thread : writer_thread, &thread[i]);
    }
    sleep(seconds);
    atomic_store(&shared->phase, PHASE_STOP);
    for (unsigned i = 0; i <= readers; i++)
        pthread_join(thread[i].id, NULL);
    writer_stats(w, &stats);
    printf("threads: puts %llu evicted %llu promoted %llu reinserted %llu ghosts %llu kicked %llu invalidations %llu\n",
           (unsigned long long)stats.puts, (unsigned long long)stats.evicted, (unsigned long long)stats.promoted,
           (unsigned long long)stats.reinserted, (unsigned long long)stats.ghost_hits, (unsigned long long)stats.kicked,
           (unsigned long long)stats.invalidations);
    const bool both = oracle_both_forms(w);
    writer_retire(w);
    return both;
}

/* ---- processes ---- */

static pid_t fork_reader(const struct writer *w, uint64_t seed)
{
    const pid_t pid = fork();
    const char *why;

    if (pid != 0)
        return pid;
    struct table *t = table_map(writer_table_fd(w), writer_touch_fd(w), &why);
    if (!t) {
        fprintf(stderr, "table_map: %s\n", why);
        _exit(2);
    }
    read_on(t, seed);
    _exit(0);
}

static pid_t fork_writer(struct writer *w, uint64_t seed)
{
    const pid_t pid = fork();

    if (pid != 0)
        return pid;
    write_on(w, seed);
    _exit(0);
}

static unsigned died(pid_t pid)
{
    int status;

    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* One life of a writer. Returns the number of readers that did not end well. */
static unsigned one_life(uint64_t *random, unsigned readers)
{
    struct writer *w = create();
    pid_t reader[READERS_MAX];
    unsigned crashed = 0;

    for (uint32_t k = 0; k < ORACLE_KEYS; k++)
        oracle_forbid_older(&shared->oracle, k, atomic_load(&shared->oracle.version) + 1);
    atomic_store(&shared->phase, PHASE_LIVE);
    for (unsigned i = 0; i < readers; i++)
        reader[i] = fork_reader(w, oracle_random(random));
    const pid_t writer = fork_writer(w, oracle_random(random));
    for (unsigned n = 3 + (unsigned)(oracle_random(random) % 5); n; n--) {
        const pid_t victim = reader[oracle_random(random) % readers];
        /* Moments at random, anywhere in a lookup: there is no event to await. */
        usleep(1000 + (useconds_t)(oracle_random(random) % 5000));
        kill(victim, SIGSTOP);
        usleep((useconds_t)(oracle_random(random) % 10000));
        kill(victim, SIGCONT);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    atomic_store(&shared->phase, PHASE_ORPHANED);
    const uint64_t left = table_lease_left(writer_table(w)); /* before now is read: we may be preempted in between */
    sleep_until(table_now_ms() + left + 1);
    atomic_store(&shared->phase, PHASE_LAPSED);
    for (unsigned i = 0; i < readers; i++)
        crashed += died(reader[i]);
    writer_retire(w);
    return crashed;
}

static unsigned as_processes(unsigned seconds, uint64_t seed, unsigned readers)
{
    const uint64_t until = table_now_ms() + seconds * UINT64_C(1000);
    unsigned kills = 0, crashed = 0;

    for (; table_now_ms() < until; kills++)
        crashed += one_life(&seed, readers);
    printf("processes: writers killed %u, readers crashed %u, hits of files after the lease %llu\n", kills, crashed,
           (unsigned long long)shared->self_hits_lapsed);
    return crashed;
}

int main(int argc, char **argv)
{
    const unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : table_now_ms() * 1000 + (uint64_t)getpid();
    unsigned readers = argc > 3 ? (unsigned)atoi(argv[3]) : 3;

    if (readers < 1 || readers > READERS_MAX)
        readers = 3;
    printf("table_stress: seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    const bool both = as_threads((seconds + 1) / 2, seed, readers);
    const unsigned crashed = as_processes(seconds / 2, oracle_mix(seed), readers);
    printf("lookups %llu: hit %llu miss %llu void %llu stale %llu | violations: wrong %llu outdated %llu capsule %llu "
           "without lease %llu\n",
           (unsigned long long)shared->lookups, (unsigned long long)shared->hits,
           (unsigned long long)shared->results[TABLE_MISS - TABLE_CONFLICT],
           (unsigned long long)shared->results[TABLE_VOID - TABLE_CONFLICT],
           (unsigned long long)shared->results[TABLE_STALE - TABLE_CONFLICT], (unsigned long long)shared->wrong,
           (unsigned long long)shared->outdated, (unsigned long long)shared->bad_capsules,
           (unsigned long long)shared->believed_without_lease);
    if (shared->hits == 0 || !both) {
        fprintf(stderr, "no lookup hit, or no capsule of one form: not everything was tested\n");
        return 1;
    }
    return violations() != 0 || crashed != 0;
}
