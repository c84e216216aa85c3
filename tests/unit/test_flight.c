/* SPDX-License-Identifier: Apache-2.0 */
/* Work that is done once by all processes, and who dies meanwhile. */
#include "etagd/lib/flight.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
#define LONG (60000 * MS) /* no test waits for that */
#define CHILDREN 20

/* What the processes of a test tell each other. */
struct board {
    _Atomic int ready, made, landed, alone, wrong;
    _Atomic bool go;
};

static struct flights *flights;
static struct board *board;

static int set_up(void **state)
{
    (void)state;
    flights = flights_new();
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return flights && board != MAP_FAILED ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    flights_free(flights);
    munmap(board, sizeof *board);
    return 0;
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static const uint8_t *id_of(unsigned i)
{
    static uint8_t id[FLIGHT_ID_SIZE];

    memset(id, 0, sizeof id);
    memcpy(id, &i, sizeof i);
    return id;
}

static const uint8_t *digest_of(unsigned i)
{
    static uint8_t digest[DIGEST_SIZE];

    memset(digest, (int)i + 1, sizeof digest);
    return digest;
}

static enum flight_result begin_most(unsigned i, int64_t patience, int64_t most, struct flight *mine)
{
    uint8_t digest[DIGEST_SIZE];
    const enum flight_result r = flights_begin(flights, id_of(i), patience, most, mine, digest);

    if (r == FLIGHT_LANDED && memcmp(digest, digest_of(i), DIGEST_SIZE) != 0)
        board->wrong++;
    return r;
}

static enum flight_result begin(unsigned i, int64_t patience, struct flight *mine)
{
    return begin_most(i, patience, patience, mine);
}

static void results_stay_for_those_who_come_later(void **state)
{
    struct flight mine, other;

    (void)state;
    assert_int_equal(begin(1, LONG, &mine), FLIGHT_MINE);
    assert_int_equal(begin(2, LONG, &other), FLIGHT_MINE);
    flights_land(flights, &mine, digest_of(1));
    assert_int_equal(begin(1, LONG, &mine), FLIGHT_LANDED);
    flights_land(flights, &other, NULL);
    assert_int_equal(begin(2, LONG, &other), FLIGHT_MINE);
    assert_int_equal(board->wrong, 0);
}

static void old_results_make_room(void **state)
{
    struct flight mine;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(begin(i, LONG, &mine), FLIGHT_MINE);
        flights_land(flights, &mine, digest_of(i));
    }
    assert_int_equal(begin(999, LONG, &mine), FLIGHT_LANDED);
    assert_int_equal(begin(0, LONG, &mine), FLIGHT_MINE);
    assert_int_equal(board->wrong, 0);
}

static void too_much_work_is_done_alone(void **state)
{
    struct flight mine[256], more;

    (void)state;
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(begin(i, LONG, &mine[i]), FLIGHT_MINE);
    assert_int_equal(begin(1000, LONG, &more), FLIGHT_ALONE);
    flights_land(flights, &mine[7], digest_of(7));
    assert_int_equal(begin(1000, LONG, &more), FLIGHT_MINE);
}

/* --- other processes --- */

static pid_t child(void (*run)(void))
{
    const pid_t pid = fork();

    if (pid == 0) {
        run();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void await(_Atomic int *count, int wanted)
{
    for (int i = 0; *count < wanted; i++) {
        assert_true(i < 10000);
        pause_ms(1);
    }
}

static void count(enum flight_result r)
{
    if (r == FLIGHT_LANDED)
        board->landed++;
    else if (r == FLIGHT_ALONE)
        board->alone++;
}

static void one_of_many(void)
{
    struct flight mine;

    board->ready++;
    while (!board->go)
        pause_ms(1);
    const enum flight_result r = begin(5, LONG, &mine);
    if (r == FLIGHT_MINE) {
        board->made++;
        pause_ms(20); /* the work, during which the others come */
        flights_land(flights, &mine, digest_of(5));
    }
    count(r);
}

static void many_processes_make_it_once(void **state)
{
    pid_t pids[CHILDREN];

    (void)state;
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = child(one_of_many);
    await(&board->ready, CHILDREN);
    board->go = true;
    for (int i = 0; i < CHILDREN; i++)
        waitpid(pids[i], NULL, 0);
    assert_int_equal(board->made, 1);
    assert_int_equal(board->landed, CHILDREN - 1);
    assert_int_equal(board->wrong + board->alone, 0);
}

static void claims_and_hangs(void)
{
    struct flight mine;

    if (begin(5, LONG, &mine) == FLIGHT_MINE)
        board->ready++;
    for (;;)
        pause();
}

/* After the kill the one who waits is told within a look or two, not after its patience. */
static void a_maker_that_is_killed_is_replaced(void **state)
{
    const pid_t maker = child(claims_and_hangs);

    (void)state;
    await(&board->ready, 1);
    const pid_t waiter = child(one_of_many);
    board->go = true;
    await(&board->ready, 2);
    pause_ms(30);
    assert_int_equal(board->made, 0);
    kill(maker, SIGKILL);
    waitpid(maker, NULL, 0);
    waitpid(waiter, NULL, 0);
    assert_int_equal(board->made, 1);
}

static void a_maker_that_hangs_is_waited_for_with_patience_only(void **state)
{
    const pid_t maker = child(claims_and_hangs);
    struct flight mine, second;

    (void)state;
    await(&board->ready, 1);
    const int64_t begun = now();
    assert_int_equal(begin(5, 50 * MS, &mine), FLIGHT_MINE); /* taken over */
    assert_true(now() - begun < 5000 * MS);
    /* Its own claim is young: the next one waits, and then goes alone or takes it over. */
    assert_int_not_equal(begin(5, 50 * MS, &second), FLIGHT_LANDED);
    flights_land(flights, &mine, digest_of(5));
    kill(maker, SIGKILL);
    waitpid(maker, NULL, 0);
}

static void makes_slowly(void)
{
    struct flight mine;

    if (begin(5, LONG, &mine) != FLIGHT_MINE)
        return;
    board->ready++;
    while (!board->go) {
        flights_sign(flights, &mine);
        pause_ms(1);
    }
    flights_land(flights, &mine, digest_of(5));
}

static void waits_with_little_patience(void)
{
    struct flight mine;

    board->ready++;
    const enum flight_result r = begin_most(5, 500 * MS, LONG, &mine);
    if (r == FLIGHT_MINE)
        board->made++;
    count(r);
}

/* A second of work, half a second of patience, and signs all the while. */
static void a_maker_that_goes_on_is_waited_for(void **state)
{
    const pid_t maker = child(makes_slowly);

    (void)state;
    await(&board->ready, 1);
    const pid_t waiter = child(waits_with_little_patience);
    await(&board->ready, 2);
    pause_ms(1000);
    assert_int_equal(board->made + board->landed, 0);
    board->go = true;
    waitpid(waiter, NULL, 0);
    waitpid(maker, NULL, 0);
    assert_int_equal(board->landed, 1);
}

/* But not for ever. */
static void waiting_has_an_end(void **state)
{
    const pid_t maker = child(makes_slowly);
    struct flight mine;

    (void)state;
    await(&board->ready, 1);
    const int64_t begun = now();
    assert_int_equal(begin_most(5, LONG, 50 * MS, &mine), FLIGHT_ALONE);
    assert_true(now() - begun >= 50 * MS && now() - begun < 5000 * MS);
    board->go = true;
    waitpid(maker, NULL, 0);
}

static void many_wait_for_one_that_hangs(void)
{
    struct flight mine;

    board->ready++;
    const enum flight_result r = begin_most(5, 100 * MS, LONG, &mine);
    if (r == FLIGHT_MINE) {
        board->made++;
        flights_land(flights, &mine, digest_of(5));
    }
    count(r);
}

/* All lose patience at one moment: one takes over, the others go on waiting for it. */
static void one_of_those_who_wait_takes_over(void **state)
{
    const pid_t maker = child(claims_and_hangs);
    pid_t pids[CHILDREN];

    (void)state;
    await(&board->ready, 1);
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = child(many_wait_for_one_that_hangs);
    for (int i = 0; i < CHILDREN; i++)
        waitpid(pids[i], NULL, 0);
    assert_int_equal(board->made, 1);
    assert_int_equal(board->landed, CHILDREN - 1);
    assert_int_equal(board->wrong + board->alone, 0);
    kill(maker, SIGKILL);
    waitpid(maker, NULL, 0);
}

/* Who lost its claim brings its result too late: the other one's counts, and no place is overwritten. */
static void a_lost_claim_says_nothing(void **state)
{
    struct flight first, second;
    uint8_t digest[DIGEST_SIZE];

    (void)state;
    assert_int_equal(begin(5, 0, &first), FLIGHT_MINE);
    assert_int_equal(begin(5, 0, &second), FLIGHT_MINE);
    flights_land(flights, &first, digest_of(77));
    assert_int_equal(begin(5, 0, &first), FLIGHT_MINE); /* nothing has landed */
    flights_land(flights, &first, digest_of(5));
    flights_land(flights, &second, digest_of(88));
    assert_int_equal(flights_begin(flights, id_of(5), 0, 0, &first, digest), FLIGHT_LANDED);
    assert_memory_equal(digest, digest_of(5), DIGEST_SIZE);
}

/* Its first member is the lock (flight.c). */
static void holds_the_lock(void)
{
    pthread_mutex_lock((pthread_mutex_t *)flights);
    atomic_fetch_add(&board->ready, 1);
    for (;;)
        pause();
}

static void nobody_depends_on_one_who_is_stopped_inside(void **state)
{
    uint8_t digest[DIGEST_SIZE];
    struct flight mine, late;

    (void)state;
    assert_int_equal(flights_begin(flights, id_of(1), LONG, LONG, &mine, digest), FLIGHT_MINE);
    const pid_t stopped = child(holds_the_lock);
    await(&board->ready, 1);
    const int64_t begun = now();
    alarm(20);
    assert_int_equal(flights_begin(flights, id_of(2), LONG, LONG, &late, digest), FLIGHT_ALONE);
    flights_land(flights, &mine, digest);
    alarm(0);
    assert_true(now() - begun < 10000 * MS);
    kill(stopped, SIGKILL);
    waitpid(stopped, NULL, 0);
    assert_int_equal(flights_begin(flights, id_of(2), LONG, LONG, &late, digest), FLIGHT_MINE);
}

static void works_until_killed(void)
{
    struct flight mine;

    for (unsigned i = 0;; i++)
        if (begin(i % 8, 5 * MS, &mine) == FLIGHT_MINE)
            flights_land(flights, &mine, i % 3 ? digest_of(i % 8) : NULL);
}

/* Killed anywhere, also with the lock in hand: the others go on, and never with a wrong result. */
static void processes_die_anywhere(void **state)
{
    uint64_t killed = 0;
    struct flight mine;

    (void)state;
    for (int round = 0; round < 60; round++) {
        pid_t pids[4];
        for (int i = 0; i < 4; i++)
            pids[i] = child(works_until_killed);
        pause_ms(2);
        for (int i = 0; i < 4; i++, killed++)
            kill(pids[i], SIGKILL);
        for (int i = 0; i < 4; i++)
            waitpid(pids[i], NULL, 0);
        const int64_t begun = now();
        for (unsigned i = 0; i < 8; i++)
            if (begin(i, 5 * MS, &mine) == FLIGHT_MINE)
                flights_land(flights, &mine, digest_of(i));
        assert_true(now() - begun < 2000 * MS);
    }
    assert_int_equal(board->wrong, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(results_stay_for_those_who_come_later),
        TEST(old_results_make_room),
        TEST(too_much_work_is_done_alone),
        TEST(many_processes_make_it_once),
        TEST(a_maker_that_is_killed_is_replaced),
        TEST(a_maker_that_hangs_is_waited_for_with_patience_only),
        TEST(a_maker_that_goes_on_is_waited_for),
        TEST(waiting_has_an_end),
        TEST(one_of_those_who_wait_takes_over),
        TEST(a_lost_claim_says_nothing),
        TEST(nobody_depends_on_one_who_is_stopped_inside),
        TEST(processes_die_anywhere),
    };
    alarm(60); /* who waits for ever has failed */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
