/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define MIB (UINT64_C(1) << 20)
#define LONG_LEASE 3600000u
#define HEADER_IMMUTABLE offsetof(struct table_header, lease_ms)

/* ---- helpers ---- */

static struct writer *new_writer(uint64_t bytes)
{
    const char *why = NULL;
    struct writer *w = writer_create(&(struct writer_size){.bytes = bytes}, &why);

    if (!w)
        fail_msg("writer_create: %s", why);
    writer_lease(w, table_now_ms() + LONG_LEASE);
    return w;
}

static int setup(void **state)
{
    *state = new_writer(4 * MIB);
    return 0;
}

static int teardown(void **state)
{
    writer_retire(*state);
    return 0;
}

/* A digest entry whose tag says which number it carries. */
static struct span entry_of(uint8_t buf[ENTRY_SIZE], uint64_t number)
{
    char tag[16];

    snprintf(tag, sizeof tag, "%015llu", (unsigned long long)number);
    const struct entry e = {ENTRY_DIGEST, 0, ENTRY_UNDATED, span_of(tag, sizeof tag)};
    const size_t n = entry_encode(buf, ENTRY_SIZE, &e);
    assert_int_not_equal(n, 0);
    return span_of((char *)buf, n);
}

static struct span numbered(char buf[64], const char *prefix, unsigned n)
{
    return span_of(buf, (size_t)snprintf(buf, 64, "%s%u", prefix, n));
}

struct put_options {
    const char *scope;
    uint32_t ttl_s;
    unsigned flags;
    const char *capsule;
};

static enum writer_result put_at(struct writer *w, struct span key, uint64_t number, uint64_t seq, struct put_options o)
{
    uint8_t value[ENTRY_SIZE];
    const struct span scope = span_str(o.scope);

    return writer_put(w, &(struct writer_put){.key = key,
                                              .seq = seq,
                                              .flags = o.flags,
                                              .ttl_s = o.ttl_s,
                                              .scopes = &scope,
                                              .nscopes = o.scope ? 1 : 0,
                                              .value = entry_of(value, number),
                                              .capsule = span_str(o.capsule)});
}

#define PUT(w, key, number, ...) put_at((w), span_str(key), (number), writer_seq(w), (struct put_options){__VA_ARGS__})

static enum table_result look(const struct table *t, struct span key, struct table_copy *copy)
{
    return table_lookup(t, table_identify(t, key), copy);
}

static enum table_result result_of(const struct table *t, const char *key)
{
    struct table_copy copy;

    return look(t, span_str(key), &copy);
}

static void assert_number(const struct table *t, struct span key, uint64_t number)
{
    struct table_copy copy;
    char tag[16];

    snprintf(tag, sizeof tag, "%015llu", (unsigned long long)number);
    assert_int_equal(look(t, key, &copy), TABLE_HIT);
    assert_int_equal(copy.entry.kind, ENTRY_DIGEST);
    assert_int_equal(copy.entry.tag.n, sizeof tag);
    assert_memory_equal(copy.entry.tag.p, tag, sizeof tag);
    /* the answer is private: it points into the copy */
    assert_true((const char *)copy.words < copy.entry.tag.p &&
                copy.entry.tag.p < (const char *)(copy.words + TABLE_RECORD_WORDS));
}

/* The table's bytes in private memory, to be altered. */
struct image {
    uint8_t *at;
    size_t size;
};

static struct image image_of(const struct writer *w)
{
    struct stat st;
    assert_int_equal(fstat(writer_table_fd(w), &st), 0);
    struct image image = {aligned_alloc(TABLE_PAGE, ((size_t)st.st_size + TABLE_PAGE - 1) / TABLE_PAGE * TABLE_PAGE),
                          (size_t)st.st_size};
    assert_non_null(image.at);
    assert_int_equal(pread(writer_table_fd(w), image.at, image.size, 0), st.st_size);
    return image;
}

static void sign_header(struct table_header *h)
{
    h->checksum = XXH3_64bits(h, offsetof(struct table_header, checksum)) ^ h->small_units;
}

/* ---- the words ---- */

/* Vectors of the reference implementation: key 00 01 .. 0f, message 00 01 .. n-1. */
static void siphash_agrees_with_the_reference(void **state)
{
    uint8_t key[16], message[15];
    uint64_t wide[2];

    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        message[i] = i;
    assert_int_equal(siphash64(key, "", 0), UINT64_C(0x726fdb47dd0e0e31));
    assert_int_equal(siphash64(key, message, 15), UINT64_C(0xa129ca6149be45e5));
    siphash128(key, "", 0, wide);
    assert_int_equal(wide[0], UINT64_C(0xe6a825ba047f81a3));
    assert_int_equal(wide[1], UINT64_C(0x930255c71472f66d));
}

static void guards_refuse_what_was_not_written(void **state)
{
    const uint64_t salt = table_salt(UINT64_C(0x123456789abcdef1));
    uint64_t value;
    unsigned elsewhere = 0;

    (void)state;
    for (uint64_t v = 0; v < 2000; v++) {
        const uint64_t s = table_salt_cell(salt, v), word = table_guard(v, s);
        assert_true(table_unguard(word, s, &value));
        assert_int_equal(value, v);
        for (unsigned bit = 0; bit < 64; bit++)
            assert_false(table_unguard(word ^ UINT64_C(1) << bit, s, &value));
        assert_false(table_unguard(0, s, &value));
        elsewhere += table_unguard(word, table_salt_cell(salt, v + 1), &value);
        elsewhere += table_unguard(word, table_salt_summary(salt, v), &value);
        elsewhere += table_unguard(word, table_salt_field(salt, TABLE_FIELD_FLUSH), &value);
    }
    assert_in_range(elsewhere, 0, 2); /* 6,000 tries at 2^-16 */
    assert_int_equal(table_guard(TABLE_VALUE_MASK, salt) >> 16, TABLE_VALUE_MASK);
}

static uint64_t position(uint16_t lap, uint32_t off)
{
    return (uint64_t)lap << 32 | off;
}

static void window_knows_what_still_stands(void **state)
{
    (void)state;
    /* the writer is in lap 7, may overwrite below 1000 */
    assert_true(table_intact(position(7, 900), 100, position(7, 1000)));
    assert_false(table_intact(position(7, 901), 100, position(7, 1000)));
    assert_false(table_intact(position(6, 999), 10, position(7, 1000)));
    assert_true(table_intact(position(6, 1000), 10, position(7, 1000)));
    assert_false(table_intact(position(5, 2000), 10, position(7, 1000)));
    assert_false(table_intact(position(8, 0), 10, position(7, 1000)));
    /* laps wrap, the tag above them does not matter */
    assert_true(table_intact(position(0xffff, 1000), 10, position(0, 1000)));
    assert_false(table_intact(position(0xffff, 999), 10, position(0, 1000)));
    assert_true(table_intact(UINT64_C(0xabcd) << 48 | position(7, 900), 100, position(7, 1000)));
    assert_false(table_intact(position(7, UINT32_MAX), 96, position(7, UINT32_MAX)));
}

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

/* Every one of the scopes a record may have is looked at. */
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

static void without_a_lease_nothing_is_believed(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);

    PUT(w, "a", 1);
    assert_in_range(table_lease_left(t), LONG_LEASE - 60000, LONG_LEASE);
    writer_lease(w, 0);
    assert_int_equal(table_lease_left(t), 0);
    assert_int_equal(result_of(t, "a"), TABLE_VOID);
    assert_int_equal(result_of(t, "unknown"), TABLE_VOID);
    writer_lease(w, table_now_ms()); /* over in this very millisecond */
    assert_int_equal(result_of(t, "a"), TABLE_VOID);
    writer_lease(w, table_now_ms() + LONG_LEASE);
    assert_number(t, span_str("a"), 1);
}

static void self_validating_records_need_no_lease(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);

    assert_int_equal(put_at(w, span_str("F1"), 1, UINT64_MAX, (struct put_options){.flags = TABLE_SELF, .scope = "Tt"}),
                     WRITER_OK);
    writer_invalidate(w, &SPAN_LITERAL("Tt"), 1);
    assert_number(t, span_str("F1"), 1);
    writer_invalidate(w, NULL, 0);
    assert_number(t, span_str("F1"), 1);
    writer_lease(w, 0);
    assert_number(t, span_str("F1"), 1);
    assert_int_equal(result_of(t, "F2"), TABLE_VOID);
    assert_int_equal(PUT(w, "F1", 2, .flags = TABLE_SELF), WRITER_OK);
    assert_number(t, span_str("F1"), 2);
}

static void expiry_counts_from_birth(void **state)
{
    struct writer *w = *state;
    const char *why;

    PUT(w, "a", 1, .ttl_s = 3000);
    PUT(w, "b", 2, .ttl_s = 5000);
    PUT(w, "F", 3, .ttl_s = 3000, .flags = TABLE_SELF);
    PUT(w, "c", 4, .ttl_s = UINT32_MAX);
    assert_number(writer_table(w), span_str("a"), 1);

    /* the same bytes an hour later */
    struct image image = image_of(w);
    struct table_header *h = (struct table_header *)image.at;
    h->birth_ms -= 3600000;
    sign_header(h);
    struct table *t = table_at(image.at, image.size, NULL, 0, &why);
    assert_non_null(t);
    assert_int_equal(result_of(t, "a"), TABLE_EXPIRED);
    assert_number(t, span_str("b"), 2);
    assert_int_equal(result_of(t, "F"), TABLE_EXPIRED);
    assert_number(t, span_str("c"), 4);
    table_unmap(t);
    free(image.at);
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
}

static void capsules_are_stored_once(void **state)
{
    struct writer *w = *state;
    struct writer_stats stats;
    struct table_copy first, second;
    char text[64], out[CAPSULE_MAX];
    size_t n;
    unsigned i = 0;

    PUT(w, "a", 1, .capsule = "Vary: A\n");
    PUT(w, "b", 2, .capsule = "Vary: A\n");
    PUT(w, "c", 3, .capsule = "Vary: B\n");
    writer_stats(w, &stats);
    assert_int_equal(stats.capsules, 2);
    look(writer_table(w), span_str("a"), &first);
    look(writer_table(w), span_str("b"), &second);
    assert_int_equal(first.capsule, second.capsule);

    while (PUT(w, "d", i, .capsule = numbered(text, "X-Long-Enough-To-Fill: ", i).p) == WRITER_OK)
        assert_in_range(++i, 0, 100000);
    writer_stats(w, &stats);
    assert_int_equal(stats.capsules_full, 1);
    assert_int_equal(stats.capsules, i + 2);
    assert_number(writer_table(w), span_str("d"), i - 1);
    assert_int_equal(PUT(w, "e", 1, .capsule = "Vary: A\n"), WRITER_OK); /* a known one needs no room */
    look(writer_table(w), span_str("e"), &second);
    assert_int_equal(first.capsule, second.capsule);
    look(writer_table(w), span_str("d"), &second);
    assert_true(table_capsule(writer_table(w), &second, out, &n));
    assert_int_equal(n, numbered(text, "X-Long-Enough-To-Fill: ", i - 1).n);
    assert_memory_equal(out, text, n);
}

static void damaged_capsules_are_refused(void **state)
{
    struct writer *w = *state;
    const char *why;
    struct table_copy copy;
    char out[CAPSULE_MAX];
    size_t n;

    PUT(w, "a", 1, .capsule = "Vary: A\n");
    struct image image = image_of(w);
    const struct table_header *h = (const struct table_header *)image.at;
    struct table *t = table_at(image.at, image.size, NULL, 0, &why);
    assert_int_equal(look(t, span_str("a"), &copy), TABLE_HIT);
    assert_true(table_capsule(t, &copy, out, &n));
    for (size_t byte = 0; byte < 16; byte++) {
        uint8_t *at = image.at + h->off_dict + copy.capsule * 8 + byte;
        *at ^= 0x40;
        assert_false(table_capsule(t, &copy, out, &n));
        *at ^= 0x40;
    }
    const uint32_t beyond[] = {copy.capsule + 1, copy.capsule + 2, h->dict_units, h->dict_units + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        struct table_copy other = copy;
        other.capsule = beyond[i];
        assert_false(table_capsule(t, &other, out, &n));
    }
    table_unmap(t);
    free(image.at);
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

/* ---- attachment ---- */

static void clients_map_but_cannot_write(void **state)
{
    struct writer *w = *state;
    const char *why;
    const int fd = writer_table_fd(w);
    struct stat st;

    PUT(w, "a", 1, .capsule = "Vary: A\n");
    struct table *t = table_map(fd, writer_touch_fd(w), &why);
    assert_non_null(t);
    assert_int_equal(table_generation(t), writer_generation(w));
    assert_number(t, span_str("a"), 1);
    table_unmap(t);
    t = table_map(fd, -1, &why);
    assert_non_null(t);
    assert_number(t, span_str("a"), 1);

    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_ptr_equal(mmap(NULL, TABLE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(ftruncate(writer_touch_fd(w), 0), -1);
    assert_int_equal(errno, EPERM);
    table_unmap(t);
}

static void a_retired_table_is_void(void **state)
{
    struct writer *w = new_writer(4 * MIB);
    const char *why;
    struct stat st;

    (void)state;
    PUT(w, "a", 1);
    PUT(w, "F", 2, .flags = TABLE_SELF);
    struct table *t = table_map(writer_table_fd(w), writer_touch_fd(w), &why);
    assert_number(t, span_str("a"), 1);
    const int fd = dup(writer_table_fd(w));
    writer_retire(w);
    assert_int_equal(fstat(fd, &st), 0); /* before a lookup: reading a hole allocates a page of zeros */
    assert_in_range(st.st_blocks, 0, 2 * TABLE_PAGE / 512);
    assert_int_equal(result_of(t, "a"), TABLE_VOID);
    assert_int_equal(result_of(t, "F"), TABLE_VOID);
    assert_int_equal(result_of(t, "b"), TABLE_VOID);
    assert_int_equal(table_snapshot(t).generation, 0);
    assert_int_equal(table_lease_left(t), 0);
    close(fd);
    table_unmap(t);
}

static void what_is_no_table_is_refused(void **state)
{
    struct writer *w = *state;
    const char *why = NULL;
    struct image image = image_of(w);
    int fd = memfd_create("unsealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);

    assert_int_equal(write(fd, image.at, image.size), (ssize_t)image.size);
    assert_null(table_map(fd, -1, &why));
    assert_non_null(why);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_null(table_map(fd, -1, &why));
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    struct table *t = table_map(fd, -1, &why);
    assert_non_null(t);
    table_unmap(t);
    close(fd);
    fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_null(table_map(fd, -1, &why));
    close(fd);

    for (size_t size = 0; size < image.size; size += size < TABLE_PAGE ? 511 : 70001)
        assert_null(table_at(image.at, size, NULL, 0, &why));
    assert_null(table_at(image.at + 8, image.size - 8, NULL, 0, &why));
    /* all of the immutable header but its last, unused word */
    for (size_t bit = 0; bit < (HEADER_IMMUTABLE - 4) * 8; bit++) {
        image.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_null(table_at(image.at, image.size, NULL, 0, &why));
        image.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(image.at);
}

/* A header that is signed but lies: the sizes are checked all the same. */
static void a_lying_header_is_refused(void **state)
{
    struct writer *w = *state;
    struct image image = image_of(w);
    struct table_header *h = (struct table_header *)image.at;
    const struct table_header good = *h;
    const char *why;
    struct table *t;

#define LIE(field, value)                                                                                              \
    do {                                                                                                               \
        h->field = (value);                                                                                            \
        sign_header(h);                                                                                                \
        assert_null(table_at(image.at, image.size, NULL, 0, &why));                                                    \
        memcpy(h, &good, HEADER_IMMUTABLE);                                                                            \
    } while (0)
    LIE(total, image.size + 1);
    LIE(total, good.off_ring);
    LIE(off_ring, good.off_ring + 64);
    LIE(off_ring, UINT64_MAX - 63);
    LIE(off_dict, good.off_dict + 8);
    LIE(off_dict, 0);
    LIE(off_index, image.size);
    LIE(off_cells, 64);
    LIE(off_summary, UINT64_MAX / 64 * 64);
    LIE(nbuckets, UINT32_MAX);
    LIE(nbuckets, 1);
    LIE(ring_units, good.ring_units + 1);
    LIE(ring_units, 0);
    LIE(small_units, good.ring_units + 1);
    LIE(small_units, 0);
    LIE(dict_units, UINT32_MAX);
    LIE(log2_cells, TABLE_CELL_BITS_MAX + 1);
    LIE(log2_cells, TABLE_CELL_BITS_MIN - 1);
    LIE(log2_cells, TABLE_CELL_BITS_MAX);
    LIE(generation, 0);
    LIE(major, TABLE_MAJOR + 1);
#undef LIE
    t = table_at(image.at, image.size, NULL, 0, &why);
    assert_non_null(t);
    table_unmap(t);
    free(image.at);
}

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
#define WITH_WRITER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_agrees_with_the_reference),
        cmocka_unit_test(guards_refuse_what_was_not_written),
        cmocka_unit_test(window_knows_what_still_stands),
        WITH_WRITER(a_record_is_found_whole),
        WITH_WRITER(invalidation_covers_what_it_names),
        WITH_WRITER(every_scope_counts),
        WITH_WRITER(without_a_lease_nothing_is_believed),
        WITH_WRITER(self_validating_records_need_no_lease),
        WITH_WRITER(expiry_counts_from_birth),
        WITH_WRITER(what_does_not_fit_is_refused),
        WITH_WRITER(capsules_are_stored_once),
        WITH_WRITER(damaged_capsules_are_refused),
        WITH_WRITER(eviction_keeps_the_books),
        WITH_WRITER(a_full_index_keeps_the_books),
        WITH_WRITER(a_table_of_favourites_still_takes_records),
        WITH_WRITER(clients_map_but_cannot_write),
        cmocka_unit_test(a_retired_table_is_void),
        WITH_WRITER(what_is_no_table_is_refused),
        WITH_WRITER(a_lying_header_is_refused),
        cmocka_unit_test(sizes_are_kept_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
