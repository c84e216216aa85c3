/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reader and writer of the table must compute alike: guarded words, the window test, bucket and
 * cell positions, checksums, and how a shared word is loaded and stored. Private to table.c and the
 * writer; the layout is in table.h.
 *
 * Every byte of shared memory is accessed as an atomic 64-bit word. Data words are relaxed and ordered
 * by fences: the writer publishes how far it may overwrite (reserved), a release fence, then data; the
 * reader copies data, an acquire fence, then loads reserved. If any copied word came from an
 * overwrite, that load sees the new limit and the window test fails (C11 7.17.4, fence-fence
 * synchronisation). ThreadSanitizer does not model fences: under it the accesses are strengthened.
 */
#ifndef ETAG_LIB_TABLE_WORD_H
#define ETAG_LIB_TABLE_WORD_H

#include <time.h>

#include "etagd/lib/siphash.h"
#include "etagd/lib/table.h"
#include "etagd/lib/xxh.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TABLE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TABLE_TSAN 1
#endif

#if defined(TABLE_TSAN)
#define TABLE_DATA_LOAD memory_order_acquire
#define TABLE_DATA_STORE memory_order_release
#define TABLE_FENCE(order) ((void)0)
#else
#define TABLE_DATA_LOAD memory_order_relaxed
#define TABLE_DATA_STORE memory_order_relaxed
#define TABLE_FENCE(order) atomic_thread_fence(order)
#endif

#define TABLE_PAGE 4096u
#define TABLE_HEAD_WORDS ((uint32_t)(sizeof(struct table_record) / 8))
#define TABLE_NO_EXPIRY UINT32_MAX
#define TABLE_CELL_BITS_MIN 8u
#define TABLE_CELL_BITS_MAX 26u
#define TABLE_SUMMARY_BITS 48u /* cells described by one summary word */

/* ---- guarded words ---- */

#define TABLE_VALUE_MASK ((UINT64_C(1) << 48) - 1)

enum table_field {
    TABLE_FIELD_LEASE = 1,
    TABLE_FIELD_RESERVED_SMALL,
    TABLE_FIELD_RESERVED_MAIN,
    TABLE_FIELD_FLUSH,
    TABLE_FIELD_SEQ,
    TABLE_FIELD_STATE,
    TABLE_FIELD_DICT
};

/* The salt names generation and position: a word copied to another place, or left over from another
 * table, does not pass. Fields stay below 2^20, cells are multiples of 2^20, summaries are odd. */
static inline uint64_t table_salt(uint64_t generation)
{
    return generation & TABLE_VALUE_MASK;
}

static inline uint64_t table_salt_field(uint64_t salt, enum table_field field)
{
    return salt ^ (uint64_t)field << 8;
}

static inline uint64_t table_salt_cell(uint64_t salt, uint64_t i)
{
    return salt ^ (i + 1) << 20;
}

static inline uint64_t table_salt_summary(uint64_t salt, uint64_t i)
{
    return salt ^ ((i + 1) << 21 | 1);
}

/* The check is never 0, so that a zeroed page is damage whatever it held. */
static inline uint64_t table_guard(uint64_t value, uint64_t salt)
{
    const uint64_t check = (((value & TABLE_VALUE_MASK) ^ salt) * UINT64_C(0x9E3779B97F4A7C15)) >> 48;

    return value << 16 | (check ? check : 1);
}

static inline bool table_unguard(uint64_t word, uint64_t salt, uint64_t *value)
{
    *value = word >> 16;
    return table_guard(*value, salt) == word;
}

/* A control word by its own acquire load. */
static inline bool table_read(const table_word *at, uint64_t salt, uint64_t *value)
{
    return table_unguard(atomic_load_explicit(at, memory_order_acquire), salt, value);
}

static inline void table_write(table_word *at, uint64_t salt, uint64_t value)
{
    atomic_store_explicit(at, table_guard(value, salt), memory_order_release);
}

/* ---- rings ---- */

/* Position in a ring: lap16 | off32, the low 48 bits of a slot. */
#define TABLE_POSITION(slot) (TABLE_VALUE_MASK & (slot))

/*
 * The window test: do the words [off, off + words) of the lap still stand when the writer may overwrite
 * everything below reserved? They do if they were written in the lap reserved is in, below it, or in the
 * lap before, at or above it. 65,536 laps within one lookup would be needed to be deceived, and then by
 * a genuine record of the same key.
 */
static inline bool table_intact(uint64_t slot, uint32_t words, uint64_t reserved)
{
    const uint32_t off = (uint32_t)slot, limit = (uint32_t)reserved;
    const uint16_t lap = (uint16_t)(slot >> 32), limit_lap = (uint16_t)(reserved >> 32);

    if (lap == limit_lap)
        return (uint64_t)off + words <= limit;
    return (uint16_t)(lap + 1) == limit_lap && off >= limit;
}

static inline void table_load_words(uint64_t *to, const table_word *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = atomic_load_explicit(&from[i], TABLE_DATA_LOAD);
}

static inline void table_store_words(table_word *to, const uint64_t *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        atomic_store_explicit(&to[i], from[i], TABLE_DATA_STORE);
}

/* Over a private copy, without its first four bytes, where the checksum itself stands. */
static inline uint32_t table_checksum(const void *copy, size_t bytes, uint64_t seed)
{
    return (uint32_t)XXH3_64bits_withSeed((const uint8_t *)copy + 4, bytes - 4, seed);
}

/* ---- index ---- */

static inline uint32_t table_range(uint32_t x, uint32_t n)
{
    return (uint32_t)(((uint64_t)x * n) >> 32);
}

static inline uint32_t table_bucket(uint64_t h0, unsigned which, uint32_t nbuckets)
{
    return table_range(which ? (uint32_t)h0 : (uint32_t)(h0 >> 32), nbuckets);
}

static inline uint64_t table_tag(uint64_t h1)
{
    return h1 >> 48;
}

/* ---- scopes ---- */

struct table_cells {
    const table_word *cell, *summary;
    uint64_t salt;
    unsigned bits; /* 2^bits cells */
};

static inline uint64_t table_summary_words(unsigned bits)
{
    return (UINT64_C(1) << bits) / TABLE_SUMMARY_BITS + 1;
}

static inline uint32_t table_cell_of(uint32_t scope, unsigned which, unsigned bits)
{
    return which ? (scope * 0x9E3779B1u) >> (32 - bits) : scope & ((1u << bits) - 1);
}

/* Seq of the last invalidation that may have been this scope's, 0 for none: the smaller of its two
 * cells, so that another scope must share both to be taken for it. False: damaged. */
static inline bool table_scope_last(const struct table_cells *c, uint32_t scope, uint64_t *last)
{
    uint32_t at[2];
    uint64_t seq[2];

    *last = 0;
    for (unsigned k = 0; k < 2; k++) {
        uint64_t bits;
        at[k] = table_cell_of(scope, k, c->bits);
        const uint32_t word = at[k] / TABLE_SUMMARY_BITS;
        if (!table_read(&c->summary[word], table_salt_summary(c->salt, word), &bits))
            return false;
        if (!(bits >> (at[k] % TABLE_SUMMARY_BITS) & 1))
            return true;
    }
    for (unsigned k = 0; k < 2; k++)
        if (!table_read(&c->cell[at[k]], table_salt_cell(c->salt, at[k]), &seq[k]))
            return false;
    *last = seq[0] < seq[1] ? seq[0] : seq[1];
    return true;
}

/* ---- records ---- */

static inline uint64_t table_seq_of(const struct table_record *r)
{
    return r->seq_value & TABLE_VALUE_MASK;
}

static inline uint32_t table_value_of(const struct table_record *r)
{
    return (uint32_t)(r->seq_value >> 48);
}

/* Bytes of the capsule in the record itself. */
static inline uint32_t table_inline_of(const struct table_record *r)
{
    return r->flags & TABLE_INLINE ? r->capsule : 0;
}

/* Whether the parts that a record announces lie within its length. */
static inline bool table_parts_fit(const struct table_record *r)
{
    return (r->flags & ~(TABLE_SELF | TABLE_INLINE)) == 0 && r->nscopes <= SCOPE_MAX &&
           table_inline_of(r) <= CAPSULE_MAX &&
           sizeof *r + r->nscopes * 4u + table_value_of(r) + table_inline_of(r) <= (size_t)r->words * 8;
}

/* A dictionary unit: checksum 32, bytes 16, zero 16, then the bytes. Seeded with its position. */
struct table_capsule {
    uint32_t checksum;
    uint16_t bytes, zero;
    char text[CAPSULE_MAX];
};
_Static_assert(offsetof(struct table_capsule, text) == 8 && CAPSULE_MAX % 8 == 0, "layout");

static inline uint32_t table_capsule_words(size_t bytes)
{
    return (uint32_t)(1 + (bytes + 7) / 8);
}

static inline uint64_t table_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
