/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/writer.h"

#include <stdlib.h>

#include "etagd/writer_private.h"

/* ---- life ---- */

static void writer_free(struct writer *w)
{
    table_unmap(w->table);
    dict_free(w);
    free(w->ghost);
    memory_close(w);
    free(w);
}

struct writer *writer_create(const struct writer_size *size, const char **why)
{
    struct writer *w = calloc(1, sizeof *w);

    *why = "out of memory";
    if (!w)
        return NULL;
    if (!memory_create(w, size, why))
        goto fail;
    ring_publish_limit(w, RING_SMALL);
    ring_publish_limit(w, RING_MAIN);
    /* As many ghosts as half the index: what the main ring holds when records are typical. */
    w->nghost = w->nbuckets * (TABLE_SLOTS / 2);
    w->ghost = calloc(w->nghost, sizeof *w->ghost);
    if (!w->ghost || !dict_create(w)) {
        *why = "out of memory";
        goto fail;
    }
    w->table = table_at(w->base, w->bytes, w->touch, w->touch_bytes, why);
    if (!w->table)
        goto fail;
    w->stats.bytes = w->bytes;
    return w;
fail:
    writer_free(w);
    return NULL;
}

void writer_retire(struct writer *w)
{
    if (!w)
        return;
    table_write(&w->header->state, table_salt_field(w->salt, TABLE_FIELD_STATE), TABLE_STATE_RETIRED);
    writer_lease(w, 0);
    memory_give_back(w);
    writer_free(w);
}

void writer_leave(struct writer *w)
{
    if (!w)
        return;
    writer_lease(w, 0);
    writer_free(w);
}

int writer_table_fd(const struct writer *w)
{
    return w->table_fd;
}

int writer_touch_fd(const struct writer *w)
{
    return w->touch_fd;
}

uint64_t writer_generation(const struct writer *w)
{
    return w->generation;
}

uint64_t writer_seq(const struct writer *w)
{
    return w->seq;
}

void writer_stats(const struct writer *w, struct writer_stats *out)
{
    *out = w->stats;
}

const struct table *writer_table(const struct writer *w)
{
    return w->table;
}

/* ---- records ---- */

static uint8_t add_scopes(const struct writer *w, union record *record, const struct span *scopes, size_t n)
{
    uint32_t id[SCOPE_MAX];
    uint8_t count = 0;

    for (size_t i = 0; i < n; i++) {
        const uint32_t next = scope_id(w, scopes[i]);
        uint8_t k = 0;
        while (k < count && id[k] != next)
            k++;
        if (k == count)
            id[count++] = next;
    }
    memcpy(record->bytes + sizeof record->r, id, count * sizeof id[0]);
    return count;
}

bool record_is_stale(const struct writer *w, const union record *record)
{
    const uint64_t seq = table_seq_of(&record->r);
    uint64_t last;

    if (record->r.flags & TABLE_SELF)
        return false;
    if (seq < w->flush)
        return true;
    for (unsigned i = 0; i < record->r.nscopes; i++) {
        uint32_t scope;
        memcpy(&scope, record->bytes + sizeof record->r + i * sizeof scope, sizeof scope);
        if (!table_scope_last(&w->cells, scope, &last) || seq < last)
            return true;
    }
    return false;
}

/* Rounded down: a record may end up to a second early, never late. */
static uint32_t expiry_of(const struct writer *w, uint32_t ttl_s)
{
    const uint64_t at = (table_now_ms() - w->birth_ms) / 1000 + ttl_s;

    if (ttl_s == 0)
        return TABLE_NO_EXPIRY;
    return at < TABLE_NO_EXPIRY ? (uint32_t)at : TABLE_NO_EXPIRY - 1;
}

/* Interned; behind the value, where the record ends so far, when the dictionary has no room. */
static bool add_capsule(struct writer *w, struct span capsule, union record *record, size_t *bytes)
{
    if (dict_intern(w, capsule, &record->r.capsule))
        return true;
    if (capsule.n > sizeof record->bytes - *bytes) {
        w->stats.capsules_full++;
        return false;
    }
    memcpy(record->bytes + *bytes, capsule.p, capsule.n);
    *bytes += capsule.n;
    record->r.flags |= TABLE_INLINE;
    record->r.capsule = (uint32_t)capsule.n;
    w->stats.capsules_inline++;
    return true;
}

static enum writer_result build(struct writer *w, const struct writer_put *put, struct table_id id,
                                union record *record)
{
    const bool self = put->flags & TABLE_SELF;

    if (put->nscopes > SCOPE_MAX || put->capsule.n > CAPSULE_MAX)
        return WRITER_TOO_LONG;
    memset(&record->r, 0, sizeof record->r);
    const uint8_t nscopes = self ? 0 : add_scopes(w, record, put->scopes, put->nscopes);
    const size_t head = sizeof record->r + nscopes * sizeof(uint32_t);
    if (put->value.n > sizeof record->bytes - head)
        return WRITER_TOO_LONG;
    memcpy(record->bytes + head, put->value.p, put->value.n);
    size_t bytes = head + put->value.n;

    record->r.flags = self ? TABLE_SELF : 0;
    record->r.nscopes = nscopes;
    record->r.h0 = id.h0;
    record->r.h1 = id.h1;
    record->r.seq_value = (self ? w->seq : put->seq) | (uint64_t)put->value.n << 48;
    record->r.expiry = expiry_of(w, put->ttl_s);
    /* A seq from the future is of no generation we know. */
    if (!self && (put->seq > w->seq || record_is_stale(w, record)))
        return WRITER_STALE;
    if (!add_capsule(w, put->capsule, record, &bytes))
        return WRITER_TOO_LONG;
    record->r.words = (uint16_t)((bytes + 7) / 8);
    memset(record->bytes + bytes, 0, record->r.words * 8u - bytes);
    return WRITER_OK;
}

enum writer_result writer_put(struct writer *w, const struct writer_put *put)
{
    const struct table_id id = table_identify(w->table, put->key);
    union record record;
    const enum writer_result built = build(w, put, id, &record);

    if (built != WRITER_OK) {
        w->stats.refused++;
        if (built == WRITER_TOO_LONG)
            writer_remove(w, put->key);
        return built;
    }
    table_word *slot = index_find(w, id);
    unsigned ring = slot ? slot_ring(w, slot_load(slot)) : RING_SMALL;
    if (!slot && ghost_take(w, id))
        ring = RING_MAIN;
    ring_reserve(w, ring, record.r.words);
    const uint64_t word = ring_append(w, ring, &record);

    slot = index_find(w, id); /* making room may have evicted or moved it */
    if (!slot) {
        slot = index_place(w, id);
        slot_set_visited(w, slot, false);
        w->stats.records++;
    }
    slot_store(slot, word);
    w->stats.puts++;
    return WRITER_OK;
}

bool writer_remove(struct writer *w, struct span key)
{
    table_word *slot = index_find(w, table_identify(w->table, key));

    if (!slot)
        return false;
    slot_store(slot, 0);
    slot_set_visited(w, slot, false);
    w->stats.records--;
    w->stats.removed++;
    return true;
}

/* ---- lease ---- */

void writer_lease(struct writer *w, uint64_t until_ms)
{
    table_write(&w->header->lease_ms, table_salt_field(w->salt, TABLE_FIELD_LEASE), until_ms);
}
