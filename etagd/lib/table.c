/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table's reader. Three laws: no offset or length from shared memory is used before it was checked
 * against the handle's own copy of the bounds; nothing is interpreted but the private copy; the lease
 * is loaded before anything else and compared with a clock read after everything else.
 */
#include "etagd/lib/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "etagd/lib/table_word.h"

/* Private to the process: once filled, the immutable part of the header is never read again. */
struct table {
    const struct table_header *header; /* for its control words */
    const table_word *index, *dict, *ring;
    struct table_cells cells;
    uint8_t *touch; /* a byte per bucket, or NULL */
    uint32_t nbuckets, ring_words, small_words, dict_words;
    uint64_t generation, salt, birth_ms;
    uint8_t sipkey[16];
    size_t mapped, touch_mapped; /* bytes to unmap; 0: not ours */
};

/* ---- attachment ---- */

static bool section_fits(const struct table_header *h, uint64_t offset, uint64_t bytes)
{
    return offset >= TABLE_PAGE && offset % 64 == 0 && offset <= h->total && bytes <= h->total - offset;
}

/* h is a private copy of the immutable part. */
static const char *header_fault(const struct table_header *h, size_t size)
{
    if (h->magic != TABLE_MAGIC)
        return "not an etagd table, or of another byte order";
    if (h->major != TABLE_MAJOR)
        return "table of another version: etagd and the module must come from the same release";
    if ((XXH3_64bits(h, offsetof(struct table_header, checksum)) ^ h->small_units) != h->checksum)
        return "table header is damaged";
    if (h->generation == 0 || h->total > size)
        return "table is shorter than its header says";
    if (h->log2_cells < TABLE_CELL_BITS_MIN || h->log2_cells > TABLE_CELL_BITS_MAX || h->nbuckets < 2 ||
        h->small_units < TABLE_RECORD_WORDS || h->small_units > h->ring_units ||
        h->ring_units - h->small_units < TABLE_RECORD_WORDS)
        return "table header names impossible sizes";
    if (!section_fits(h, h->off_summary, table_summary_words(h->log2_cells) * 8) ||
        !section_fits(h, h->off_cells, UINT64_C(8) << h->log2_cells) ||
        !section_fits(h, h->off_index, (uint64_t)h->nbuckets * TABLE_SLOTS * 8) ||
        !section_fits(h, h->off_dict, (uint64_t)h->dict_units * 8) ||
        !section_fits(h, h->off_ring, (uint64_t)h->ring_units * 8))
        return "a section of the table runs past its end";
    return NULL;
}

struct table *table_at(const void *base, size_t size, uint8_t *touch, size_t touch_size, const char **why)
{
    const uint8_t *at = base;
    struct table_header h;

    *why = "table is shorter than its header or not aligned";
    if (size < TABLE_PAGE || (uintptr_t)base % 64)
        return NULL;
    memcpy(&h, base, offsetof(struct table_header, lease_ms));
    if ((*why = header_fault(&h, size)))
        return NULL;

    struct table *t = calloc(1, sizeof *t);
    if (!t) {
        *why = "out of memory";
        return NULL;
    }
    t->header = base;
    t->index = (const table_word *)(at + h.off_index);
    t->dict = (const table_word *)(at + h.off_dict);
    t->ring = (const table_word *)(at + h.off_ring);
    t->generation = h.generation;
    t->salt = table_salt(h.generation);
    t->cells = (struct table_cells){.cell = (const table_word *)(at + h.off_cells),
                                    .summary = (const table_word *)(at + h.off_summary),
                                    .salt = t->salt,
                                    .bits = h.log2_cells};
    t->nbuckets = h.nbuckets;
    t->ring_words = h.ring_units;
    t->small_words = h.small_units;
    t->dict_words = h.dict_units;
    t->birth_ms = h.birth_ms;
    memcpy(t->sipkey, h.sipkey, sizeof t->sipkey);
    if (touch && touch_size >= t->nbuckets)
        t->touch = touch;
    return t;
}

/* Maps a file that can no longer shrink, so that no access can raise SIGBUS. */
static void *map_sealed(int fd, int protection, size_t *size, const char **why)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) {
        *why = "descriptor is not a sealed memfd";
        return NULL;
    }
    if (fstat(fd, &st) != 0 || st.st_size <= 0) {
        *why = "descriptor is empty or cannot be examined";
        return NULL;
    }
    *size = (size_t)st.st_size;
    void *at = mmap(NULL, *size, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        *why = errno == ENOMEM ? "no room to map the table (RLIMIT_AS?)" : "the table cannot be mapped";
        return NULL;
    }
    madvise(at, *size, MADV_HUGEPAGE); /* fewer page tables per process; refusal costs only speed */
    return at;
}

struct table *table_map(int fd, int touch_fd, const char **why)
{
    size_t size = 0, touch_size = 0;
    const char *ignored;
    void *base = map_sealed(fd, PROT_READ, &size, why);

    if (!base)
        return NULL;
    uint8_t *touch = touch_fd < 0 ? NULL : map_sealed(touch_fd, PROT_READ | PROT_WRITE, &touch_size, &ignored);
    struct table *t = table_at(base, size, touch, touch_size, why);
    if (!t || !t->touch) {
        if (touch)
            munmap(touch, touch_size);
        touch_size = 0;
    }
    if (!t) {
        munmap(base, size);
        return NULL;
    }
    t->mapped = size;
    t->touch_mapped = touch_size;
    return t;
}

void table_unmap(struct table *t)
{
    if (!t)
        return;
    if (t->touch_mapped)
        munmap(t->touch, t->touch_mapped);
    if (t->mapped)
        munmap((void *)(uintptr_t)t->header, t->mapped);
    free(t);
}

uint64_t table_generation(const struct table *t)
{
    return t->generation;
}

struct table_id table_identify(const struct table *t, struct span key)
{
    uint64_t h[2];

    siphash128(t->sipkey, key.p, key.n, h);
    return (struct table_id){h[0], h[1]};
}

/* ---- lookup ---- */

enum found {
    FOUND, /* out and *r hold a record of this key that the writer really published */
    OTHER, /* the slot leads to something else */
    OVERWRITTEN, /* the writer came by; the key may have moved */
    DAMAGED /* a control word failed its check */
};

/* Copies the record a slot leads to and proves the copy whole. */
static enum found copy_record(const struct table *t, uint64_t slot, struct table_id id, struct table_copy *out,
                              struct table_record *r)
{
    const uint32_t at = (uint32_t)slot;
    uint64_t reserved;

    if (slot == 0 || at >= t->ring_words)
        return OTHER;
    const unsigned ring = at >= t->small_words;
    const uint32_t room = (ring ? t->ring_words : t->small_words) - at;
    if (room < TABLE_HEAD_WORDS)
        return OTHER;

    TABLE_FENCE(memory_order_acquire); /* the slot was loaded before the bytes it leads to */
    __builtin_prefetch((const void *)(t->ring + at + 8));
    table_load_words(out->words, t->ring + at, TABLE_HEAD_WORDS);
    memcpy(r, out->words, sizeof *r);
    if (r->slot != slot || r->h0 != id.h0 || r->h1 != id.h1)
        return OTHER;
    if (r->words < TABLE_HEAD_WORDS || r->words > TABLE_RECORD_WORDS || r->words > room)
        return OTHER;
    table_load_words(out->words + TABLE_HEAD_WORDS, t->ring + at + TABLE_HEAD_WORDS, r->words - TABLE_HEAD_WORDS);

    TABLE_FENCE(memory_order_acquire); /* the copy was made before the limit is loaded */
    if (!table_read(&t->header->reserved[ring], table_salt_field(t->salt, TABLE_FIELD_RESERVED_SMALL + ring),
                    &reserved))
        return DAMAGED;
    if (!table_intact(slot, r->words, reserved))
        return OVERWRITTEN;
    if (table_checksum(out->words, (size_t)r->words * 8, t->generation) != r->checksum)
        return OTHER;
    return table_parts_fit(r) ? FOUND : OTHER;
}

/* Prefetched by the caller: a bucket is one cache line. */
static enum found search(const struct table *t, const uint32_t bucket[2], struct table_id id, struct table_copy *out,
                         struct table_record *r, size_t *position)
{
    const uint64_t tag = table_tag(id.h1);

    for (unsigned k = 0; k < 2; k++) {
        const table_word *slots = t->index + (size_t)bucket[k] * TABLE_SLOTS;
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            const uint64_t slot = atomic_load_explicit(&slots[i], TABLE_DATA_LOAD);
            if (slot >> 48 != tag)
                continue;
            const enum found found = copy_record(t, slot, id, out, r);
            *position = (size_t)bucket[k] * TABLE_SLOTS + i;
            if (found != OTHER)
                return found;
        }
    }
    return OTHER;
}

/* Scopes, then flush: who finds a summary cleaned finds the flush word raised before that. */
static enum table_result invalidated(const struct table *t, const struct table_copy *copy, const struct table_record *r)
{
    const uint64_t seq = table_seq_of(r);
    const uint8_t *scopes = (const uint8_t *)(copy->words + TABLE_HEAD_WORDS);
    uint64_t last;

    for (unsigned i = 0; i < r->nscopes; i++) {
        uint32_t scope;
        memcpy(&scope, scopes + i * sizeof scope, sizeof scope);
        if (!table_scope_last(&t->cells, scope, &last))
            return TABLE_VOID;
        if (seq < last)
            return TABLE_STALE;
    }
    if (!table_read(&t->header->flush, table_salt_field(t->salt, TABLE_FIELD_FLUSH), &last))
        return TABLE_VOID;
    return seq < last ? TABLE_STALE : TABLE_HIT;
}

static bool live(const struct table *t)
{
    uint64_t state;

    return table_read(&t->header->state, table_salt_field(t->salt, TABLE_FIELD_STATE), &state) &&
           state == TABLE_STATE_LIVE;
}

/* The clock, read after every load from the table that was made so far. */
static uint64_t clock_after_loads(void)
{
    TABLE_FENCE(memory_order_acquire);
    return table_now_ms();
}

/* Milliseconds left at now of a lease. One that nobody can have given is none: a daemon in another time
 * namespace counts from another origin. */
static uint64_t lease_left(uint64_t lease, uint64_t now)
{
    return now < lease && lease - now <= TABLE_LEASE_MAX_MS ? lease - now : 0;
}

/* lease_word was loaded before everything else; now is read after everything else. */
static bool leased(const struct table *t, uint64_t lease_word, uint64_t now)
{
    uint64_t lease;

    return table_unguard(lease_word, table_salt_field(t->salt, TABLE_FIELD_LEASE), &lease) && lease_left(lease, now);
}

static void touch(const struct table *t, size_t position)
{
    uint8_t *at = &t->touch[position / TABLE_SLOTS];
    const uint8_t bit = (uint8_t)(1u << position % TABLE_SLOTS), old = __atomic_load_n(at, __ATOMIC_RELAXED);

    /* A lost update loses a hint. The test keeps the cache line shared among readers. */
    if (!(old & bit))
        __atomic_store_n(at, (uint8_t)(old | bit), __ATOMIC_RELAXED);
}

/* Is the record, known to be genuine, to be believed now? lease_word NULL: no lease is asked for. */
static enum table_result judge(const struct table *t, const uint64_t *lease_word, struct table_copy *out,
                               const struct table_record *r)
{
    const bool trusted = !(r->flags & TABLE_SELF);
    const uint8_t *value = (const uint8_t *)out->words + sizeof *r + r->nscopes * 4u;

    if (!entry_decode(span_of((const char *)value, table_value_of(r)), &out->entry))
        return TABLE_MISS;
    out->seq = table_seq_of(r);
    out->expiry_s = r->expiry;
    out->capsule = r->flags & TABLE_INLINE ? 0 : r->capsule;
    out->inlined = span_of((const char *)value + table_value_of(r), table_inline_of(r));
    if (trusted) {
        const enum table_result verdict = invalidated(t, out, r);
        if (verdict != TABLE_HIT)
            return verdict;
        /* After the cells: those of a retired table receive no more invalidations. */
        if (!live(t))
            return TABLE_VOID;
    }
    if (trusted || r->expiry != TABLE_NO_EXPIRY) {
        const uint64_t now = clock_after_loads();
        if (trusted && lease_word && !leased(t, *lease_word, now))
            return TABLE_VOID;
        if (r->expiry != TABLE_NO_EXPIRY && now >= t->birth_ms + (uint64_t)r->expiry * 1000)
            return TABLE_EXPIRED;
    }
    return out->entry.flags & ENTRY_CONFLICT ? TABLE_CONFLICT : TABLE_HIT;
}

static enum table_result lookup(const struct table *t, const uint64_t *lease_word, struct table_id id,
                                struct table_copy *out)
{
    const uint32_t bucket[2] = {table_bucket(id.h0, 0, t->nbuckets), table_bucket(id.h0, 1, t->nbuckets)};
    struct table_record r;
    size_t position = 0;

    table_prefetch(t, id);
    enum found found = search(t, bucket, id, out, &r, &position);
    if (found == OVERWRITTEN) /* once: a record moved to its new place meanwhile */
        found = search(t, bucket, id, out, &r, &position);
    if (found == DAMAGED)
        return TABLE_VOID;
    /* A retired table reads as empty: say that it is void, or nobody would attach again. */
    if (found != FOUND)
        return live(t) && (!lease_word || leased(t, *lease_word, clock_after_loads())) ? TABLE_MISS : TABLE_VOID;

    const enum table_result verdict = judge(t, lease_word, out, &r);
    if ((verdict == TABLE_HIT || verdict == TABLE_CONFLICT) && t->touch)
        touch(t, position);
    return verdict;
}

enum table_result table_lookup(const struct table *t, struct table_id id, struct table_copy *out)
{
    const uint64_t lease_word = atomic_load_explicit(&t->header->lease_ms, memory_order_acquire);

    return lookup(t, &lease_word, id, out);
}

enum table_result table_lookup_unleased(const struct table *t, struct table_id id, struct table_copy *out)
{
    return lookup(t, NULL, id, out);
}

void table_prefetch(const struct table *t, struct table_id id)
{
    for (unsigned k = 0; k < 2; k++) {
        const uint32_t bucket = table_bucket(id.h0, k, t->nbuckets);
        __builtin_prefetch((const void *)(t->index + (size_t)bucket * TABLE_SLOTS));
        if (t->touch)
            __builtin_prefetch(&t->touch[bucket], 1);
    }
}

void table_prefetch_record(const struct table *t, struct table_id id)
{
    for (unsigned k = 0; k < 2; k++) {
        const table_word *slots = t->index + (size_t)table_bucket(id.h0, k, t->nbuckets) * TABLE_SLOTS;
        for (unsigned i = 0; i < TABLE_SLOTS; i++) {
            const uint64_t slot = atomic_load_explicit(&slots[i], memory_order_relaxed);
            const uint32_t at = (uint32_t)slot;
            if (slot >> 48 != table_tag(id.h1) || at > t->ring_words - TABLE_HEAD_WORDS)
                continue;
            __builtin_prefetch((const void *)(t->ring + at));
            __builtin_prefetch((const void *)(t->ring + at + 8));
            return;
        }
    }
}

/* ---- scopes, capsule, snapshot, lease ---- */

bool table_has_scope(const struct table *t, const struct table_copy *hit, struct span scope)
{
    const uint32_t id = (uint32_t)siphash64(t->sipkey, scope.p, scope.n);
    const uint8_t *scopes = (const uint8_t *)(hit->words + TABLE_HEAD_WORDS);
    struct table_record r;

    memcpy(&r, hit->words, sizeof r);
    for (unsigned i = 0; i < r.nscopes; i++)
        if (memcmp(scopes + i * sizeof id, &id, sizeof id) == 0)
            return true;
    return false;
}

/* at: not 0. */
static bool dictionary_capsule(const struct table *t, uint32_t at, char out[CAPSULE_MAX], size_t *n)
{
    union {
        uint64_t words[sizeof(struct table_capsule) / 8];
        struct table_capsule capsule;
    } copy;
    uint64_t used;

    if (!table_read(&t->header->dict_used, table_salt_field(t->salt, TABLE_FIELD_DICT), &used) ||
        used > t->dict_words || at >= used)
        return false;
    table_load_words(copy.words, t->dict + at, 1);
    const uint16_t bytes = copy.capsule.bytes;
    if (bytes == 0 || bytes > CAPSULE_MAX || table_capsule_words(bytes) > used - at)
        return false;
    table_load_words(copy.words + 1, t->dict + at + 1, table_capsule_words(bytes) - 1);
    if (table_checksum(&copy, offsetof(struct table_capsule, text) + bytes, t->generation ^ at) !=
        copy.capsule.checksum)
        return false;
    memcpy(out, copy.capsule.text, bytes);
    *n = bytes;
    return true;
}

bool table_capsule(const struct table *t, const struct table_copy *hit, char out[CAPSULE_MAX], size_t *n)
{
    *n = hit->inlined.n; /* checked with the record's other parts, by the lookup */
    if (*n)
        memcpy(out, hit->inlined.p, *n);
    return hit->capsule == 0 || dictionary_capsule(t, hit->capsule, out, n);
}

uint64_t table_life_left(const struct table *t, const struct table_copy *hit)
{
    const uint64_t now = table_now_ms(), end = t->birth_ms + (uint64_t)hit->expiry_s * 1000;

    if (hit->expiry_s == TABLE_NO_EXPIRY)
        return UINT64_MAX;
    return now < end ? end - now : 0;
}

struct table_snapshot table_snapshot(const struct table *t)
{
    uint64_t seq;

    if (!live(t) || !table_read(&t->header->seq, table_salt_field(t->salt, TABLE_FIELD_SEQ), &seq))
        return (struct table_snapshot){0, 0};
    return (struct table_snapshot){t->generation, seq};
}

uint64_t table_lease_left(const struct table *t)
{
    uint64_t lease;

    if (!live(t) || !table_read(&t->header->lease_ms, table_salt_field(t->salt, TABLE_FIELD_LEASE), &lease))
        return 0;
    return lease_left(lease, table_now_ms());
}
