/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "tests/unit/table_fixture.h"

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

/* ---- belief ---- */

static enum table_result unleased(const struct table *t, const char *key)
{
    struct table_copy copy;

    return table_lookup_unleased(t, table_identify(t, span_str(key)), &copy);
}

static void without_a_lease_nothing_is_believed(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);

    PUT(w, "a", 1);
    assert_in_range(table_lease_left(t), LONG_LEASE - 30000, LONG_LEASE);
    writer_lease(w, 0);
    assert_int_equal(table_lease_left(t), 0);
    assert_int_equal(result_of(t, "a"), TABLE_VOID);
    assert_int_equal(result_of(t, "unknown"), TABLE_VOID);
    writer_lease(w, table_now_ms()); /* over in this very millisecond */
    assert_int_equal(result_of(t, "a"), TABLE_VOID);
    assert_int_equal(unleased(t, "a"), TABLE_HIT); /* what will be believed when there is one again */
    assert_int_equal(unleased(t, "unknown"), TABLE_MISS);
    writer_lease(w, table_now_ms() + LONG_LEASE);
    assert_number(t, span_str("a"), 1);
    writer_invalidate(w, NULL, 0);
    assert_int_equal(unleased(t, "a"), TABLE_STALE);
}

/* Nobody gives such a lease: whoever finds one has another clock than the daemon. */
static void a_lease_too_long_is_none(void **state)
{
    static const uint64_t too_long[] = {1000, 1000 * 1000, UINT64_C(1) << 40};
    struct writer *w = *state;
    const struct table *t = writer_table(w);

    PUT(w, "a", 1);
    for (size_t i = 0; i < sizeof too_long / sizeof *too_long; i++) {
        writer_lease(w, table_now_ms() + TABLE_LEASE_MAX_MS + too_long[i]);
        assert_int_equal(table_lease_left(t), 0);
        assert_int_equal(result_of(t, "a"), TABLE_VOID);
        assert_int_equal(result_of(t, "unknown"), TABLE_VOID);
    }
    writer_lease(w, table_now_ms() + TABLE_LEASE_MAX_MS);
    assert_number(t, span_str("a"), 1);
    assert_int_equal(result_of(t, "unknown"), TABLE_MISS);
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

/* A record in an image, to be altered and signed again. */
static uint8_t *record_in(const struct image *image, const struct table *t, const char *key, struct table_record *r)
{
    const struct table_header *h = (const struct table_header *)image->at;
    struct table_copy copy;

    assert_int_equal(look(t, span_str(key), &copy), TABLE_HIT);
    memcpy(r, copy.words, sizeof *r);
    return image->at + h->off_ring + (uint64_t)(uint32_t)r->slot * 8;
}

static void sign_record(const struct image *image, uint8_t *at, struct table_record r)
{
    const struct table_header *h = (const struct table_header *)image->at;

    memcpy(at, &r, sizeof r);
    r.checksum = table_checksum(at, r.words * 8u, h->generation);
    memcpy(at, &r.checksum, sizeof r.checksum);
}

/* Whatever a record says of its parts, they are not looked for beyond its end. */
static void parts_beyond_a_record_are_refused(void **state)
{
    struct writer *w = *state;
    const char *why, *capsule = "Cache-Control: public, max-age=600, stale-while-revalidate=60\n";
    const uint32_t written = (uint32_t)strlen(capsule);
    struct table_record good, r;

    assert_int_equal(PUT(w, "a", 1, .scope = "Tt", .capsule = capsule), WRITER_OK);
    struct image image = image_of(w);
    struct table *t = table_at(image.at, image.size, NULL, 0, &why);
    uint8_t *at = record_in(&image, t, "a", &good);
    assert_int_equal(good.capsule, written);
    const uint32_t parts = (uint32_t)sizeof good + good.nscopes * 4u + table_value_of(&good);
    const uint32_t room = good.words * 8u - parts;

#define ALTERED(change) (r = good, (change), sign_record(&image, at, r), result_of(t, "a"))
    assert_int_equal(ALTERED(r.expiry = TABLE_NO_EXPIRY), TABLE_HIT);
    for (uint32_t n = 1; n <= room; n++)
        assert_int_equal(ALTERED(r.capsule = n), TABLE_HIT);
    for (uint32_t n = room + 1; n < 2 * CAPSULE_MAX; n++)
        assert_int_equal(ALTERED(r.capsule = n), TABLE_MISS);
    assert_int_equal(ALTERED(r.capsule = UINT32_MAX), TABLE_MISS);
    assert_int_equal(ALTERED(r.capsule = UINT32_MAX - parts + 1), TABLE_MISS);
    assert_int_equal(ALTERED(r.seq_value |= UINT64_C(0xffff) << 48), TABLE_MISS);
    for (unsigned n = 3; n < 256; n++)
        assert_int_equal(ALTERED(r.nscopes = (uint8_t)n), TABLE_MISS);
    for (unsigned bit = 0; bit < 8; bit++)
        if (!(1u << bit & (TABLE_SELF | TABLE_INLINE)))
            assert_int_equal(ALTERED(r.flags |= (uint8_t)(1u << bit)), TABLE_MISS);
#undef ALTERED
    table_unmap(t);
    free(image.at);
}

/* Within its record, but more than a caller has room for. */
static void an_inline_capsule_too_long_is_refused(void **state)
{
    struct writer *w = *state;
    const char *why;
    char capsule[CAPSULE_MAX + 1] = "";
    uint8_t value[ENTRY_SIZE];
    struct table_record r;
    const struct entry e = {ENTRY_UPSTREAM, 0, ENTRY_UNDATED, SPAN_LITERAL("\"abcdefghij\"")};

    memset(capsule, 'c', CAPSULE_MAX);
    const struct span encoded = span_of((const char *)value, entry_encode(value, sizeof value, &e));
    const struct writer_put put = {.key = SPAN_LITERAL("a"), .value = encoded, .capsule = span_str(capsule)};
    assert_int_equal(writer_put(w, &put), WRITER_OK);
    struct image image = image_of(w);
    struct table *t = table_at(image.at, image.size, NULL, 0, &why);
    uint8_t *at = record_in(&image, t, "a", &r);
    assert_capsule(t, put.key, put.capsule);

    /* what the tag loses the capsule gains */
    at[sizeof r + 2] -= 1;
    r.seq_value -= UINT64_C(1) << 48;
    sign_record(&image, at, r);
    assert_int_equal(result_of(t, "a"), TABLE_HIT);
    r.capsule++;
    sign_record(&image, at, r);
    assert_int_equal(result_of(t, "a"), TABLE_MISS);
    table_unmap(t);
    free(image.at);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_agrees_with_the_reference),
        cmocka_unit_test(guards_refuse_what_was_not_written),
        cmocka_unit_test(window_knows_what_still_stands),
        WITH_WRITER(without_a_lease_nothing_is_believed),
        WITH_WRITER(a_lease_too_long_is_none),
        WITH_WRITER(self_validating_records_need_no_lease),
        WITH_WRITER(expiry_counts_from_birth),
        WITH_WRITER(damaged_capsules_are_refused),
        WITH_TINY_DICTIONARY(parts_beyond_a_record_are_refused),
        WITH_TINY_DICTIONARY(an_inline_capsule_too_long_is_refused),
        WITH_WRITER(clients_map_but_cannot_write),
        cmocka_unit_test(a_retired_table_is_void),
        WITH_WRITER(what_is_no_table_is_refused),
        WITH_WRITER(a_lying_header_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
