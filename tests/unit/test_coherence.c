/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, positions and the lease, without Redis. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "etagd/coherence.h"
#include "etagd/positions.h"

#define SPAN SPAN_LITERAL
#define LEASE UINT64_C(2000)

static struct log_id id(uint64_t ms, uint64_t seq)
{
    return (struct log_id){ms, seq};
}

/* ---- ids ---- */

static void ids_are_read_strictly(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "1",
                                      "1-",
                                      "-1",
                                      "1-2-3",
                                      " 1-2",
                                      "1-2 ",
                                      "1-+2",
                                      "0x1-2",
                                      "1--2",
                                      "18446744073709551616-0",
                                      "0-18446744073709551616"};
    struct log_id out;
    char text[LOG_ID_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(log_id_parse(span_str(bad[i]), &out));
    assert_true(log_id_parse(SPAN("18446744073709551615-18446744073709551615"), &out));
    assert_true(out.ms == UINT64_MAX && out.seq == UINT64_MAX);
    log_id_format(out, text);
    assert_string_equal(text, "18446744073709551615-18446744073709551615");
}

/* Whatever two ids: if the record is newer than the as-of position, packing never hides it. */
static void packing_never_hides_a_newer_record(void **state)
{
    static const uint64_t ms[] = {0,
                                  1,
                                  2,
                                  1795310948748,
                                  UINT64_C(0xfffffffffff) - 1,
                                  UINT64_C(0xfffffffffff),
                                  UINT64_C(0x100000000000),
                                  UINT64_MAX - 1,
                                  UINT64_MAX};
    static const uint64_t seq[] = {0, 1, 0xffffe, 0xfffff, 0x100000, 0x100001, UINT64_MAX};
    size_t nms = sizeof ms / sizeof ms[0], nseq = sizeof seq / sizeof seq[0];

    (void)state;
    for (size_t a = 0; a < nms * nseq; a++) {
        for (size_t b = 0; b < nms * nseq; b++) {
            struct log_id record = id(ms[a / nseq], seq[a % nseq]), as_of = id(ms[b / nseq], seq[b % nseq]);

            if (log_id_cmp(record, as_of) > 0)
                assert_true(log_id_pack_up(record) > log_id_pack_down(as_of));
        }
    }
    assert_true(log_id_pack_up(id(5, 7)) <= log_id_pack_down(id(5, 7)));
    assert_true(log_id_cmp(log_id_unpack(log_id_pack_up(id(5, UINT64_MAX))), id(5, UINT64_MAX)) >= 0);
}

/* ---- positions ---- */

static void a_snapshot_maps_to_the_record_before_it(void **state)
{
    struct positions *p = positions_new();
    struct log_id out;

    (void)state;
    assert_non_null(p);
    assert_false(positions_as_of(p, UINT64_MAX, &out));
    positions_reset(p, 10, id(100, 0));
    assert_false(positions_as_of(p, 9, &out));
    assert_true(positions_as_of(p, 10, &out));
    assert_int_equal(out.ms, 100);
    positions_record(p, 11, id(101, 0), 1);
    positions_record(p, 11, id(102, 0), 2); /* a remark takes no seq: the older id stays the answer */
    positions_record(p, 15, id(105, 0), 3); /* 12 to 14 were this node's own */
    assert_true(positions_as_of(p, 11, &out));
    assert_int_equal(out.ms, 101);
    assert_true(positions_as_of(p, 14, &out));
    assert_int_equal(out.ms, 101);
    assert_true(positions_as_of(p, 99, &out));
    assert_int_equal(out.ms, 105);
    assert_int_equal(positions_visible_at(p, id(102, 0)), 2);
    assert_int_equal(positions_visible_at(p, id(103, 0)), 0);
    positions_record(p, 16, id(104, 0), 4); /* ids never fall: ignored */
    assert_true(positions_as_of(p, 16, &out));
    assert_int_equal(out.ms, 105);
    positions_flush(p, 20, id(105, 0));
    assert_false(positions_as_of(p, 19, &out));
    positions_free(p);
}

static void the_map_forgets_the_oldest(void **state)
{
    struct positions *p = positions_new();
    struct log_id out;

    (void)state;
    positions_reset(p, 0, id(0, 1));
    for (uint64_t i = 1; i <= 70000; i++)
        positions_record(p, i, id(i, 0), i);
    assert_false(positions_as_of(p, 70000 - 65536, &out));
    for (uint64_t i = 70000 - 65535; i <= 70000; i++) {
        assert_true(positions_as_of(p, i, &out));
        assert_int_equal(out.ms, i);
    }
    positions_free(p);
}

static void what_covers_an_entry(void **state)
{
    struct positions *p = positions_new();
    struct span x = SPAN("Tx"), y = SPAN("Ty");

    (void)state;
    positions_reset(p, 1, id(100, 0));
    assert_false(positions_covered(p, &x, 1, id(100, 0)));
    positions_mark(p, x, id(105, 3));
    assert_true(positions_covered(p, &x, 1, id(105, 2)));
    assert_false(positions_covered(p, &x, 1, id(105, 3)));
    assert_false(positions_covered(p, &y, 1, id(100, 0)));
    positions_mark(p, x, id(104, 0)); /* an older record takes nothing back */
    assert_true(positions_covered(p, &x, 1, id(105, 2)));
    assert_int_equal(positions_valid_since(p, &x, 1).ms, 105);
    positions_flush(p, 2, id(106, 0)); /* a floor forgets no record */
    assert_true(positions_covered(p, &x, 1, id(105, 2)));
    positions_mark_all(p, id(110, 0));
    assert_true(positions_covered(p, &y, 1, id(109, 0)));
    positions_reset(p, 3, id(200, 0));
    assert_false(positions_covered(p, &x, 1, id(200, 0)));
    positions_free(p);
}

static void an_unacknowledged_invalidation_covers_everything_older_and_newer(void **state)
{
    struct positions *p = positions_new();
    struct span x = SPAN("Tx"), y = SPAN("Ty");

    (void)state;
    positions_reset(p, 1, id(100, 0));
    positions_pend(p, x, 1);
    positions_pend(p, y, 2);
    assert_true(positions_covered(p, &x, 1, id(999, 0)));
    positions_reset(p, 1, id(200, 0)); /* an epoch does not acknowledge it */
    assert_true(positions_covered(p, &x, 1, id(999, 0)));
    positions_acknowledge(p, 1);
    assert_false(positions_covered(p, &x, 1, id(999, 0)));
    assert_true(positions_covered(p, &y, 1, id(999, 0)));
    positions_pend_all(p, 3);
    positions_acknowledge(p, 2);
    assert_true(positions_covered(p, &y, 1, id(999, 0)));
    positions_acknowledge(p, 3);
    assert_false(positions_covered(p, &y, 1, id(999, 0)));
    positions_free(p);
}

/* ---- coherence ---- */

/* What the outside was told, in order. */
struct told {
    char text[512];
    struct coherence *c;
};

static void tell(struct told *t, const char *what, uint64_t n)
{
    size_t used = strlen(t->text);

    snprintf(t->text + used, sizeof t->text - used, "%s%llu ", what, (unsigned long long)n);
}

static void on_entered(void *arg, struct log_id position)
{
    assert_int_equal(coherence_lease(((struct told *)arg)->c), 0);
    tell(arg, "entered", position.ms);
}

static void on_missed(void *arg, struct log_id position)
{
    assert_int_equal(coherence_lease(((struct told *)arg)->c), 0);
    tell(arg, "missed", position.ms);
}

static void on_record(void *arg, struct log_id at, const struct span *fields, size_t n)
{
    (void)fields;
    assert_int_equal(n, 2);
    /* The position follows only when all of the record has taken effect. */
    assert_true(log_id_cmp(coherence_position(((struct told *)arg)->c), at) < 0);
    tell(arg, "record", at.ms);
}

static void on_lease(void *arg, uint64_t until)
{
    tell(arg, "lease", until);
}

static void start(struct told *t)
{
    struct coherence_events events = {on_entered, on_missed, on_record, on_lease, t};

    t->text[0] = '\0';
    t->c = coherence_new(LEASE, &events);
    assert_non_null(t->c);
}

static void expect(struct told *t, const char *text)
{
    assert_string_equal(t->text, text);
    t->text[0] = '\0';
}

static struct coherence_renewal renewal(const char *epoch, uint64_t last, uint64_t added)
{
    struct coherence_renewal r = {
        .born = {100, 0}, .born_added = 10, .last = {last, 0}, .added = added, .first = {100, 0}};

    strcpy(r.epoch, epoch);
    return r;
}

static enum coherence_verdict renew(struct told *t, uint64_t t0, const char *epoch, uint64_t last, uint64_t added)
{
    struct coherence_renewal r = renewal(epoch, last, added);

    return coherence_renewed(t->c, t0, &r);
}

static bool record(struct told *t, uint64_t at)
{
    static const struct span fields[] = {{"url", 3}, {"h/p", 3}};

    return coherence_record(t->c, coherence_generation(t->c), id(at, 0), fields, 2);
}

static void no_lease_before_the_log_is_replayed(void **state)
{
    struct told t;

    (void)state;
    start(&t);
    assert_int_equal(renew(&t, 5000, "A", 103, 13), COHERENCE_RESTART);
    expect(&t, "lease0 entered100 ");
    assert_false(record(&t, 101));
    assert_false(record(&t, 102));
    assert_int_equal(coherence_lease(t.c), 0);
    assert_true(record(&t, 103));
    expect(&t, "record101 record102 record103 lease7000 ");
    assert_int_equal(coherence_lease(t.c), 7000);
    coherence_free(t.c);
}

static void a_late_answer_shortens_the_lease(void **state)
{
    struct told t;

    (void)state;
    start(&t);
    assert_int_equal(renew(&t, 5000, "A", 100, 10), COHERENCE_RESTART);
    expect(&t, "lease0 entered100 lease7000 ");
    /* Asked at 5400, answered whenever: it counts from the question. */
    assert_int_equal(renew(&t, 5400, "A", 100, 10), COHERENCE_LEASED);
    assert_int_equal(coherence_lease(t.c), 7400);
    assert_int_equal(renew(&t, 5800, "A", 101, 11), COHERENCE_PENDING);
    assert_int_equal(coherence_lease(t.c), 7400);
    assert_true(record(&t, 101));
    assert_int_equal(coherence_lease(t.c), 7800);
    /* An older question never takes a lease back, nor extends it. */
    assert_int_equal(renew(&t, 5500, "A", 101, 11), COHERENCE_LEASED);
    assert_int_equal(coherence_lease(t.c), 7800);
    coherence_free(t.c);
}

static void records_removed_unseen_raise_the_floor(void **state)
{
    struct told t;
    struct coherence_renewal r;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 104, 14);
    record(&t, 103); /* 101 and 102 were trimmed away */
    t.text[0] = '\0';
    assert_true(record(&t, 104));
    /* The log does not say what was removed: anything up to its last id. */
    assert_int_equal(coherence_floor(t.c).ms, 104);
    expect(&t, "record104 lease0 missed104 lease7000 ");
    assert_int_equal(coherence_floors(t.c), 1);
    assert_int_equal(coherence_count(t.c), 14);
    record(&t, 110);
    r = renewal("A", 110, 17);
    r.deleted = id(106, 0); /* 105 and 106: entries from 106 on are good */
    assert_int_equal(coherence_renewed(t.c, 5400, &r), COHERENCE_LEASED);
    assert_int_equal(coherence_floor(t.c).ms, 106);
    record(&t, 111);
    r = renewal("A", 111, 20);
    r.first = id(111, 0); /* trimmed */
    assert_int_equal(coherence_renewed(t.c, 5500, &r), COHERENCE_LEASED);
    assert_int_equal(coherence_floor(t.c).ms, 111);
    r = renewal("A", 116, 23);
    r.first = id(0, 0); /* empty: everything up to the last id may be gone */
    record(&t, 116);
    assert_int_equal(coherence_renewed(t.c, 5800, &r), COHERENCE_LEASED);
    assert_int_equal(coherence_floor(t.c).ms, 116);
    assert_int_equal(renew(&t, 6200, "A", 116, 23), COHERENCE_LEASED);
    assert_int_equal(coherence_floors(t.c), 4);
    coherence_free(t.c);
}

static void a_read_that_finds_nothing_raises_the_floor(void **state)
{
    struct told t;
    struct coherence_mark before, after;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 100, 10);
    coherence_mark(t.c, &before); /* sent before the answer below: proves nothing about it */
    assert_int_equal(renew(&t, 5400, "A", 103, 13), COHERENCE_PENDING);
    coherence_mark(t.c, &after);
    t.text[0] = '\0';
    assert_false(coherence_nothing(t.c, &before));
    expect(&t, "");
    assert_int_equal(coherence_position(t.c).ms, 100);
    assert_true(coherence_nothing(t.c, &after));
    expect(&t, "lease0 missed103 lease7400 ");
    assert_int_equal(coherence_position(t.c).ms, 103);
    assert_int_equal(coherence_floor(t.c).ms, 103);
    assert_int_equal(coherence_count(t.c), 13);
    assert_false(coherence_nothing(t.c, &after)); /* once */
    coherence_free(t.c);
}

static void a_log_made_anew_gives_no_lease(void **state)
{
    struct told t;
    struct span known;
    bool end;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 102, 12);
    record(&t, 101);
    record(&t, 102);
    assert_int_equal(coherence_lease(t.c), 7000);
    coherence_ask(t.c, &known, &end);
    assert_false(end);
    assert_int_equal(renew(&t, 5400, "A", 102, 11), COHERENCE_REFUSED);
    assert_int_equal(coherence_lease(t.c), 0);
    coherence_ask(t.c, &known, &end);
    assert_true(end && span_eq(known, SPAN("A")));
    assert_int_equal(renew(&t, 5800, "B", 100, 10), COHERENCE_RESTART);
    coherence_ask(t.c, &known, &end);
    assert_true(!end && span_eq(known, SPAN("B")));
    coherence_free(t.c);
}

static void an_epoch_is_never_entered_twice(void **state)
{
    struct told t;
    struct span known;
    bool end;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 100, 10);
    renew(&t, 5400, "B", 100, 10);
    assert_int_equal(coherence_lease(t.c), 7400);
    assert_int_equal(renew(&t, 5800, "A", 100, 10), COHERENCE_REFUSED);
    assert_int_equal(coherence_lease(t.c), 0);
    assert_string_equal(coherence_epoch(t.c), "B");
    coherence_ask(t.c, &known, &end);
    assert_true(end && span_eq(known, SPAN("A")));
    /* Not even when the records of it keep coming. */
    assert_false(record(&t, 101));
    assert_int_equal(coherence_lease(t.c), 0);
    coherence_free(t.c);
}

static void answers_of_an_old_epoch_are_in_vain(void **state)
{
    static const struct span fields[] = {{"all", 3}, {"1", 1}};
    struct coherence_mark mark;
    struct told t;
    uint64_t old;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 104, 14);
    coherence_mark(t.c, &mark);
    old = coherence_generation(t.c);
    renew(&t, 5400, "B", 101, 11);
    t.text[0] = '\0';
    assert_false(coherence_record(t.c, old, id(101, 0), fields, 2));
    assert_false(coherence_nothing(t.c, &mark));
    expect(&t, "");
    assert_int_equal(coherence_position(t.c).ms, 100);
    coherence_free(t.c);
}

static void a_renewal_we_are_far_ahead_of_proves_nothing(void **state)
{
    struct told t;

    (void)state;
    start(&t);
    renew(&t, 5000, "A", 100, 10);
    for (uint64_t i = 101; i < 101 + 70000; i++)
        record(&t, i);
    assert_int_equal(renew(&t, 9000, "A", 101, 11), COHERENCE_PENDING);
    assert_int_equal(coherence_lease(t.c), 7000);
    assert_int_equal(renew(&t, 9400, "A", 70100, 70010), COHERENCE_LEASED);
    coherence_free(t.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_read_strictly),
        cmocka_unit_test(packing_never_hides_a_newer_record),
        cmocka_unit_test(a_snapshot_maps_to_the_record_before_it),
        cmocka_unit_test(the_map_forgets_the_oldest),
        cmocka_unit_test(what_covers_an_entry),
        cmocka_unit_test(an_unacknowledged_invalidation_covers_everything_older_and_newer),
        cmocka_unit_test(no_lease_before_the_log_is_replayed),
        cmocka_unit_test(a_late_answer_shortens_the_lease),
        cmocka_unit_test(records_removed_unseen_raise_the_floor),
        cmocka_unit_test(a_read_that_finds_nothing_raises_the_floor),
        cmocka_unit_test(a_log_made_anew_gives_no_lease),
        cmocka_unit_test(an_epoch_is_never_entered_twice),
        cmocka_unit_test(answers_of_an_old_epoch_are_in_vain),
        cmocka_unit_test(a_renewal_we_are_far_ahead_of_proves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
