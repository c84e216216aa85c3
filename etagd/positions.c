/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/positions.h"

#include <stdlib.h>

#include "etagd/lib/xxh.h"

#define SLOT_BITS 20
#define PENDING_BITS 14
#define MAP_SIZE 65536u /* records remembered; a power of two */

struct map_entry {
    uint64_t seq;
    struct log_id id;
    uint64_t visible_ns;
};

struct positions {
    uint64_t *newest; /* packed ids, rounded up */
    uint64_t newest_all, newest_any; /* of those that named everything; of all */
    uint64_t *pending; /* serials */
    uint64_t pending_all, pending_any, acknowledged;
    struct map_entry *map; /* ring; seq and id both rise from oldest to newest */
    size_t first, count;
};

struct positions *positions_new(void)
{
    struct positions *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->newest = calloc((size_t)1 << SLOT_BITS, sizeof *p->newest);
    p->pending = calloc((size_t)1 << PENDING_BITS, sizeof *p->pending);
    p->map = calloc(MAP_SIZE, sizeof *p->map);
    if (p->newest && p->pending && p->map)
        return p;
    positions_free(p);
    return NULL;
}

void positions_free(struct positions *p)
{
    if (!p)
        return;
    free(p->newest);
    free(p->pending);
    free(p->map);
    free(p);
}

static const struct map_entry *map_at(const struct positions *p, size_t i)
{
    return &p->map[(p->first + i) & (MAP_SIZE - 1)];
}

void positions_reset(struct positions *p, uint64_t seq, struct log_id id)
{
    memset(p->newest, 0, sizeof *p->newest << SLOT_BITS);
    p->newest_all = p->newest_any = 0;
    positions_flush(p, seq, id);
}

void positions_flush(struct positions *p, uint64_t seq, struct log_id id)
{
    p->first = 0;
    p->count = 1;
    p->map[0] = (struct map_entry){.seq = seq, .id = id};
}

void positions_record(struct positions *p, uint64_t seq, struct log_id id, uint64_t visible_ns)
{
    /* An id or seq that does not rise would break the search; the log and the table never do that. */
    if (p->count) {
        const struct map_entry *last = map_at(p, p->count - 1);

        if (log_id_cmp(id, last->id) <= 0 || seq < last->seq)
            return;
    }
    if (p->count == MAP_SIZE) {
        p->first = (p->first + 1) & (MAP_SIZE - 1);
        p->count--;
    }
    p->map[(p->first + p->count++) & (MAP_SIZE - 1)] =
        (struct map_entry){.seq = seq, .id = id, .visible_ns = visible_ns};
}

bool positions_as_of(const struct positions *p, uint64_t seq, struct log_id *out)
{
    size_t low = 0, high = p->count;

    /* The first entry above seq; of several entries with one seq (records that named no scope) the
     * oldest is the answer, hence the second search for the seq found. */
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (map_at(p, mid)->seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    seq = map_at(p, low - 1)->seq;
    for (high = low - 1, low = 0; low < high;) {
        size_t mid = low + (high - low) / 2;

        if (map_at(p, mid)->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    *out = map_at(p, low)->id;
    return true;
}

uint64_t positions_visible_at(const struct positions *p, struct log_id id)
{
    size_t low = 0, high = p->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = log_id_cmp(map_at(p, mid)->id, id);

        if (order == 0)
            return map_at(p, mid)->visible_ns;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

static size_t slot_of(struct span scope, unsigned bits)
{
    return (size_t)(XXH3_64bits(scope.p, scope.n) >> (64 - bits));
}

void positions_mark(struct positions *p, struct span scope, struct log_id id)
{
    uint64_t *slot = &p->newest[slot_of(scope, SLOT_BITS)];
    uint64_t packed = log_id_pack_up(id);

    if (*slot < packed)
        *slot = packed;
    if (p->newest_any < packed)
        p->newest_any = packed;
}

void positions_mark_all(struct positions *p, struct log_id id)
{
    uint64_t packed = log_id_pack_up(id);

    if (p->newest_all < packed)
        p->newest_all = packed;
}

void positions_pend(struct positions *p, struct span scope, uint64_t serial)
{
    uint64_t *slot = &p->pending[slot_of(scope, PENDING_BITS)];

    if (*slot < serial)
        *slot = serial;
    if (p->pending_any < serial)
        p->pending_any = serial;
}

void positions_pend_all(struct positions *p, uint64_t serial)
{
    if (p->pending_all < serial)
        p->pending_all = serial;
}

void positions_acknowledge(struct positions *p, uint64_t serial)
{
    if (p->acknowledged < serial)
        p->acknowledged = serial;
}

void positions_rename(struct positions *p)
{
    if (p->newest_all < p->newest_any)
        p->newest_all = p->newest_any;
    positions_pend_all(p, p->pending_any);
}

static uint64_t newest_of(const struct positions *p, const struct span *scopes, size_t n)
{
    uint64_t newest = p->newest_all;

    for (size_t i = 0; i < n; i++) {
        uint64_t slot = p->newest[slot_of(scopes[i], SLOT_BITS)];

        if (newest < slot)
            newest = slot;
    }
    return newest;
}

bool positions_covered(const struct positions *p, const struct span *scopes, size_t n, struct log_id as_of)
{
    if (p->pending_all > p->acknowledged)
        return true;
    for (size_t i = 0; i < n; i++)
        if (p->pending[slot_of(scopes[i], PENDING_BITS)] > p->acknowledged)
            return true;
    return newest_of(p, scopes, n) > log_id_pack_down(as_of);
}

struct log_id positions_valid_since(const struct positions *p, const struct span *scopes, size_t n)
{
    return log_id_unpack(newest_of(p, scopes, n));
}
