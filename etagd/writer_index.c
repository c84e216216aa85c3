/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots. Every change is one atomic store: readers, and a table whose writer died, see the old or the
 * new. A neighbour moved to its other bucket stands in both for a moment; a reader between the two
 * stores may miss it, never mistake it, because a record names its own slot word and key.
 */
#include "etagd/writer_private.h"

uint64_t slot_load(const table_word *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

/* The commit point of every change: the bytes a slot leads to were stored before it. */
void slot_store(table_word *slot, uint64_t word)
{
    atomic_store_explicit(slot, word, memory_order_release);
}

bool slot_visited(const struct writer *w, const table_word *slot)
{
    const size_t i = (size_t)(slot - w->index);

    return __atomic_load_n(&w->touch[i / TABLE_SLOTS], __ATOMIC_RELAXED) >> i % TABLE_SLOTS & 1;
}

void slot_set_visited(struct writer *w, const table_word *slot, bool visited)
{
    const size_t i = (size_t)(slot - w->index);
    uint8_t *at = &w->touch[i / TABLE_SLOTS];
    const uint8_t bit = (uint8_t)(1u << i % TABLE_SLOTS), old = __atomic_load_n(at, __ATOMIC_RELAXED);

    if (!(old & bit) == visited)
        __atomic_store_n(at, (uint8_t)(old ^ bit), __ATOMIC_RELAXED);
}

unsigned slot_ring(const struct writer *w, uint64_t word)
{
    return (uint32_t)word >= w->ring[RING_MAIN].base ? RING_MAIN : RING_SMALL;
}

/* Key of the record a slot leads to. */
static struct table_id record_id(const struct writer *w, uint64_t word)
{
    const table_word *at = w->ring_words + (uint32_t)word;

    return (struct table_id){atomic_load_explicit(at + offsetof(struct table_record, h0) / 8, memory_order_relaxed),
                             atomic_load_explicit(at + offsetof(struct table_record, h1) / 8, memory_order_relaxed)};
}

static table_word *bucket_of(const struct writer *w, struct table_id id, unsigned which)
{
    return w->index + (size_t)table_bucket(id.h0, which, w->nbuckets) * TABLE_SLOTS;
}

table_word *index_find(struct writer *w, struct table_id id)
{
    for (unsigned k = 0; k < 2; k++) {
        table_word *slots = bucket_of(w, id, k);
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            const uint64_t word = slot_load(&slots[i]);
            if (word == 0 || word >> 48 != table_tag(id.h1))
                continue;
            const struct table_id other = record_id(w, word);
            if (other.h0 == id.h0 && other.h1 == id.h1)
                return &slots[i];
        }
    }
    return NULL;
}

static table_word *first_free(table_word *slots, unsigned *used)
{
    table_word *free_slot = NULL;

    *used = 0;
    for (unsigned i = 0; i < TABLE_SLOTS; i++) {
        if (slot_load(&slots[i]))
            ++*used;
        else if (!free_slot)
            free_slot = &slots[i];
    }
    return free_slot;
}

/* Moves one entry of a full bucket to its other bucket; returns the slot it leaves. */
static table_word *move_one(struct writer *w, table_word *slots)
{
    for (unsigned i = 0; i < TABLE_SLOTS; i++) {
        const uint64_t word = slot_load(&slots[i]);
        const struct table_id id = record_id(w, word);
        table_word *first = bucket_of(w, id, 0), *second = bucket_of(w, id, 1);
        unsigned used;
        table_word *other = first_free(first == slots ? second : first, &used);
        if (!other)
            continue;
        slot_set_visited(w, other, slot_visited(w, &slots[i]));
        slot_store(other, word);
        w->stats.kicked++;
        return &slots[i];
    }
    return NULL;
}

/* Unread entries of the small ring first, then unread ones, then the oldest. */
static uint64_t victim_rank(const struct writer *w, const table_word *slot)
{
    const uint64_t word = slot_load(slot);
    const uint64_t age = ring_age(w, word) & TABLE_VALUE_MASK;

    if (slot_visited(w, slot))
        return age;
    return age | (UINT64_C(1) << (slot_ring(w, word) == RING_SMALL ? 49 : 48));
}

static table_word *take_victim(struct writer *w, struct table_id id)
{
    table_word *victim = NULL;
    uint64_t best = 0;

    for (unsigned k = 0; k < 2; k++) {
        table_word *slots = bucket_of(w, id, k);
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            const uint64_t rank = victim_rank(w, &slots[i]);
            if (!victim || rank > best) {
                victim = &slots[i];
                best = rank;
            }
        }
    }
    w->stats.bucket_full++;
    w->stats.evicted++;
    w->stats.records--;
    return victim;
}

table_word *index_place(struct writer *w, struct table_id id)
{
    table_word *first = bucket_of(w, id, 0), *second = bucket_of(w, id, 1);
    unsigned used_first, used_second;
    table_word *in_first = first_free(first, &used_first), *in_second = first_free(second, &used_second);
    table_word *slot = used_first <= used_second ? in_first : in_second;

    if (!slot)
        slot = move_one(w, first);
    if (!slot)
        slot = move_one(w, second);
    return slot ? slot : take_victim(w, id);
}
