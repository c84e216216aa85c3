/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>

#include "tests/unit/table_fixture.h"

/* ---- records ---- */

static void a_record_is_found_whole(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    struct table_copy copy;
    char capsule[CAPSULE_MAX];
    size_t n = 1;

    assert_int_equal(result_of(t, "https://h/a"), TABLE_MISS);
    assert_int_equal(PUT(w, "https://h/a", 1, .scope = "Uh/a", .capsule = "Vary: Accept\n"), WRITER_OK);
    assert_number(t, span_str("https://h/a"), 1);
    assert_int_equal(look(t, span_str("https://h/a"), &copy), TABLE_HIT);
    assert_true(table_capsule(t, &copy, capsule, &n));
    assert_int_equal(n, 13);
    assert_memory_equal(capsule, "Vary: Accept\n", 13);
    assert_int_equal(copy.expiry_s, UINT32_MAX);

    assert_int_equal(PUT(w, "https://h/a", 2), WRITER_OK);
    assert_number(t, span_str("https://h/a"), 2);
    assert_int_equal(look(t, span_str("https://h/a"), &copy), TABLE_HIT);
    assert_true(table_capsule(t, &copy, capsule, &n));
    assert_int_equal(n, 0);
    assert_int_equal(result_of(t, "https://h/a#v"), TABLE_MISS);

    assert_true(writer_remove(w, span_str("https://h/a")));
    assert_false(writer_remove(w, span_str("https://h/a")));
    assert_int_equal(result_of(t, "https://h/a"), TABLE_MISS);
}

static void invalidation_covers_what_it_names(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    const struct span two[2] = {SPAN_LITERAL("Ph/x"), SPAN_LITERAL("Tt")};

    PUT(w, "a", 1, .scope = "Uh/a");
    PUT(w, "b", 2, .scope = "Ph/x");
    PUT(w, "c", 3, .scope = "Tt");
    PUT(w, "d", 4);
    const struct table_snapshot before = table_snapshot(t);
    assert_int_equal(before.generation, writer_generation(w));

    assert_int_equal(writer_invalidate(w, two, 2), before.seq + 1);
    assert_int_equal(table_snapshot(t).seq, before.seq + 1);
    assert_number(t, span_str("a"), 1);
    assert_int_equal(result_of(t, "b"), TABLE_STALE);
    assert_int_equal(result_of(t, "c"), TABLE_STALE);
    assert_number(t, span_str("d"), 4);

    /* a response begun before the invalidation must not come in after it */
    assert_int_equal(put_at(w, span_str("b"), 5, before.seq, (struct put_options){.scope = "Ph/x"}), WRITER_STALE);
    assert_int_equal(result_of(t, "b"), TABLE_STALE);
    assert_int_equal(put_at(w, span_str("a"), 6, before.seq, (struct put_options){.scope = "Uh/a"}), WRITER_OK);
    assert_int_equal(PUT(w, "b", 7, .scope = "Ph/x"), WRITER_OK);
    assert_number(t, span_str("b"), 7);
    /* a seq nobody handed out */
    assert_int_equal(put_at(w, span_str("b"), 8, writer_seq(w) + 1, (struct put_options){0}), WRITER_STALE);
    assert_int_equal(put_at(w, span_str("b"), 8, UINT64_MAX, (struct put_options){0}), WRITER_STALE);

    const uint64_t flushed = writer_invalidate(w, NULL, 0);
    assert_int_equal(result_of(t, "a"), TABLE_STALE);
    assert_int_equal(result_of(t, "d"), TABLE_STALE);
    assert_int_equal(put_at(w, span_str("a"), 9, flushed - 1, (struct put_options){0}), WRITER_STALE);
    assert_int_equal(PUT(w, "a", 10), WRITER_OK);
    assert_number(t, span_str("a"), 10);
}

static void every_scope_counts(void **state)
{
    struct writer *w = *state;
    char text[SCOPE_MAX][64];
    struct span scopes[SCOPE_MAX];
    uint8_t value[ENTRY_SIZE];

    for (unsigned i = 0; i < SCOPE_MAX; i++)
        scopes[i] = numbered(text[i], "T", i);
    for (unsigned i = 0; i < SCOPE_MAX; i++) {
        const struct writer_put put = {.key = SPAN_LITERAL("k"),
                                       .seq = writer_seq(w),
                                       .scopes = scopes,
                                       .nscopes = SCOPE_MAX,
                                       .value = entry_of(value, i)};
        assert_int_equal(writer_put(w, &put), WRITER_OK);
        assert_number(writer_table(w), put.key, i);
        writer_invalidate(w, &scopes[i], 1);
        assert_int_equal(result_of(writer_table(w), "k"), TABLE_STALE);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    struct writer *w = *state;
    static char big[TABLE_RECORD_WORDS * 8 + 1];
    struct span scopes[SCOPE_MAX + 1];
    uint8_t value[ENTRY_SIZE];
    struct writer_stats stats;
    struct writer_put put = {.key = SPAN_LITERAL("k"), .value = span_of(big, TABLE_RECORD_WORDS * 8 - 48)};

    assert_int_equal(writer_put(w, &put), WRITER_OK); /* fills a record; its value is no entry */
    assert_int_equal(result_of(writer_table(w), "k"), TABLE_MISS);
    put.value.n++;
    assert_int_equal(writer_put(w, &put), WRITER_TOO_LONG);
    put.value = entry_of(value, 1);
    put.capsule = span_of(big, CAPSULE_MAX + 1);
    assert_int_equal(writer_put(w, &put), WRITER_TOO_LONG);
    put.capsule.n = 0;
    for (size_t i = 0; i <= SCOPE_MAX; i++)
        scopes[i] = SPAN_LITERAL("Tt");
    put.scopes = scopes;
    put.nscopes = SCOPE_MAX + 1;
    assert_int_equal(writer_put(w, &put), WRITER_TOO_LONG);
    put.nscopes = SCOPE_MAX;
    assert_int_equal(writer_put(w, &put), WRITER_OK);
    writer_stats(w, &stats);
    assert_int_equal(stats.refused, 3);
    assert_int_equal(stats.puts, 2);
    assert_int_equal(stats.records, 1);
    assert_int_equal(stats.removed, 1); /* the first of them took the record away */
}

static void capsules_are_stored_once(void **state)
{
    struct writer *w = *state;
    struct writer_stats stats;
    struct table_copy first, second;
    char text[64];
    unsigned i = 0;

    PUT(w, "a", 1, .capsule = "Vary: A\n");
    PUT(w, "b", 2, .capsule = "Vary: A\n");
    PUT(w, "c", 3, .capsule = "Vary: B\n");
    writer_stats(w, &stats);
    assert_int_equal(stats.capsules, 2);
    look(writer_table(w), span_str("a"), &first);
    look(writer_table(w), span_str("b"), &second);
    assert_int_equal(first.capsule, second.capsule);

    while (stats.capsules_inline == 0) {
        const struct span capsule = numbered(text, "X-Long-Enough-To-Fill: ", i);
        assert_in_range(++i, 0, 100000);
        assert_int_equal(PUT(w, "d", i, .capsule = capsule.p), WRITER_OK);
        assert_capsule(writer_table(w), span_str("d"), capsule);
        writer_stats(w, &stats);
    }
    assert_int_equal(stats.capsules, i - 1 + 2); /* the last one no longer */
    assert_int_equal(stats.capsules_full, 0);
    assert_int_equal(PUT(w, "e", 1, .capsule = "Vary: A\n"), WRITER_OK); /* a known one needs no room */
    look(writer_table(w), span_str("e"), &second);
    assert_int_equal(first.capsule, second.capsule);
    look(writer_table(w), span_str("d"), &second);
    assert_int_equal(second.capsule, 0);
    assert_int_equal(second.inlined.n, strlen(text));
}

/* The dictionary is full: capsules stand in their records, every length of them. */
static void inline_capsules_are_whole(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    char text[CAPSULE_MAX + 1], key[64];
    struct writer_stats stats;

    PUT(w, "fills", 1, .capsule = "Vary: A, B, C, D, E, F, G, H, I\n");
    for (unsigned n = 0; n <= CAPSULE_MAX; n++) {
        memset(text, (int)('a' + n % 26), n);
        text[n] = '\0';
        assert_int_equal(PUT(w, "k", n, .scope = "Tt", .capsule = text), WRITER_OK);
        assert_number(t, span_str("k"), n);
        assert_capsule(t, span_str("k"), span_str(text));
        assert_int_equal(PUT(w, numbered(key, "F", n).p, n, .flags = TABLE_SELF, .capsule = text), WRITER_OK);
    }
    writer_stats(w, &stats);
    assert_int_equal(stats.capsules, 1 + 1); /* the shortest found room */
    assert_int_equal(stats.capsules_inline, 2 * (CAPSULE_MAX - 1));
    assert_int_equal(stats.capsules_full, 0);
    for (unsigned n = 0; n <= CAPSULE_MAX; n++) {
        memset(text, (int)('a' + n % 26), n);
        assert_number(t, numbered(key, "F", n), n);
        assert_capsule(t, span_str(key), span_of(text, n));
    }

    /* invalidated as any other, and replaced by one that has none */
    writer_invalidate(w, &SPAN_LITERAL("Tt"), 1);
    assert_int_equal(result_of(t, "k"), TABLE_STALE);
    PUT(w, "k", 1);
    assert_capsule(t, span_str("k"), span_str(""));
}

/* Full dictionary, long record: what was under the key is superseded, so nothing is. */
static void a_capsule_that_fits_nowhere_is_refused(void **state)
{
    struct writer *w = *state;
    static char big[TABLE_RECORD_WORDS * 8];
    struct span scopes[SCOPE_MAX];
    char text[SCOPE_MAX][64];
    struct writer_stats stats;
    struct writer_put put = {.key = SPAN_LITERAL("k"), .scopes = scopes, .nscopes = SCOPE_MAX};
    const size_t room = sizeof big - sizeof(struct table_record) - SCOPE_MAX * sizeof(uint32_t);
    const struct entry e = {ENTRY_UPSTREAM, 0, ENTRY_UNDATED, span_of(big, ENTRY_TAG_MAX)};
    uint8_t value[ENTRY_SIZE];

    for (unsigned i = 0; i < SCOPE_MAX; i++)
        scopes[i] = numbered(text[i], "T", i);
    memset(big, 'x', sizeof big);
    put.value = span_of((char *)value, entry_encode(value, sizeof value, &e));
    put.capsule = span_of(big, room - put.value.n); /* to the last byte */
    assert_int_equal(writer_put(w, &put), WRITER_OK);
    assert_capsule(writer_table(w), put.key, put.capsule);

    put.capsule.n++;
    assert_int_equal(writer_put(w, &put), WRITER_TOO_LONG);
    assert_int_equal(result_of(writer_table(w), "k"), TABLE_MISS);
    writer_stats(w, &stats);
    assert_int_equal(stats.capsules, 0);
    assert_int_equal(stats.capsules_inline, 1);
    assert_int_equal(stats.capsules_full, 1);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.records, 0);
}

/* ---- cleaning ---- */

static uint64_t cells_marked(const struct writer *w)
{
    struct writer_stats stats;

    writer_stats(w, &stats);
    return stats.cells_marked;
}

/* What is cleaned away no longer counts, and nothing that it voided comes back. */
static void cleaning_brings_nothing_back(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    const struct span old = SPAN_LITERAL("Told"), newer = SPAN_LITERAL("Tnew");

    PUT(w, "voided", 1, .scope = "Told");
    PUT(w, "older", 2, .scope = "Tother");
    PUT(w, "F", 3, .flags = TABLE_SELF);
    const struct table_snapshot before = table_snapshot(t);
    const uint64_t seq = writer_invalidate(w, &old, 1);
    PUT(w, "same", 4, .scope = "Told");
    PUT(w, "voided later", 5, .scope = "Tnew");
    writer_invalidate(w, &newer, 1);
    assert_int_equal(cells_marked(w), 4);

    writer_clean(w, seq);
    assert_int_equal(cells_marked(w), 2); /* those of the newer invalidation */
    assert_int_equal(result_of(t, "voided"), TABLE_STALE);
    assert_int_equal(result_of(t, "older"), TABLE_STALE); /* the price, due only while records are older */
    assert_int_equal(result_of(t, "voided later"), TABLE_STALE);
    assert_number(t, span_str("same"), 4);
    assert_number(t, span_str("F"), 3);
    assert_int_equal(put_at(w, span_str("late"), 6, before.seq, (struct put_options){.scope = "Told"}), WRITER_STALE);
    assert_int_equal(PUT(w, "voided", 7, .scope = "Told"), WRITER_OK);
    assert_number(t, span_str("voided"), 7);
    writer_invalidate(w, &old, 1); /* a cleaned cell is marked as any other */
    assert_int_equal(cells_marked(w), 4);
    assert_int_equal(result_of(t, "voided"), TABLE_STALE);
    assert_int_equal(result_of(t, "same"), TABLE_STALE);

    writer_clean(w, writer_seq(w) + 1); /* a seq nobody handed out */
    assert_int_equal(cells_marked(w), 4);
    writer_clean(w, writer_seq(w));
    assert_int_equal(cells_marked(w), 0);
    assert_int_equal(result_of(t, "voided"), TABLE_STALE);
    const uint64_t flushed = writer_invalidate(w, NULL, 0);
    PUT(w, "a", 8);
    writer_clean(w, seq); /* older than a flush: that stands */
    assert_int_equal(put_at(w, span_str("b"), 9, flushed - 1, (struct put_options){0}), WRITER_STALE);
    assert_number(t, span_str("a"), 8);
}

/* More scopes than there are cells: every bit, and then none. */
static void cleaning_takes_every_bit(void **state)
{
    struct writer *w = *state;
    const uint64_t cells = UINT64_C(1) << 17; /* of a table of 4 MiB */
    char text[64];

    for (unsigned i = 0; i < 4 * cells; i++) {
        const struct span scope = numbered(text, "U", i);
        writer_invalidate(w, &scope, 1);
    }
    assert_in_range(cells_marked(w), cells * 99 / 100, cells);
    writer_clean(w, writer_seq(w) - 1);
    assert_int_equal(cells_marked(w), 2);
    writer_clean(w, writer_seq(w));
    assert_int_equal(cells_marked(w), 0);
    PUT(w, "a", 1, .scope = "U1");
    assert_number(writer_table(w), span_str("a"), 1);
}

/* ---- eviction ---- */

/* Many times what the table holds: whatever is still found is right, and the count agrees. */
static void eviction_keeps_the_books(void **state)
{
    enum { KEYS = 150000 };
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    struct writer_stats stats;
    char key[64];
    uint64_t hits = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(put_at(w, numbered(key, "https://h/", i), i, 0, (struct put_options){.scope = "Hh"}),
                         WRITER_OK);
        struct table_copy copy; /* the first hundred are read all the time */
        look(t, numbered(key, "https://h/", i % 100), &copy);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        struct table_copy copy;
        if (look(t, numbered(key, "https://h/", i), &copy) != TABLE_HIT)
            continue;
        hits++;
        assert_number(t, numbered(key, "https://h/", i), i);
    }
    writer_stats(w, &stats);
    assert_int_equal(stats.records, hits);
    assert_int_equal(stats.puts, KEYS);
    assert_int_equal(stats.evicted, KEYS - hits);
    assert_true(stats.promoted > 0);
    assert_in_range(hits, 15000, 40000);
    for (unsigned i = 0; i < 100; i++)
        assert_number(t, numbered(key, "https://h/", i), i);
    assert_number(t, numbered(key, "https://h/", KEYS - 1), KEYS - 1);

    /* Who left unread and comes back soon is remembered, and fills the main ring; who is read there stays. */
    for (unsigned i = 0; i < KEYS; i++) {
        struct table_copy copy;
        put_at(w, numbered(key, "again", i % 30000), i, 0, (struct put_options){0});
        assert_int_equal(look(t, numbered(key, "https://h/", i % 100), &copy), TABLE_HIT);
    }
    writer_stats(w, &stats);
    assert_true(stats.ghost_hits > 0);
    assert_true(stats.reinserted > 0);
}

/* Records so short that the index fills before the rings: neighbours move, then victims leave. */
static void a_full_index_keeps_the_books(void **state)
{
    enum { KEYS = 60000 };
    const struct entry e = {ENTRY_NAMES, 0, ENTRY_UNDATED, {NULL, 0}};
    struct writer *w = *state;
    uint8_t value[ENTRY_SIZE];
    struct writer_stats stats;
    struct table_copy copy;
    char key[64];
    uint64_t hits = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        const struct writer_put put = {.key = numbered(key, "k", i),
                                       .value = span_of((char *)value, entry_encode(value, sizeof value, &e))};
        assert_int_equal(writer_put(w, &put), WRITER_OK);
        assert_int_equal(look(writer_table(w), put.key, &copy), TABLE_HIT);
    }
    for (unsigned i = 0; i < KEYS; i++)
        hits += look(writer_table(w), numbered(key, "k", i), &copy) == TABLE_HIT;
    writer_stats(w, &stats);
    assert_true(stats.kicked > 0);
    assert_true(stats.bucket_full > 0);
    assert_int_equal(stats.records, hits);
    assert_int_equal(stats.evicted, KEYS - hits);
}

/* Everything visited: room must still be made in bounded work. */
static void a_table_of_favourites_still_takes_records(void **state)
{
    struct writer *w = *state;
    struct stat st;
    char key[64];

    fstat(writer_touch_fd(w), &st);
    uint8_t *touch = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, writer_touch_fd(w), 0);
    assert_ptr_not_equal(touch, MAP_FAILED);
    for (unsigned i = 0; i < 60000; i++) {
        memset(touch, 0xff, i % 64 ? 0 : (size_t)st.st_size);
        assert_int_equal(put_at(w, numbered(key, "k", i), i, 0, (struct put_options){0}), WRITER_OK);
        assert_number(writer_table(w), numbered(key, "k", i), i);
    }
    munmap(touch, (size_t)st.st_size);
}

/* ---- size ---- */

static void sizes_are_kept_to(void **state)
{
    const uint64_t sizes[] = {4 * MIB, 5 * MIB + 4711, 31 * MIB, 32 * MIB, 100 * MIB};
    const char *why = NULL;

    (void)state;
    assert_null(writer_create(&(struct writer_size){.bytes = 4 * MIB - 1}, &why));
    assert_null(writer_create(&(struct writer_size){.bytes = UINT64_C(33) << 30}, &why));
    assert_null(writer_create(&(struct writer_size){.bytes = 4 * MIB, .log2_cells = 20}, &why));
    assert_null(writer_create(&(struct writer_size){.bytes = 4 * MIB, .log2_cells = 7}, &why));
    assert_non_null(why);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct writer_stats stats;
        struct writer *w = new_writer(sizes[i]);
        writer_stats(w, &stats);
        assert_in_range(stats.bytes, sizes[i] - 128 * 1024, sizes[i]);
        PUT(w, "a", i);
        assert_number(writer_table(w), span_str("a"), i);
        writer_retire(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WRITER(a_record_is_found_whole),
        WITH_WRITER(invalidation_covers_what_it_names),
        WITH_WRITER(every_scope_counts),
        WITH_WRITER(what_does_not_fit_is_refused),
        WITH_WRITER(capsules_are_stored_once),
        WITH_WRITER(eviction_keeps_the_books),
        WITH_WRITER(a_full_index_keeps_the_books),
        WITH_WRITER(a_table_of_favourites_still_takes_records),
        WITH_WRITER(cleaning_brings_nothing_back),
        WITH_WRITER(cleaning_takes_every_bit),
        WITH_TINY_DICTIONARY(inline_capsules_are_whole),
        WITH_TINY_DICTIONARY(a_capsule_that_fits_nowhere_is_refused),
        cmocka_unit_test(sizes_are_kept_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
