/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "etagd/lib/entry.h"
#include "tests/unit/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char bytes400[ENTRY_TAG_MAX + 1] = "a tag as long as you like";

static const struct {
    enum entry_kind kind;
    unsigned flags;
    int64_t last_modified;
    size_t n; /* of the tag */
    bool good;
} entries[] = {
    {ENTRY_DIGEST, 0, 0, 16, true},
    {ENTRY_DIGEST, ENTRY_WEAK, -1, 16, true},
    {ENTRY_VERSION, 0, ENTRY_UNDATED, 16, true},
    {ENTRY_GENERATION, ENTRY_WEAK, INT64_MAX, 16, true},
    {ENTRY_FILE, 0, INT64_C(0x0102030405060708), 32, true},
    {ENTRY_UPSTREAM, 0, 0, 2, true},
    {ENTRY_UPSTREAM, ENTRY_WEAK, 0, ENTRY_TAG_MAX, true},
    {ENTRY_NAMES, 0, 0, 0, true},
    {ENTRY_NAMES, 0, 0, ENTRY_TAG_MAX, true},
    {ENTRY_DIGEST, 0, 0, 15, false},
    {ENTRY_DIGEST, 0, 0, 17, false},
    {ENTRY_DIGEST, 0, 0, 0, false},
    {ENTRY_VERSION, 0, 0, 32, false},
    {ENTRY_GENERATION, 0, 0, 12, false},
    {ENTRY_MODIFIED, ENTRY_ANY_QUERY, INT64_C(0x0102030405060708), 40, true},
    {ENTRY_MODIFIED, 0, 0, 32, false},
    {ENTRY_MODIFIED, 0, 0, 41, false},
    {ENTRY_FILE, 0, 0, 16, false},
    {ENTRY_FILE, 0, 0, 31, false},
    {ENTRY_UPSTREAM, 0, 0, 1, false},
    {ENTRY_UPSTREAM, 0, 0, 0, false},
    {ENTRY_UPSTREAM, 0, 0, ENTRY_TAG_MAX + 1, false},
    {ENTRY_NAMES, 0, 0, ENTRY_TAG_MAX + 1, false},
    {ENTRY_DIGEST, ENTRY_WEAK | ENTRY_ANY_QUERY, 0, 16, true},
    {ENTRY_UPSTREAM, ENTRY_CONFLICT, 0, 2, true},
    {ENTRY_NAMES, ENTRY_CONFLICT, 0, 0, false},
    {ENTRY_FILE, ENTRY_CONFLICT, 0, 32, false},
    {ENTRY_DIGEST, 8, 0, 16, false},
    {ENTRY_DIGEST, 0x101, 0, 16, false},
    {(enum entry_kind)'x', 0, 0, 16, false},
    {(enum entry_kind)0, 0, 0, 0, false},
    {(enum entry_kind)('d' + 256), 0, 0, 16, false},
};

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(entries); i++) {
        struct entry e = {entries[i].kind, entries[i].flags, entries[i].last_modified, {bytes400, entries[i].n}};
        struct entry back;
        uint8_t buf[ENTRY_SIZE + 1]; /* the limit refuses, not the buffer */
        size_t n = entry_encode(buf, sizeof(buf), &e);
        struct span bytes;

        assert_int_equal(n, entries[i].good ? 12 + entries[i].n : 0);
        if (!entries[i].good)
            continue;
        bytes = exact((const char *)buf, n);
        assert_true(entry_decode(bytes, &back));
        assert_int_equal(back.kind, e.kind);
        assert_int_equal(back.flags, e.flags);
        assert_true(back.last_modified == e.last_modified);
        assert_true(span_eq(back.tag, e.tag));
        assert_ptr_equal(back.tag.p, bytes.p + 12);
        exact_free(bytes);
    }
}

static void test_modified(void **state)
{
    static const int64_t moments[] = {0, -1, INT64_MIN, INT64_MAX, INT64_C(0x0102030405060708)};
    uint8_t tag[ENTRY_MODIFIED_SIZE], digest[32] = {1, 2, 3};

    (void)state;
    for (size_t i = 0; i < COUNT(moments); i++) {
        struct entry e = {.tag = {(const char *)tag, sizeof tag}};

        entry_modified_tag(tag, digest, moments[i]);
        assert_true(entry_modified_since(&e) == moments[i]);
        assert_memory_equal(tag, digest, sizeof digest);
    }
    assert_memory_equal(tag + 32, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
}

/* The bytes themselves, because two programs and Redis share them. */
static void test_layout(void **state)
{
    const struct entry e = {ENTRY_UPSTREAM, ENTRY_WEAK, INT64_C(0x0102030405060708), SPAN_LITERAL("W/\"a\"")};
    uint8_t buf[ENTRY_SIZE];

    (void)state;
    assert_int_equal(entry_encode(buf, sizeof(buf), &e), 17);
    assert_memory_equal(buf, "u\x01\x05\x00\x08\x07\x06\x05\x04\x03\x02\x01W/\"a\"", 17);
}

static void test_small_buffers(void **state)
{
    const struct entry e = {ENTRY_DIGEST, 0, 0, {bytes400, 16}};

    (void)state;
    for (size_t size = 0; size <= 28; size++) {
        uint8_t *buf = malloc(size);

        assert_int_equal(entry_encode(buf, size, &e), size == 28 ? 28 : 0);
        free(buf);
    }
}

/* Every length that is not the right one is refused, in a block of exactly that length. */
static void test_wrong_lengths(void **state)
{
    const struct entry e = {ENTRY_UPSTREAM, 0, 0, SPAN_LITERAL("\"abcdef\"")};
    struct entry out = {ENTRY_FILE, 7, 7, {NULL, 7}};
    char buf[64] = {0};
    size_t n = entry_encode((uint8_t *)buf, sizeof(buf), &e);

    (void)state;
    assert_int_equal(n, 20);
    for (size_t cut = 0; cut < sizeof(buf); cut++) {
        struct span bytes = exact(buf, cut);

        if (cut != n) {
            assert_false(entry_decode(bytes, &out));
            assert_int_equal(out.kind, ENTRY_FILE);
            assert_int_equal(out.tag.n, 7);
        }
        exact_free(bytes);
    }
    for (unsigned claimed = 0; claimed < 65536; claimed++) {
        struct span bytes;

        buf[2] = (char)(claimed & 0xff);
        buf[3] = (char)(claimed >> 8);
        bytes = exact(buf, n);
        assert_int_equal(entry_decode(bytes, &out), claimed == 8);
        exact_free(bytes);
    }
}

/* A tag over the limit, whole and consistent in itself. */
static void test_too_long_to_decode(void **state)
{
    char buf[ENTRY_SIZE + 1] = "u";
    struct entry out;

    (void)state;
    for (unsigned n = ENTRY_TAG_MAX; n <= ENTRY_TAG_MAX + 1; n++) {
        buf[2] = (char)(n & 0xff);
        buf[3] = (char)(n >> 8);
        assert_int_equal(entry_decode(span_of(buf, 12 + n), &out), n <= ENTRY_TAG_MAX);
    }
}

/* The first four bytes in all their values: accepted only where the header says so. */
static void test_every_kind_and_flag(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        for (unsigned flags = 0; flags < 256; flags++) {
            char buf[12 + 32] = {0};
            struct entry out;
            bool sixteen = kind == 'd' || kind == 'v' || kind == 'g' || kind == 'V';
            bool any = kind == 'u' || kind == 'N' || kind == 'T';

            buf[0] = (char)kind;
            buf[1] = (char)flags;
            buf[2] = 16;
            const unsigned most = kind == 'N' || kind == 'F' || kind == 'T' ? 3 : 7;
            assert_int_equal(entry_decode(span_of(buf, 28), &out), (sixteen || any) && flags <= most);
            buf[2] = 32;
            assert_int_equal(entry_decode(span_of(buf, 44), &out), (kind == 'F' || any) && flags <= most);
        }
    }
}

/* ---- capsule ---- */

static void test_capsule(void **state)
{
    static const struct {
        struct span name, value;
    } lines[] = {
        {SPAN_LITERAL("Cache-Control"), SPAN_LITERAL("max-age=60")},
        {SPAN_LITERAL("Vary"), SPAN_LITERAL("Accept-Encoding: x: y")},
        {SPAN_LITERAL("X"), SPAN_LITERAL("")},
        {SPAN_LITERAL("Content-Location"), SPAN_LITERAL("/\xc3\xa9 ")},
    };
    char buf[CAPSULE_MAX];
    size_t used = 0;
    struct span rest, name, value, bytes;

    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        assert_true(capsule_add(buf, &used, lines[i].name, lines[i].value));
    rest = bytes = exact(buf, used);
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_true(capsule_next(&rest, &name, &value));
        assert_true(span_eq(name, lines[i].name));
        assert_true(span_eq(value, lines[i].value));
    }
    assert_false(capsule_next(&rest, &name, &value));
    assert_int_equal(rest.n, 0);
    exact_free(bytes);
}

static void test_capsule_refuses(void **state)
{
    static const struct span bad_names[] = {{"", 0},     {"A B", 3},  {"A:", 2},  {"A\n", 2},
                                            {"A\0B", 3}, {"\xc3", 1}, {"(A)", 3}, {"A\x7f", 2}};
    static const struct span bad_values[] = {{"a\nb", 3}, {"a\r", 2},     {"a\0b", 3},
                                             {"a\tb", 3}, {"\x1b[0m", 4}, {"\x7f", 1}};
    char buf[CAPSULE_MAX];
    size_t used = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(bad_names); i++)
        assert_false(capsule_add(buf, &used, bad_names[i], SPAN_LITERAL("v")));
    for (size_t i = 0; i < COUNT(bad_values); i++)
        assert_false(capsule_add(buf, &used, SPAN_LITERAL("N"), bad_values[i]));
    assert_int_equal(used, 0);
    used = CAPSULE_MAX + 1;
    assert_false(capsule_add(buf, &used, SPAN_LITERAL("N"), SPAN_LITERAL("v")));
}

static void test_capsule_full(void **state)
{
    char *buf = malloc(CAPSULE_MAX), value[CAPSULE_MAX];

    (void)state;
    assert_non_null(buf);
    memset(value, 'v', sizeof(value));
    for (size_t before = 0; before < 40; before++) {
        for (size_t n = CAPSULE_MAX - 60; n <= CAPSULE_MAX; n++) {
            size_t used = before;
            bool fits = before + 4 + n <= CAPSULE_MAX; /* "N: " and the line's end */

            assert_int_equal(capsule_add(buf, &used, SPAN_LITERAL("N"), span_of(value, n)), fits);
            assert_int_equal(used, fits ? before + 4 + n : before);
        }
    }
    free(buf);
}

static void test_capsule_damaged(void **state)
{
    static const struct span damaged[] = {
        SPAN_LITERAL("A: b"),      SPAN_LITERAL("\n"),       SPAN_LITERAL("A\n"),      SPAN_LITERAL("A:\n"),
        SPAN_LITERAL("A:b\n"),     SPAN_LITERAL(": b\n"),    SPAN_LITERAL("A B: c\n"), SPAN_LITERAL("A: b\rc\n"),
        SPAN_LITERAL("A: b\0c\n"), SPAN_LITERAL("A\0: b\n"), SPAN_LITERAL("A"),        SPAN_LITERAL("A:"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(damaged); i++) {
        struct span bytes = exact(damaged[i].p, damaged[i].n), rest = bytes, name, value;

        if (capsule_next(&rest, &name, &value))
            fail_msg("damaged capsule %zu was read", i);
        assert_int_equal(rest.n, bytes.n);
        exact_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_modified),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_too_long_to_decode),
        cmocka_unit_test(test_every_kind_and_flag),
        cmocka_unit_test(test_capsule),
        cmocka_unit_test(test_capsule_refuses),
        cmocka_unit_test(test_capsule_full),
        cmocka_unit_test(test_capsule_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
