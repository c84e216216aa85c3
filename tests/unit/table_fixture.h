/* SPDX-License-Identifier: Apache-2.0 */
/* A small table, records that say which number they carry, and an image of the table to be altered. */
#ifndef TESTS_UNIT_TABLE_FIXTURE_H
#define TESTS_UNIT_TABLE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define MIB (UINT64_C(1) << 20)
#define LONG_LEASE TABLE_LEASE_MAX_MS
#define HEADER_IMMUTABLE offsetof(struct table_header, lease_ms)

static inline struct writer *new_writer_with(uint64_t bytes, uint32_t dict_bytes)
{
    const char *why = NULL;
    struct writer *w = writer_create(&(struct writer_size){.bytes = bytes, .dict_bytes = dict_bytes}, &why);

    if (!w)
        fail_msg("writer_create: %s", why);
    writer_lease(w, table_now_ms() + LONG_LEASE);
    return w;
}

static inline struct writer *new_writer(uint64_t bytes)
{
    return new_writer_with(bytes, 0);
}

static inline int setup(void **state)
{
    *state = new_writer(4 * MIB);
    return 0;
}

/* Its dictionary has room for a few words only. */
static inline int setup_tiny_dictionary(void **state)
{
    *state = new_writer_with(4 * MIB, 64);
    return 0;
}

static inline int teardown(void **state)
{
    writer_retire(*state);
    return 0;
}

/* A digest entry whose tag says which number it carries. */
static inline struct span entry_of(uint8_t buf[ENTRY_SIZE], uint64_t number)
{
    char tag[16];

    snprintf(tag, sizeof tag, "%015llu", (unsigned long long)number);
    const struct entry e = {ENTRY_DIGEST, 0, ENTRY_UNDATED, span_of(tag, sizeof tag)};
    const size_t n = entry_encode(buf, ENTRY_SIZE, &e);
    assert_int_not_equal(n, 0);
    return span_of((char *)buf, n);
}

static inline struct span numbered(char buf[64], const char *prefix, unsigned n)
{
    return span_of(buf, (size_t)snprintf(buf, 64, "%s%u", prefix, n));
}

struct put_options {
    const char *scope;
    uint32_t ttl_s;
    unsigned flags;
    const char *capsule;
};

static inline enum writer_result put_at(struct writer *w, struct span key, uint64_t number, uint64_t seq,
                                        struct put_options o)
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

static inline enum table_result look(const struct table *t, struct span key, struct table_copy *copy)
{
    return table_lookup(t, table_identify(t, key), copy);
}

static inline enum table_result result_of(const struct table *t, const char *key)
{
    struct table_copy copy;

    return look(t, span_str(key), &copy);
}

static inline void assert_number(const struct table *t, struct span key, uint64_t number)
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

static inline void assert_capsule(const struct table *t, struct span key, struct span expected)
{
    struct table_copy copy;
    char out[CAPSULE_MAX];
    size_t n = CAPSULE_MAX + 1;

    assert_int_equal(look(t, key, &copy), TABLE_HIT);
    assert_true(table_capsule(t, &copy, out, &n));
    assert_int_equal(n, expected.n);
    assert_memory_equal(out, expected.p, n);
}

/* The table's bytes in private memory, to be altered. */
struct image {
    uint8_t *at;
    size_t size;
};

static inline struct image image_of(const struct writer *w)
{
    struct stat st;
    assert_int_equal(fstat(writer_table_fd(w), &st), 0);
    struct image image = {aligned_alloc(TABLE_PAGE, ((size_t)st.st_size + TABLE_PAGE - 1) / TABLE_PAGE * TABLE_PAGE),
                          (size_t)st.st_size};
    assert_non_null(image.at);
    assert_int_equal(pread(writer_table_fd(w), image.at, image.size, 0), st.st_size);
    return image;
}

static inline void sign_header(struct table_header *h)
{
    h->checksum = XXH3_64bits(h, offsetof(struct table_header, checksum)) ^ h->small_units;
}

#define WITH_TINY_DICTIONARY(f) cmocka_unit_test_setup_teardown(f, setup_tiny_dictionary, teardown)
#define WITH_WRITER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
