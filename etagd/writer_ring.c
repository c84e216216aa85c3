/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and eviction (S3-FIFO, Yang et al., SOSP 2023): new records enter the small ring, those read
 * there move to the main ring, those read in the main ring stay for another lap. A key that left the
 * small ring unread and comes back goes straight to the main ring.
 *
 * Order for a chunk that is to be overwritten: its survivors are written elsewhere and their slots
 * moved, the other slots cleared, then readers are told (reserved), then a fence, then new bytes.
 */
#include "etagd/writer_private.h"

/* Room beyond what a caller asked for: padding at a ring's end and start, and one record's survivor. */
#define RING_SLACK (2 * TABLE_RECORD_WORDS)

static uint64_t position_of(const struct ring *ring, uint64_t logical)
{
    return (logical / ring->words & 0xffff) << 32 | (uint32_t)(ring->base + logical % ring->words);
}

static table_word *word_at(const struct writer *w, const struct ring *ring, uint64_t logical)
{
    return w->ring_words + ring->base + logical % ring->words;
}

uint64_t ring_age(const struct writer *w, uint64_t word)
{
    const struct ring *ring = &w->ring[slot_ring(w, word)];
    const uint64_t laps = (uint64_t)ring->words << 16;
    const uint64_t logical = (word >> 32 & 0xffff) * ring->words + ((uint32_t)word - ring->base);

    return (ring->tail % laps + laps - logical) % laps;
}

void ring_publish_limit(struct writer *w, unsigned which)
{
    const struct ring *ring = &w->ring[which];

    atomic_store_explicit(
        &w->header->reserved[which],
        table_guard(position_of(ring, ring->limit), table_salt_field(w->salt, TABLE_FIELD_RESERVED_SMALL + which)),
        TABLE_DATA_STORE);
    TABLE_FENCE(memory_order_release); /* the limit before any byte written below it */
}

static void pad(struct writer *w, struct ring *ring, uint32_t words)
{
    const struct table_record filler = {.words = (uint16_t)words, .flags = TABLE_PAD};
    uint64_t first;

    memcpy(&first, &filler, sizeof first);
    table_store_words(word_at(w, ring, ring->tail), &first, 1);
    ring->tail += words;
}

uint64_t ring_append(struct writer *w, unsigned which, union record *record)
{
    struct ring *ring = &w->ring[which];
    const uint32_t n = record->r.words, offset = (uint32_t)(ring->tail % ring->words);

    if (n > ring->words - offset) /* a record never straddles the end */
        pad(w, ring, ring->words - offset);
    if (ring->tail % ring->words == 0) /* nor begins a ring, so that no slot word is 0 */
        pad(w, ring, 1);
    record->r.slot = table_tag(record->r.h1) << 48 | position_of(ring, ring->tail);
    record->r.checksum = table_checksum(record->words, (size_t)n * 8, w->generation);
    table_store_words(word_at(w, ring, ring->tail), record->words, n);
    ring->tail += n;
    return record->r.slot;
}

/* ---- ghosts ---- */

static uint32_t *ghost_of(struct writer *w, struct table_id id)
{
    return &w->ghost[table_range((uint32_t)(id.h0 >> 32), w->nghost)];
}

static uint32_t fingerprint(struct table_id id)
{
    return (uint32_t)id.h1 | 1;
}

bool ghost_take(struct writer *w, struct table_id id)
{
    uint32_t *ghost = ghost_of(w, id);

    if (*ghost != fingerprint(id))
        return false;
    *ghost = 0;
    w->stats.ghost_hits++;
    return true;
}

/* ---- eviction ---- */

static bool expired(const struct writer *w, const union record *record, uint64_t now_ms)
{
    return record->r.expiry != TABLE_NO_EXPIRY && now_ms >= w->birth_ms + (uint64_t)record->r.expiry * 1000;
}

static bool main_has_unused_room(const struct writer *w)
{
    const struct ring *ring = &w->ring[RING_MAIN];

    return ring->limit + 2 * RING_CHUNK <= ring->head + ring->words;
}

static bool worth_keeping(const struct writer *w, unsigned which, const union record *record, const table_word *slot,
                          uint64_t now_ms)
{
    const struct ring *to = &w->ring[RING_MAIN];

    if (w->force || to->limit - to->tail < record->r.words + RING_SLACK)
        return false;
    if (!slot_visited(w, slot) && !(which == RING_SMALL && main_has_unused_room(w)))
        return false;
    return !expired(w, record, now_ms) && !record_is_stale(w, record);
}

/* The record at the head moves on or leaves. */
static void let_go(struct writer *w, unsigned which, union record *record, uint64_t now_ms)
{
    const struct table_id id = {record->r.h0, record->r.h1};
    const uint64_t old = record->r.slot;
    table_word *slot = index_find(w, id);

    if (!slot || slot_load(slot) != old)
        return; /* replaced or removed before */
    if (worth_keeping(w, which, record, slot, now_ms)) {
        const uint64_t moved = ring_append(w, RING_MAIN, record);
        slot_set_visited(w, slot, false);
        slot_store(slot, moved);
        if (which == RING_MAIN)
            w->stats.reinserted++;
        else
            w->stats.promoted++;
        return;
    }
    slot_store(slot, 0);
    slot_set_visited(w, slot, false);
    w->stats.evicted++;
    w->stats.records--;
    if (which == RING_SMALL)
        *ghost_of(w, id) = fingerprint(id);
}

/* Advances head by one record or padding. A length that cannot be right means damaged memory: head
 * moves on by a word, and slots that still lead there fail the readers' checks. */
static void evict_one(struct writer *w, unsigned which, uint64_t now_ms)
{
    struct ring *ring = &w->ring[which];
    const uint32_t room = (uint32_t)(ring->words - ring->head % ring->words);
    union record record;

    table_load_words(record.words, word_at(w, ring, ring->head), 1);
    const uint32_t n = record.r.words;
    if (n == 0 || n > TABLE_RECORD_WORDS || n > room || n > ring->tail - ring->head) {
        ring->head++;
        return;
    }
    if (!(record.r.flags & TABLE_PAD) && n >= TABLE_HEAD_WORDS) {
        table_load_words(record.words, word_at(w, ring, ring->head), n);
        if (TABLE_POSITION(record.r.slot) == position_of(ring, ring->head))
            let_go(w, which, &record, now_ms);
    }
    ring->head += n;
}

static void advance(struct writer *w, unsigned which)
{
    struct ring *ring = &w->ring[which];
    const uint64_t limit = ring->limit + RING_CHUNK, now_ms = table_now_ms();

    if (which == RING_SMALL && limit > ring->head + ring->words)
        ring_reserve(w, RING_MAIN, RING_CHUNK); /* promotions; the main ring needs nothing of the small one */
    while (limit > ring->head + ring->words)
        evict_one(w, which, now_ms);
    ring->limit = limit;
    ring_publish_limit(w, which);
}

/*
 * A whole chunk stays reserved beyond the request, so that the survivors of the next chunk fit. When
 * everything survives nothing is gained: after some passes room is made by force, which bounds the
 * event loop's pause.
 */
void ring_reserve(struct writer *w, unsigned which, uint32_t n)
{
    const struct ring *ring = &w->ring[which];

    for (unsigned pass = 0; ring->limit - ring->tail < (uint64_t)n + RING_CHUNK; pass++) {
        w->force = pass >= RING_PASSES;
        advance(w, which);
    }
    w->force = false;
}
