/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table stopped at every instruction, by ptrace:
 *
 *   table_step [seconds, or "all"] [seed] [stride]
 *
 * Writer stepped, for so many seconds: after every instruction of puts, removals, invalidations,
 * cleaning and evictions the table is read as it would be found had the writer been killed there.
 * Reader stepped: for every stride-th instruction of a lookup (1: every one), the lookup is stopped
 * there, the writer acts, and the lookup goes on. What the writer does: lets the ring come round over the record;
 * replaces it; invalidates it and then renews a lease that had lapsed; cleans the cells of an invalidation that
 * was before the lookup (no hit may come of either).
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "etagd/writer_private.h"
#include "tests/stress/table_oracle.h"

#define LOOKUPS_PER_STEP 6u
#define SKIPPED 77

static const struct writer_size table_size = {
    .bytes = (4u << 20) + (60u << 10), .log2_cells = 18, .dict_bytes = ORACLE_DICT_BYTES};

struct shared {
    struct oracle oracle;
    _Atomic bool inside; /* the tracee is within the code to be stepped */
    _Atomic uint32_t key;
    enum table_result result;
    struct table_copy copy;
};

static struct shared *shared;
static struct table_id *ids;
static uint64_t lookups, hits, violations;

static void judge(const char *where, uint64_t step, uint32_t key, enum oracle_verdict verdict, enum table_result result)
{
    lookups++;
    hits += result == TABLE_HIT;
    if (verdict <= ORACLE_RIGHT)
        return;
    if (violations++ < 5)
        fprintf(stderr, "VIOLATION %s, instruction %llu, key %u, verdict %d\n", where, (unsigned long long)step, key,
                verdict);
}

/* ---- the tracer's hand ---- */

/* In the tracee: what follows is stepped, until inside is cleared. */
static void enter(void)
{
    atomic_store(&shared->inside, true);
    raise(SIGUSR1);
}

static void leave(void)
{
    atomic_store(&shared->inside, false);
}

static bool stopped_by(pid_t pid, int signal_number)
{
    int status;

    return waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == signal_number;
}

static bool run_to_entry(pid_t pid)
{
    return ptrace(PTRACE_CONT, pid, NULL, NULL) == 0 && stopped_by(pid, SIGUSR1);
}

/* False when the tracee has left the code to be stepped, or died. */
static bool step(pid_t pid)
{
    return ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 && stopped_by(pid, SIGTRAP) && atomic_load(&shared->inside);
}

/* A child that runs this under trace, stopped at its first entry. */
static pid_t trace(void (*run)(struct writer *w, uint64_t seed), struct writer *w, uint64_t seed)
{
    const pid_t pid = fork();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(SKIPPED);
        raise(SIGSTOP);
        run(w, seed);
        _exit(0);
    }
    if (pid < 0 || !stopped_by(pid, SIGSTOP))
        return -1;
    if (!run_to_entry(pid)) {
        fprintf(stderr, "the traced process ended early\n");
        exit(1);
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void nothing(struct writer *w, uint64_t seed)
{
    (void)w, (void)seed;
    enter();
    leave();
}

/* Why stepping is impossible here, or NULL. */
static const char *obstacle(void)
{
    const pid_t pid = trace(nothing, NULL, 0);

    if (pid < 0)
        return "ptrace is not permitted";
    const bool stepped = ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 && stopped_by(pid, SIGTRAP);
    end(pid);
    return stepped ? NULL : "this system cannot single-step";
}

/* ---- the writer stepped ---- */

static void stepped_change(struct writer *w, uint64_t random)
{
    struct oracle *o = &shared->oracle;
    const uint32_t key = (uint32_t)(random >> 40) % ORACLE_KEYS, what = (uint32_t)random & 15;
    const bool cleaned = (random >> 4 & 63) == 0; /* a long pass: not often */
    const uint64_t version = oracle_next(o, key);
    struct oracle_put p;
    const struct span scope = oracle_scope(p.text[0], 1, key);

    if (what > 3)
        oracle_prepare(&p, w, key, version);
    else
        p.put.key = oracle_key(p.name, key);
    atomic_store(&shared->key, key);
    enter();
    if (what > 3)
        writer_put(w, &p.put);
    else if (what > 1)
        writer_remove(w, p.put.key);
    else
        writer_invalidate(w, &scope, 1);
    if (cleaned)
        oracle_clean(w);
    leave();
    if (what > 1)
        oracle_forbid_older(o, key, version);
    else
        oracle_forbid_scope(o, 1, key, version);
}

/* Fills both rings, stops just before a chunk must be evicted, then asks to be stepped. */
static void writing(struct writer *w, uint64_t seed)
{
    const struct ring *small = &w->ring[RING_SMALL], *large = &w->ring[RING_MAIN];
    const uint64_t lap = large->tail + large->words;

    while (large->tail < lap || small->limit - small->tail > RING_CHUNK + 400) {
        const uint64_t random = oracle_random(&seed);
        oracle_change(&shared->oracle, w, random | 4096);
        w->touch[random % w->touch_bytes] = (uint8_t)(random >> 32);
    }
    for (;;)
        stepped_change(w, oracle_random(&seed));
}

static void read_after_step(const struct table *t, uint64_t *random, uint64_t steps)
{
    for (unsigned i = 0; i < LOOKUPS_PER_STEP; i++) {
        const uint64_t r = oracle_random(random);
        const uint32_t key = i == 0 ? atomic_load(&shared->key) : oracle_recent(&shared->oracle, r >> 8, ORACLE_RECENT);
        enum table_result result;
        const enum oracle_verdict verdict = oracle_look(&shared->oracle, t, ids, key, &result);
        judge("writer stepped", steps, key, verdict, result);
    }
}

static void renew(struct writer *w)
{
    writer_lease(w, table_now_ms() + TABLE_LEASE_MAX_MS);
}

static bool step_the_writer(struct writer *w, unsigned seconds, uint64_t seed)
{
    const uint64_t until = table_now_ms() + seconds * UINT64_C(1000);
    const pid_t pid = trace(writing, w, seed);
    uint64_t steps = 0, changes = 0, advances = 0;
    uint64_t limit[2] = {w->header->reserved[0], w->header->reserved[1]};

    while (table_now_ms() < until) {
        while (step(pid) && table_now_ms() < until) {
            steps++;
            for (unsigned i = 0; i < 2; i++) {
                advances += limit[i] != w->header->reserved[i];
                limit[i] = w->header->reserved[i];
            }
            read_after_step(writer_table(w), &seed, steps);
        }
        changes++;
        renew(w);
        if (table_now_ms() < until && !run_to_entry(pid)) {
            fprintf(stderr, "the stepped writer died\n");
            return false;
        }
    }
    end(pid);
    printf("writer stepped: %llu instructions of %llu changes, %llu advances of a ring\n", (unsigned long long)steps,
           (unsigned long long)changes, (unsigned long long)advances);
    return steps > 1000;
}

/* ---- the reader stepped ---- */

static void reading(struct writer *w, uint64_t seed)
{
    (void)seed;
    for (;;) {
        const struct table_id id = ids[atomic_load(&shared->key)];
        enter();
        shared->result = table_lookup(writer_table(w), id, &shared->copy);
        leave();
    }
}

/* Enough to come round the small ring, where new keys stand. */
static void come_round(struct writer *w, uint32_t key, uint64_t *random)
{
    const uint64_t until = w->ring[RING_SMALL].limit + w->ring[RING_SMALL].words + RING_CHUNK;

    (void)key;
    while (w->ring[RING_SMALL].tail < until) {
        const uint32_t other = (uint32_t)(oracle_random(random) >> 40) % ORACLE_KEYS;
        oracle_put(&shared->oracle, w, other, oracle_next(&shared->oracle, other));
    }
}

static void replace(struct writer *w, uint32_t key, uint64_t *random)
{
    (void)random;
    oracle_put(&shared->oracle, w, key, oracle_next(&shared->oracle, key));
}

/* The mark of an invalidation from before the lookup goes away under it. */
static void clean(struct writer *w, uint32_t key, uint64_t *random)
{
    (void)key, (void)random;
    writer_clean(w, writer_seq(w));
}

/* The lease had lapsed before the lookup began; the world has changed since. */
static void invalidate_and_renew(struct writer *w, uint32_t key, uint64_t *random)
{
    (void)random;
    oracle_invalidate(&shared->oracle, w, 1, key, oracle_next(&shared->oracle, key));
    renew(w);
}

/* Before a lookup: what was put is outdated from then on. */
static void lapse(struct writer *w, uint32_t key)
{
    writer_lease(w, table_now_ms());
    oracle_forbid_older(&shared->oracle, key, atomic_load(&shared->oracle.at_least[key]) + 1);
}

static void invalidate(struct writer *w, uint32_t key)
{
    oracle_invalidate(&shared->oracle, w, 1, key, oracle_next(&shared->oracle, key));
}

struct scenario {
    const char *name;
    void (*before)(struct writer *w, uint32_t key); /* or NULL */
    void (*act)(struct writer *w, uint32_t key, uint64_t *random);
    unsigned finer; /* divides the stride, where few instructions matter */
};

/* A key that is not in the table yet; one that obeys lease and scopes. */
static uint32_t fresh_key(struct writer *w, uint64_t *random)
{
    for (;;) {
        const uint32_t key = (uint32_t)(oracle_random(random) >> 40) % ORACLE_KEYS;
        if (!oracle_is_self(key) && !index_find(w, ids[key]))
            return key;
    }
}

/* One lookup interrupted before its n-th instruction. False when it has fewer. */
static bool interrupt_at(pid_t pid, struct writer *w, const struct scenario *s, unsigned n, uint64_t *random)
{
    const uint32_t key = fresh_key(w, random);

    oracle_put(&shared->oracle, w, key, oracle_next(&shared->oracle, key));
    if (s->before)
        s->before(w, key);
    const uint64_t at_least = atomic_load(&shared->oracle.at_least[key]);
    atomic_store(&shared->key, key);
    /* The tracee stands at an entry made with the key before: one round to take up this one. */
    bool alive = run_to_entry(pid), within = true;
    for (unsigned i = 0; alive && within && i < n; i++)
        within = step(pid);
    if (within)
        s->act(w, key, random);
    alive = alive && run_to_entry(pid);
    if (!alive) {
        fprintf(stderr, "the stepped reader died\n");
        exit(1);
    }
    judge(s->name, n, key, oracle_judge(writer_table(w), key, at_least, shared->result, &shared->copy), shared->result);
    renew(w);
    return within;
}

static bool step_the_reader(struct writer *w, const struct scenario *s, unsigned stride, uint64_t seed)
{
    const pid_t pid = trace(reading, w, seed);
    const uint64_t before = hits;
    unsigned n = (unsigned)(seed % stride), stops = 0;

    for (; interrupt_at(pid, w, s, n, &seed); n += stride)
        stops++;
    end(pid);
    printf("reader stepped, %s: %u stops within %u instructions, %llu hits\n", s->name, stops, n,
           (unsigned long long)(hits - before));
    return n > 100;
}

/* Both sides on one processor: a stop is then a switch, not a wake-up elsewhere. */
static void share_a_processor(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
    static const struct scenario scenarios[] = {
        {"the ring comes round", NULL, come_round, 1},
        {"the record is replaced", NULL, replace, 1},
        {"invalidated, lease renewed", lapse, invalidate_and_renew, 1},
        {"invalidated, cells cleaned", invalidate, clean, 2},
    };
    const bool all = argc > 1 && strcmp(argv[1], "all") == 0; /* the writer for two minutes, every stop of the reader */
    const unsigned seconds = all ? 120 : argc > 1 ? (unsigned)atoi(argv[1]) : 4;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : table_now_ms() * 1000 + (uint64_t)getpid();
    const unsigned stride = argc > 3 && atoi(argv[3]) > 0 ? (unsigned)atoi(argv[3]) : all ? 1 : 8;
    const char *why;
    bool done = true;

    share_a_processor();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    if ((why = obstacle())) {
        printf("skipped: %s\n", why);
        return SKIPPED;
    }
    printf("table_step: seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    struct writer *w = writer_create(&table_size, &why);
    if (!w) {
        fprintf(stderr, "writer_create: %s\n", why);
        return 1;
    }
    renew(w);
    ids = oracle_identify(writer_table(w));
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        done = step_the_reader(w, &scenarios[i], (stride - 1) / scenarios[i].finer + 1, seed + i) && done;
    done = oracle_both_forms(w) && done;
    done = step_the_writer(w, seconds, seed) && done; /* last: the child's writer goes on with this one's memory */
    printf("lookups %llu, hits %llu, violations %llu\n", (unsigned long long)lookups, (unsigned long long)hits,
           (unsigned long long)violations);
    writer_retire(w);
    free(ids);
    return violations != 0 || !done;
}
