/* SPDX-License-Identifier: Apache-2.0 */
/* What several nodes of a Cluster say together. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "etagd/cluster_majority.h"

#define MASTERS 3 /* places 0 to 2; the log's is 0, with the replicas 'r' and 's' */
#define REPLICA 3 /* the place in which a replica is asked */

static struct cluster_majority m;
static struct cluster_answer says[CLUSTER_NODES_MAX];
static uint64_t turn, now_ms;

static struct cluster_node_id id(char letter)
{
    struct cluster_node_id out;

    memset(out.text, letter, sizeof out.text);
    return out;
}

static struct redis_address at(unsigned port)
{
    struct redis_address a = {.port = port};

    strcpy(a.host, "h");
    return a;
}

/* The slot is this master's since an epoch. */
static void is_named(struct cluster_answer *a, char master, uint64_t epoch)
{
    a->found = a->well = true;
    a->master = id(master);
    a->at = at((unsigned)master);
    a->config_epoch = epoch;
}

static int begin(void **state)
{
    (void)state;
    memset(&m, 0, sizeof m);
    memset(says, 0, sizeof says);
    turn = 0;
    now_ms = 1000000;
    for (unsigned i = 0; i < MASTERS; i++) {
        struct cluster_answer *a = &says[i];

        a->self = id((char)('a' + i));
        a->votes = true;
        a->voters = MASTERS;
        a->current_epoch = 7;
        a->epochs[0] = 7;
        a->epochs[1] = 5;
        a->nepochs = 2;
        a->replicas.at[0].id = id('r');
        a->replicas.at[1].id = id('s');
        a->replicas.n = 2;
        is_named(a, 'a', 5);
    }
    return 0;
}

static bool tell(unsigned i)
{
    return cluster_majority_told(&m, i, &says[i], turn, turn, now_ms);
}

/* A round in which so many masters answer, the first ones first. True: another master is followed. */
static bool tell_first(unsigned n)
{
    bool moved = false;

    turn++;
    now_ms += 400;
    for (unsigned i = 0; i < n; i++)
        moved |= tell(i);
    return moved;
}

static bool agreed(unsigned *replicas)
{
    return cluster_majority_agrees(&m, turn, turn, now_ms, replicas);
}

static void more_than_half_of_the_masters(void **state)
{
    unsigned replicas;

    (void)state;
    assert_false(agreed(&replicas));
    assert_true(tell_first(1));
    assert_int_equal(m.at.port, 'a');
    assert_false(agreed(&replicas));
    tell(1);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 2);
    assert_int_equal(cluster_majority_known(&m, turn), 3);
    assert_int_equal(cluster_majority_agreeing(&m, turn), 2);
    tell_first(1); /* what was said in the round before does not count */
    assert_false(agreed(&replicas));
}

static void who_counts(void **state)
{
    unsigned replicas;

    (void)state;
    tell_first(1);
    says[REPLICA] = says[1]; /* a replica has no vote */
    says[REPLICA].self = id('r');
    says[REPLICA].votes = false;
    tell(REPLICA);
    assert_false(agreed(&replicas));
    says[REPLICA] = says[0]; /* the same node by another address */
    tell(REPLICA);
    assert_false(agreed(&replicas));
    says[1].well = false; /* it has doubts */
    tell(1);
    assert_false(agreed(&replicas));
    says[1].well = true;
    says[1].voters = 4; /* it knows of one more: two are half of them */
    tell(1);
    assert_false(agreed(&replicas));
    tell(2);
    assert_true(agreed(&replicas));
    cluster_majority_forget(&m, 2);
    assert_false(agreed(&replicas));
}

static void replicas_that_any_of_them_shows(void **state)
{
    unsigned replicas;

    (void)state;
    says[0].replicas.at[0].failed = says[1].replicas.at[0].failed = true;
    tell_first(2);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 1);
    says[1].replicas.at[0].failed = false;
    tell(1);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 2);
    says[1].replicas.at[1].id = id('t');
    tell(1);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 3);
    says[1].replicas.full = true;
    tell(1);
    assert_false(agreed(&replicas));
}

/* A vote leaves no trace but the epoch: as long as no master has come out of it, one of those held for down may have. */
static void an_epoch_that_nobody_has_come_out_of(void **state)
{
    unsigned replicas;

    (void)state;
    for (unsigned i = 0; i < MASTERS; i++)
        says[i].replicas.at[0].failed = true;
    tell_first(2);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 1);
    says[1].current_epoch = 8;
    tell_first(2);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 2);
    says[1].epochs[0] = 8;
    tell_first(2);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 1);
    says[1].current_epoch = 10; /* 9 remains open, although 10 is not */
    says[1].epochs[0] = 10;
    tell_first(2);
    agreed(&replicas);
    assert_int_equal(replicas, 2);
    now_ms += CLUSTER_ELECTION_MS;
    tell_first(2);
    assert_true(agreed(&replicas));
    assert_int_equal(replicas, 1);
}

static void the_newest_owner_is_followed_at_once(void **state)
{
    unsigned replicas;

    (void)state;
    tell_first(3);
    is_named(&says[2], 'r', 8);
    assert_true(tell(2));
    assert_int_equal(m.at.port, 'r');
    assert_false(agreed(&replicas));
    assert_false(tell(0)); /* who has not heard of it yet */
    assert_int_equal(m.at.port, 'r');
}

/* A Cluster that was set up anew begins with small epochs. */
static void an_older_owner_that_most_name(void **state)
{
    (void)state;
    tell_first(3);
    for (unsigned i = 0; i < MASTERS; i++)
        is_named(&says[i], 'b', 2);
    assert_false(tell_first(2)); /* the third has said otherwise in the round before */
    assert_true(tell_first(2));
    assert_int_equal(m.at.port, 'b');
}

/* The log's master may not know under which address others reach it. */
static void addresses(void **state)
{
    (void)state;
    says[0].at = at(1);
    assert_true(tell_first(1));
    assert_int_equal(m.at.port, 1);
    assert_true(tell(1));
    assert_int_equal(m.at.port, 'a');
    assert_false(tell(0));
    assert_int_equal(m.at.port, 'a');
    says[1].at = at(9); /* it has moved */
    assert_true(tell(1));
    assert_int_equal(m.at.port, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(more_than_half_of_the_masters, begin),
        cmocka_unit_test_setup(who_counts, begin),
        cmocka_unit_test_setup(replicas_that_any_of_them_shows, begin),
        cmocka_unit_test_setup(an_epoch_that_nobody_has_come_out_of, begin),
        cmocka_unit_test_setup(the_newest_owner_is_followed_at_once, begin),
        cmocka_unit_test_setup(an_older_owner_that_most_name, begin),
        cmocka_unit_test_setup(addresses, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
