/* SPDX-License-Identifier: Apache-2.0 */
/* What several Sentinels say together. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "etagd/sentinel_majority.h"

#define FAILOVER_MS 180000u
#define LONGEST_MS (2 * FAILOVER_MS + SENTINEL_ELECTION_MS)
#define OLD 1
#define NEW 2

struct told {
    struct sentinel_majority m;
    struct sentinel_answer says[REDIS_SEEDS];
    uint64_t round, now_ms;
};

static struct redis_address at(unsigned port)
{
    struct redis_address a = {.port = port};

    strcpy(a.host, "h");
    return a;
}

/* All of n say that OLD is well, since the failover of epoch 7. */
static void begin(struct told *t, unsigned n)
{
    memset(t, 0, sizeof *t);
    t->m.n = n;
    t->now_ms = 1000000;
    for (unsigned i = 0; i < n; i++)
        t->says[i] = (struct sentinel_answer){
            .master = at(OLD), .well = true, .config_epoch = 7, .failover_ms = FAILOVER_MS, .others = n - 1};
}

static bool tell(struct told *t, unsigned i)
{
    return sentinel_majority_told(&t->m, i, &t->says[i], t->round, t->round, t->now_ms);
}

/* A round in which everybody answers. True: another master is followed. */
static bool tell_all(struct told *t)
{
    bool moved = false;

    t->round++;
    t->now_ms += 400;
    for (unsigned i = 0; i < t->m.n; i++)
        moved |= tell(t, i);
    return moved;
}

static bool agreed(const struct told *t, unsigned *replicas)
{
    return sentinel_majority_agrees(&t->m, t->round, t->now_ms, replicas);
}

static bool all_agree(struct told *t)
{
    unsigned replicas;

    tell_all(t);
    return agreed(t, &replicas);
}

static void the_first_master_is_followed(void **state)
{
    struct told t;
    unsigned replicas;

    (void)state;
    begin(&t, 3);
    assert_false(agreed(&t, &replicas));
    assert_true(tell_all(&t));
    assert_int_equal(t.m.master.port, OLD);
    assert_true(agreed(&t, &replicas));
    assert_int_equal(sentinel_majority_agreeing(&t.m, t.round, t.now_ms), 3);
    assert_false(tell_all(&t));
}

static void silence_is_no_agreement(void **state)
{
    struct told t;
    unsigned replicas;

    (void)state;
    begin(&t, 3);
    tell_all(&t);
    t.round++;
    tell(&t, 0);
    assert_false(agreed(&t, &replicas)); /* what the others said was said before */
    tell(&t, 2);
    assert_true(agreed(&t, &replicas));
}

static void one_that_sees_something_wrong_does_not_count(void **state)
{
    struct told t;

    (void)state;
    begin(&t, 3);
    t.says[0].well = false;
    assert_true(all_agree(&t));
    t.says[1].well = false;
    assert_false(all_agree(&t));
}

/* Also a majority of an even number is more than half. */
static void more_sentinels_than_the_url_names(void **state)
{
    struct told t;

    (void)state;
    begin(&t, 3);
    t.says[1].others = 5;
    assert_false(all_agree(&t));
    assert_int_equal(sentinel_majority_known(&t.m), 6);
    t.says[1].others = 4;
    assert_true(all_agree(&t));
    t.says[1].others = 3;
    tell_all(&t);
    assert_int_equal(sentinel_majority_known(&t.m), 4);
}

/* Whoever voted may have made another master since. When the failover has come to pass it is over. */
static void a_vote_for_a_failover_counts_against(void **state)
{
    struct told t;

    (void)state;
    begin(&t, 3);
    assert_true(all_agree(&t));
    t.says[0].vote_epoch = t.says[1].vote_epoch = 8;
    assert_false(all_agree(&t));
    for (unsigned i = 0; i < 3; i++)
        t.says[i].config_epoch = 8;
    assert_true(all_agree(&t));
    t.says[2].vote_epoch = 9;
    assert_true(all_agree(&t));
    assert_int_equal(sentinel_majority_agreeing(&t.m, t.round, t.now_ms), 2);
}

static void a_vote_that_came_to_nothing_is_forgotten(void **state)
{
    struct told t;
    uint64_t seen;

    (void)state;
    begin(&t, 3);
    for (unsigned i = 0; i < 3; i++)
        t.says[i].vote_epoch = 8;
    assert_false(all_agree(&t));
    seen = t.now_ms;
    t.now_ms = seen + LONGEST_MS - 400;
    assert_false(all_agree(&t)); /* the longest time that a failover can take */
    t.now_ms = seen + LONGEST_MS - 399;
    assert_true(all_agree(&t));
    for (unsigned i = 0; i < 3; i++)
        t.says[i].vote_epoch = 9;
    assert_false(all_agree(&t)); /* another one begins its time anew */
}

static void replicas_that_any_of_them_shows_must_confirm(void **state)
{
    struct told t;
    unsigned replicas;

    (void)state;
    begin(&t, 3);
    for (unsigned i = 0; i < 3; i++) {
        t.says[i].replicas.n = 2;
        t.says[i].replicas.at[0] = at(10);
        t.says[i].replicas.at[1] = at(11 + i);
    }
    tell_all(&t);
    assert_true(agreed(&t, &replicas));
    assert_int_equal(replicas, 4);
    t.says[2].well = false; /* its replicas are not asked for: who does not agree does not confirm anything */
    tell_all(&t);
    assert_true(agreed(&t, &replicas));
    assert_int_equal(replicas, 3);
}

static void more_replicas_than_can_be_counted(void **state)
{
    struct told t;
    unsigned replicas;

    (void)state;
    begin(&t, 3);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < REPLICAS_MAX / 2; k++)
            t.says[i].replicas.at[t.says[i].replicas.n++] = at(100 + i * REPLICAS_MAX + k);
    tell_all(&t);
    assert_false(agreed(&t, &replicas));
    for (unsigned i = 0; i < 3; i++)
        t.says[i].replicas.n = 0;
    assert_true(all_agree(&t));
    t.says[1].replicas.full = true;
    assert_false(all_agree(&t));
}

/* One that knows less is not followed. */
static void the_newest_failover_is_followed(void **state)
{
    struct told t;
    unsigned replicas;

    (void)state;
    begin(&t, 3);
    tell_all(&t);
    t.says[0].master = at(NEW);
    t.says[0].config_epoch = 6;
    assert_false(tell_all(&t));
    t.says[0].config_epoch = 7;
    assert_false(tell_all(&t));
    t.says[0].config_epoch = 8;
    t.says[0].well = false;
    assert_false(tell_all(&t));
    t.says[0].well = true;
    t.round++;
    assert_true(tell(&t, 0));
    assert_int_equal(t.m.master.port, NEW);
    tell(&t, 1);
    tell(&t, 2);
    assert_false(agreed(&t, &replicas));
    for (unsigned i = 0; i < 3; i++)
        t.says[i] = t.says[0];
    assert_true(all_agree(&t));
}

/* With the new epoch already: the others are followed all the same. */
static void the_leader_of_a_failover_names_the_old_master_for_a_while(void **state)
{
    struct told t;

    (void)state;
    begin(&t, 3);
    tell_all(&t);
    t.says[0].well = false;
    t.says[0].config_epoch = 8;
    assert_false(tell_all(&t));
    for (unsigned i = 1; i < 3; i++) {
        t.says[i].config_epoch = 8;
        t.says[i].master = at(NEW);
    }
    assert_true(all_agree(&t));
    assert_int_equal(t.m.master.port, NEW);
}

/* Sentinel 0 and 1 know nothing of the failover of epoch 7. */
static void set_up_anew(struct told *t)
{
    begin(t, 3);
    tell_all(t);
    for (unsigned i = 0; i < 2; i++) {
        t->says[i].master = at(NEW);
        t->says[i].config_epoch = 0;
    }
}

static void sentinels_set_up_anew_are_believed_by_majority(void **state)
{
    struct told t;

    (void)state;
    set_up_anew(&t);
    assert_false(tell_all(&t)); /* one of them knows better still */
    t.round++;
    assert_false(tell(&t, 0));
    t.round++;
    assert_false(tell(&t, 0)); /* the others are silent: one is no majority */
    assert_true(tell(&t, 1));
    assert_int_equal(t.m.master.port, NEW);

    set_up_anew(&t);
    t.says[2].well = false; /* it is not sure of its own */
    assert_true(tell_all(&t) || tell_all(&t));

    set_up_anew(&t);
    t.says[2].config_epoch = 6; /* it does not know better, whatever its address */
    assert_true(tell_all(&t) || tell_all(&t));
}

/* An address that is followed already brings only its epoch. */
static void a_newer_epoch_of_the_same_master_is_no_move(void **state)
{
    struct told t;

    (void)state;
    begin(&t, 3);
    tell_all(&t);
    for (unsigned i = 0; i < 3; i++)
        t.says[i].config_epoch = 9;
    assert_false(tell_all(&t));
    t.says[1].config_epoch = 8;
    t.says[1].master = at(NEW);
    assert_false(tell_all(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_master_is_followed),
        cmocka_unit_test(silence_is_no_agreement),
        cmocka_unit_test(one_that_sees_something_wrong_does_not_count),
        cmocka_unit_test(more_sentinels_than_the_url_names),
        cmocka_unit_test(a_vote_for_a_failover_counts_against),
        cmocka_unit_test(a_vote_that_came_to_nothing_is_forgotten),
        cmocka_unit_test(replicas_that_any_of_them_shows_must_confirm),
        cmocka_unit_test(more_replicas_than_can_be_counted),
        cmocka_unit_test(the_newest_failover_is_followed),
        cmocka_unit_test(the_leader_of_a_failover_names_the_old_master_for_a_while),
        cmocka_unit_test(sentinels_set_up_anew_are_believed_by_majority),
        cmocka_unit_test(a_newer_epoch_of_the_same_master_is_no_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
