/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared table: written by one etagd, read by every httpd process of the node without a lock,
 * a system call or a write. This header is the layout's specification.
 *
 * One sealed memfd per generation (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, mode 0440), handed over
 * by ATTACH (proto.h). Sections, each 64-byte aligned, native little-endian:
 *
 *   [header 4096][summary][cells][index][dictionary][ring small | ring main]
 *
 *  - index: buckets of 8 atomic 64-bit slots, tag16 | lap16 | off32; two candidate buckets for a key.
 *    A slot changes by one atomic store: a writer killed anywhere leaves it old or new.
 *  - rings: immutable records (struct table_record), checksummed; small 10 % and main 90 % form an
 *    S3-FIFO. The writer publishes in the header how far it may overwrite before it does; the reader
 *    copies, then checks that word: a torn copy is noticed.
 *  - dictionary: header capsules, append-only, each distinct one once; a unit is checksummed and seeded with
 *    its position. A record names its capsule by unit. What no longer fits the dictionary stands in the
 *    record itself, behind the value (TABLE_INLINE), under the record's checksum.
 *  - cells: for each scope two cells (count-min) hold the seq of its last invalidation; the summary
 *    holds a bit per cell, so that a scope not invalidated for long costs no cell access. Bits of old cells
 *    are cleared only after the flush word was raised to where no older record counts.
 *    A scope is known by 32 bits of SipHash-2-4-64 of its text (scope.h) under the table's sipkey; its
 *    cells are id & (2^n - 1) and (id * 0x9E3779B1 mod 2^32) >> (32 - n).
 *  - control words carry 48 bits of value and 16 of check, salted by generation and position, never 0:
 *    a page of zeros is damage. The arithmetic is in table_word.h.
 *
 * A reader believes nothing it did not check on its private copy. Every failure is a miss.
 * Order of a lookup (rule: the lease before everything): load the lease word; then slots, record,
 * window, checksum, cells, and after them flush; then CLOCK_BOOTTIME; it is a hit only if that is before the lease
 * loaded first, and by no more than TABLE_LEASE_MAX_MS. A record with TABLE_SELF (a file's digest keyed by
 * its stat identity) is true whatever lease, flush and scopes say, and skips them.
 *
 * seq is private to a generation and never leaves the node. A publisher takes table_snapshot() before
 * it begins to generate a response; its record carries that seq and is dead once any of its scopes, or
 * the flush word, has a larger one.
 */
#ifndef ETAG_LIB_TABLE_H
#define ETAG_LIB_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "etagd/lib/entry.h"
#include "etagd/lib/scope.h"

#define TABLE_MAGIC UINT64_C(0x4C42415447415445) /* "ETAGTABL" in memory order, whatever the version */
#define TABLE_MAJOR 3u /* of the layout below: changes with it */

typedef _Atomic uint64_t table_word;
_Static_assert(sizeof(table_word) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "lock-free 64-bit atomics are required");

#define TABLE_SLOTS 8u          /* per bucket */
#define TABLE_RECORD_WORDS 96u  /* longest record: 768 bytes */

/* The longest lease that can be configured. A lease that ends later than this from now was given on another
 * clock, or by nobody: it is none. */
#define TABLE_LEASE_MAX_MS 60000u

enum { TABLE_STATE_LIVE = 1, TABLE_STATE_RETIRED = 2 };

struct table_header {
    /* immutable after creation; a reader copies these 128 bytes once and validates the copy */
    uint64_t magic;
    uint32_t major, minor;
    uint64_t generation; /* random, not 0 */
    uint64_t total;      /* bytes of the whole table */
    uint64_t off_cells, off_index, off_dict, off_ring;
    uint32_t nbuckets, log2_cells, ring_units, dict_units; /* units of 8 bytes */
    uint64_t birth_ms;   /* CLOCK_BOOTTIME; expiries count from it */
    uint8_t sipkey[16];
    uint64_t off_summary;
    uint64_t checksum;   /* XXH3 of the 112 bytes before it, xor small_units */
    uint32_t small_units, reserved0;
    /* one cache line of control words */
    _Alignas(64) table_word lease_ms; /* CLOCK_BOOTTIME until which trusted records may be believed;
                                         at most TABLE_LEASE_MAX_MS ahead */
    table_word reserved[2];           /* lap16 | off32 per ring: everything below may be overwritten */
    table_word flush;                 /* trusted records with a smaller seq are dead */
    table_word seq;                   /* last seq handed out */
    table_word state;
    table_word dict_used;             /* units of the dictionary written */
    table_word spare;
};
_Static_assert(sizeof(struct table_header) == 192, "layout");
_Static_assert(offsetof(struct table_header, lease_ms) == 128, "layout");

struct table_record {
    uint32_t checksum;  /* low half of XXH3 of bytes 4.., seeded with the generation */
    uint16_t words;     /* length */
    uint8_t flags;      /* TABLE_* below */
    uint8_t nscopes;
    uint64_t slot;      /* the slot word that leads here */
    uint64_t h0, h1;    /* identity: SipHash-2-4-128 of the key under the table's sipkey */
    uint64_t seq_value; /* seq 48 | length of value 16 */
    uint32_t expiry;    /* seconds since birth_ms, UINT32_MAX: none */
    uint32_t capsule;   /* dictionary unit, 0: none; with TABLE_INLINE: bytes of the capsule, 1 to CAPSULE_MAX */
    /* uint32_t scope[nscopes]; value bytes (entry.h); with TABLE_INLINE capsule bytes; zero padding */
};
_Static_assert(sizeof(struct table_record) == 48, "layout");

#define TABLE_PAD 1u  /* filler up to a ring's end */
#define TABLE_SELF 2u /* self-validating: lease, flush and scopes do not apply */
#define TABLE_INLINE 4u /* the capsule stands in the record */

/* ---- reader; a handle is private to the process and may be shared by its threads ---- */

struct table;

struct table_id {
    uint64_t h0, h1;
};

enum table_result {
    TABLE_HIT = 1,
    TABLE_MISS = 0,
    TABLE_VOID = -1,   /* no lease, retired or damaged, with or without a record: attach again */
    TABLE_STALE = -2,  /* there was a record; it was invalidated */
    TABLE_EXPIRED = -3, /* there was a record; its time is over */
    TABLE_CONFLICT = -4 /* valid, but it only says that nothing may be answered (ENTRY_CONFLICT) */
};

/* A lookup's private copy: nothing in it points into shared memory. */
struct table_copy {
    uint64_t words[TABLE_RECORD_WORDS];
    struct entry entry;   /* points into words */
    uint64_t seq;
    uint32_t expiry_s;    /* seconds since the table's birth, UINT32_MAX none */
    uint32_t capsule;     /* dictionary unit, 0: none there */
    struct span inlined;  /* an inline capsule, points into words; empty: none */
};

struct table_snapshot {
    uint64_t generation; /* 0: there was no table; such a snapshot publishes nothing */
    uint64_t seq;
};

/* Maps a table received from etagd; seals, size and header are checked. touch_fd (a byte per bucket,
 * writable hint for eviction) may be -1. The descriptors stay the caller's and may be closed at once.
 * NULL and *why (static text) when refused. */
struct table *table_map(int fd, int touch_fd, const char **why);

/* For tests and tools: a table at an address of this process; never unmapped by table_unmap. */
struct table *table_at(const void *base, size_t size, uint8_t *touch, size_t touch_size, const char **why);

void table_unmap(struct table *t);

uint64_t table_generation(const struct table *t);

/* Identity of a key (with its variant) in this table. Never fails. */
struct table_id table_identify(const struct table *t, struct span key);

/* Hides memory latency: call early, then look up. Neither is needed for correctness. */
void table_prefetch(const struct table *t, struct table_id id);
void table_prefetch_record(const struct table *t, struct table_id id);

/* No lock, no system call beyond the vDSO clock, bounded work, any thread. *out is defined for TABLE_HIT and
 * TABLE_CONFLICT, and for TABLE_STALE and TABLE_EXPIRED: what the record said while it was valid. The record's value
 * was decoded with entry_decode. */
enum table_result table_lookup(const struct table *t, struct table_id id, struct table_copy *out);

/* For etagd itself, which must know what will be believed once there is a lease again: as table_lookup, but the want
 * of one is no TABLE_VOID. Nothing may be answered with what it finds. */
enum table_result table_lookup_unleased(const struct table *t, struct table_id id, struct table_copy *out);

/* Whether the record of a hit belongs to this scope (scope.h): an invalidation of it would void the record. */
bool table_has_scope(const struct table *t, const struct table_copy *hit, struct span scope);

/* Copies the header capsule of a hit (at most CAPSULE_MAX bytes), whichever form it has. 0 bytes when it has
 * none; false when it is damaged: treat the hit as a miss. */
bool table_capsule(const struct table *t, const struct table_copy *hit, char out[CAPSULE_MAX], size_t *n);

/* Milliseconds until a hit expires, UINT64_MAX: it does not. */
uint64_t table_life_left(const struct table *t, const struct table_copy *hit);

/* Position to publish under; take it before a response is generated. */
struct table_snapshot table_snapshot(const struct table *t);

/* Milliseconds of lease left by CLOCK_BOOTTIME, 0 when lapsed or retired. */
uint64_t table_lease_left(const struct table *t);

#endif
