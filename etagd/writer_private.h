/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's inside, shared by its files: writer.c (records, lease), writer_cells.c (invalidation),
 * writer_index.c (slots), writer_ring.c (rings, eviction), writer_dict.c (capsules), writer_memory.c (the memfds).
 *
 * Invariant of a ring, in logical positions (words since creation, never wrapped):
 *     head <= tail <= limit <= head + words
 * [head, tail) holds records and padding, in order. Readers were told limit (header.reserved) before
 * anything was written beyond the last one told; what lies more than a lap below it may be overwritten
 * at any moment, and no slot leads there.
 */
#ifndef ETAGD_WRITER_PRIVATE_H
#define ETAGD_WRITER_PRIVATE_H

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define RING_CHUNK 8192u /* words reserved at a time: 64 KiB */
#define RING_CHUNKS_MIN 4u /* of either ring */
#define RING_PASSES 16u /* chunks of survivors re-inserted before room is made by force */

enum { RING_SMALL, RING_MAIN };

struct ring {
    uint32_t base, words; /* in words from off_ring; words is a multiple of RING_CHUNK */
    uint64_t head, tail, limit;
};

struct dict {
    uint32_t *units; /* open addressing: dictionary unit, 0 free */
    uint32_t mask;
};

struct writer {
    uint8_t *base;
    uint64_t bytes;
    struct table_header *header;
    table_word *index, *cell, *summary, *dict_words, *ring_words;
    struct table *table; /* own read handle on the same mapping */
    struct table_cells cells;
    uint64_t generation, salt, birth_ms;
    uint64_t seq, flush, dict_used;
    uint32_t nbuckets, dict_size;

    struct ring ring[2];
    bool force; /* room by dropping what would be kept */
    uint32_t *ghost; /* fingerprints of keys that left the small ring unread, by h0 */
    uint32_t nghost;
    struct dict dict;

    uint8_t *touch; /* a byte per bucket, a bit per slot: read since it was last looked at. Only a hint:
                       every process of httpd can write here */
    size_t touch_bytes;
    int table_fd, touch_fd;
    struct writer_stats stats;
};

/* A record while it is private. */
union record {
    uint64_t words[TABLE_RECORD_WORDS];
    uint8_t bytes[TABLE_RECORD_WORDS * 8];
    struct table_record r;
};

/* writer_memory.c */

/* Fills the memory's part of *w: sizes, mappings, descriptors, sections, header. */
bool memory_create(struct writer *w, const struct writer_size *size, const char **why);
void memory_give_back(struct writer *w); /* all but the header, to the system */
void memory_close(struct writer *w);

/* writer_index.c */

/* The slot that leads to this key's record, or NULL. */
table_word *index_find(struct writer *w, struct table_id id);
/* A slot for a key that has none: free, made free by moving a neighbour, or taken from a victim. */
table_word *index_place(struct writer *w, struct table_id id);
uint64_t slot_load(const table_word *slot);
void slot_store(table_word *slot, uint64_t word);
bool slot_visited(const struct writer *w, const table_word *slot);
void slot_set_visited(struct writer *w, const table_word *slot, bool visited);
unsigned slot_ring(const struct writer *w, uint64_t word);

/* writer_ring.c */

/* Makes room for a record of n words: evicts, re-inserts, and tells the readers. */
void ring_reserve(struct writer *w, unsigned ring, uint32_t n);
/* Completes (slot, checksum) and writes a record; room was reserved. Returns the slot word, which the
 * caller publishes. */
uint64_t ring_append(struct writer *w, unsigned ring, union record *record);
void ring_publish_limit(struct writer *w, unsigned ring);
uint64_t ring_age(const struct writer *w, uint64_t word); /* words written to its ring since */
/* True, once, when the key left the small ring unread not long ago. */
bool ghost_take(struct writer *w, struct table_id id);

/* writer_cells.c */

/* What a scope's text is in a record, and what its cells follow from. */
uint32_t scope_id(const struct writer *w, struct span text);

/* writer.c */

/* True when flush or a scope has a larger seq. */
bool record_is_stale(const struct writer *w, const union record *record);

/* writer_dict.c */

bool dict_create(struct writer *w);
/* The unit of these bytes, written if new; 0 when they are none; false when the dictionary has no room. */
bool dict_intern(struct writer *w, struct span capsule, uint32_t *unit);
void dict_free(struct writer *w);

#endif
