/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invalidation: the cells of scopes, the summary over them, the flush word.
 *
 * A scope's cells are found by hashing, so they also hold what other scopes left there; a summary bit says
 * that something did. Bits are only ever set by invalidations, so in time every lookup would read cells.
 * Cleaning takes back those bits whose cells are too old to matter to any record.
 */
#include "etagd/writer_private.h"

/* 32 bits of the text under the table's key; the 64-bit variant is unrelated to record identities. */
uint32_t scope_id(const struct writer *w, struct span text)
{
    return (uint32_t)siphash64(w->header->sipkey, text.p, text.n);
}

/* The cell before its summary bit: who sees the bit sees the seq. */
static void mark_cell(struct writer *w, uint32_t at, uint64_t seq)
{
    const uint32_t word = at / TABLE_SUMMARY_BITS;
    const uint64_t salt = table_salt_summary(w->salt, word), bit = UINT64_C(1) << at % TABLE_SUMMARY_BITS;
    uint64_t bits;

    table_write(&w->cell[at], table_salt_cell(w->salt, at), seq);
    if (!table_read(&w->summary[word], salt, &bits))
        bits = TABLE_VALUE_MASK & ~bit; /* damaged: what it said is unknown, so every cell counts */
    if (!(bits & bit)) {
        table_write(&w->summary[word], salt, bits | bit);
        w->stats.cells_marked++;
    }
}

static void flush_below(struct writer *w, uint64_t seq)
{
    w->flush = seq;
    table_write(&w->header->flush, table_salt_field(w->salt, TABLE_FIELD_FLUSH), seq);
}

uint64_t writer_invalidate(struct writer *w, const struct span *scopes, size_t n)
{
    const uint64_t seq = w->seq + 1; /* 48 bits last eight years at a million a second */

    for (size_t i = 0; i < n; i++) {
        const uint32_t id = scope_id(w, scopes[i]);
        for (unsigned k = 0; k < 2; k++)
            mark_cell(w, table_cell_of(id, k, w->cells.bits), seq);
    }
    if (n == 0)
        flush_below(w, seq);
    /* Last: a snapshot with this seq must not be judged by older cells. */
    table_write(&w->header->seq, table_salt_field(w->salt, TABLE_FIELD_SEQ), seq);
    w->seq = seq;
    w->stats.invalidations++;
    return seq;
}

/* ---- cleaning ---- */

/* Those of a summary word's bits whose cells are newer than seq, or damaged. */
static uint64_t newer_than(const struct writer *w, uint32_t word, uint64_t bits, uint64_t seq)
{
    uint64_t kept = 0;

    for (; bits; bits &= bits - 1) {
        const uint32_t at = word * TABLE_SUMMARY_BITS + (uint32_t)__builtin_ctzll(bits);
        uint64_t last;
        if (!table_read(&w->cell[at], table_salt_cell(w->salt, at), &last) || last > seq)
            kept |= bits & -bits;
    }
    return kept;
}

/*
 * The flush word first. A lookup that misses an invalidation because its bit is gone holds a record that
 * was older than the invalidation, so older than seq; it loads the flush word after the summary (table.c),
 * and is told there. Cells stay as they are: nobody looks at one whose bit is not set.
 */
void writer_clean(struct writer *w, uint64_t seq)
{
    if (seq > w->seq || w->stats.cells_marked == 0)
        return;
    if (seq > w->flush)
        flush_below(w, seq);
    w->stats.cells_marked = 0;
    for (uint32_t word = 0; word < table_summary_words(w->cells.bits); word++) {
        const uint64_t salt = table_salt_summary(w->salt, word);
        uint64_t bits;
        if (!table_read(&w->summary[word], salt, &bits) || bits == 0)
            continue; /* a damaged word voids what it is asked about */
        const uint64_t kept = newer_than(w, word, bits, seq);
        if (kept != bits)
            table_write(&w->summary[word], salt, kept);
        w->stats.cells_marked += (uint64_t)__builtin_popcountll(kept);
    }
}
