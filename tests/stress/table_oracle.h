/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader of the table may be told, kept beside the table: for every key the oldest version a
 * lookup that begins now may return. The writer raises it after each put, removal and invalidation has
 * returned; a reader loads it before it looks. Values prove themselves: every byte follows from key and
 * version, independently of the table's own checksums.
 *
 * Shared by the stress, single-step and corruption programs.
 */
#ifndef TESTS_STRESS_TABLE_ORACLE_H
#define TESTS_STRESS_TABLE_ORACLE_H

#include <stdio.h>
#include <stdlib.h>

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define ORACLE_KEYS 131072u
#define ORACLE_RECENT 4096u /* keys worked on last: the most interesting ones to look up */
#define ORACLE_HOSTS 16u
#define ORACLE_TAGS 64u
#define ORACLE_CAPSULES 100u
#define ORACLE_DICT_BYTES 8192u /* soon full: some of the common capsules are in it, all else is inline */

struct oracle {
    _Atomic uint64_t at_least[ORACLE_KEYS];
    _Atomic uint64_t version;
    _Atomic uint32_t recent[ORACLE_RECENT];
};

enum oracle_verdict {
    ORACLE_NOTHING, /* no hit: always allowed */
    ORACLE_RIGHT, /* a hit, and what it says is so */
    ORACLE_WRONG, /* bytes that were never written under this key */
    ORACLE_OUTDATED, /* a version older than allowed: a wrong 304 */
    ORACLE_BAD_CAPSULE
};

static inline uint64_t oracle_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static inline uint64_t oracle_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    return oracle_mix(*state);
}

/* Files' digests among the keys: outside lease and scopes. */
static inline bool oracle_is_self(uint32_t key)
{
    return key % 8 == 0;
}

static inline struct span oracle_key(char buf[64], uint32_t key)
{
    return span_of(buf, (size_t)snprintf(buf, 64, "%s/%u", oracle_is_self(key) ? "file" : "https://host", key));
}

/* Host first, then tag; the host's number and the tag's follow from the key. */
static inline struct span oracle_scope(char buf[64], unsigned kind, uint32_t key)
{
    const int n =
        kind ? snprintf(buf, 64, "Ttag-%u", key % ORACLE_TAGS) : snprintf(buf, 64, "Hhost-%u", key % ORACLE_HOSTS);

    return span_of(buf, (size_t)n);
}

/* Every other 65,536 versions make short records, so that the index fills and neighbours must move. */
static inline bool oracle_is_short(uint64_t version)
{
    return version >> 16 & 1;
}

/* None, one of a few, or the version's own: of 8 to 320 bytes, all of which follow from the version. */
static inline struct span oracle_capsule(char buf[CAPSULE_MAX], uint32_t key, uint64_t version)
{
    const uint32_t n = key % ORACLE_CAPSULES;

    if (n == 0 || (oracle_is_short(version) && version % 8 != 0))
        return span_of(buf, 0);
    if (version & 1)
        return span_of(buf, (size_t)snprintf(buf, CAPSULE_MAX, "Cache-Control: max-age=%u\n", n * n * n));
    const unsigned words = oracle_is_short(version) ? 1 : 1 + (unsigned)(oracle_mix(~version) % 40);
    for (unsigned i = 0; i < words; i++) {
        const uint64_t word = oracle_mix(~(version * 64 + i));
        memcpy(buf + i * sizeof word, &word, sizeof word);
    }
    return span_of(buf, words * sizeof(uint64_t));
}

/* The tag of a version: key, version, then 0 to 36 words of both. */
static inline struct span oracle_tag(uint64_t words[38], uint32_t key, uint64_t version)
{
    const unsigned n = oracle_is_short(version) ? 2 : 2 + (unsigned)(oracle_mix(version) % 37);

    words[0] = key;
    words[1] = version;
    for (unsigned i = 2; i < n; i++)
        words[i] = oracle_mix(version * 64 + i) ^ key;
    return span_of((const char *)words, n * sizeof *words);
}

static inline void oracle_forbid_older(struct oracle *o, uint32_t key, uint64_t version)
{
    atomic_store_explicit(&o->at_least[key], version, memory_order_release);
}

/* Everything a put needs, made before it. */
struct oracle_put {
    uint64_t words[38];
    uint8_t value[ENTRY_SIZE];
    char name[64], capsule[CAPSULE_MAX], text[2][64];
    struct span scopes[2];
    struct writer_put put;
};

static inline void oracle_prepare(struct oracle_put *p, const struct writer *w, uint32_t key, uint64_t version)
{
    const struct entry e = {ENTRY_UPSTREAM, 0, (int64_t)version, oracle_tag(p->words, key, version)};

    p->scopes[0] = oracle_scope(p->text[0], 0, key);
    p->scopes[1] = oracle_scope(p->text[1], 1, key);
    p->put = (struct writer_put){.key = oracle_key(p->name, key),
                                 .seq = writer_seq(w),
                                 .flags = oracle_is_self(key) ? TABLE_SELF : 0,
                                 .scopes = p->scopes,
                                 .nscopes = 2,
                                 .value = span_of((char *)p->value, entry_encode(p->value, sizeof p->value, &e)),
                                 .capsule = oracle_capsule(p->capsule, key, version)};
}

static inline void oracle_put(struct oracle *o, struct writer *w, uint32_t key, uint64_t version)
{
    struct oracle_put p;

    oracle_prepare(&p, w, key, version);
    if (writer_put(w, &p.put) != WRITER_OK) {
        fprintf(stderr, "a put was refused\n");
        abort();
    }
    oracle_forbid_older(o, key, version);
}

static inline void oracle_remove(struct oracle *o, struct writer *w, uint32_t key, uint64_t version)
{
    char name[64];

    writer_remove(w, oracle_key(name, key));
    oracle_forbid_older(o, key, version);
}

static inline void oracle_forbid_scope(struct oracle *o, unsigned kind, uint32_t key, uint64_t version)
{
    const uint32_t step = kind ? ORACLE_TAGS : ORACLE_HOSTS;

    for (uint32_t k = key % step; k < ORACLE_KEYS; k += step)
        if (!oracle_is_self(k))
            oracle_forbid_older(o, k, version);
}

static inline void oracle_invalidate(struct oracle *o, struct writer *w, unsigned kind, uint32_t key, uint64_t version)
{
    char text[64];
    const struct span scope = oracle_scope(text, kind, key);

    writer_invalidate(w, &scope, 1);
    oracle_forbid_scope(o, kind, key, version);
}

static inline void oracle_flush(struct oracle *o, struct writer *w, uint64_t version)
{
    writer_invalidate(w, NULL, 0);
    for (uint32_t k = 0; k < ORACLE_KEYS; k++)
        if (!oracle_is_self(k))
            oracle_forbid_older(o, k, version);
}

/* A version for a change to this key, which becomes the most recent. */
static inline uint64_t oracle_next(struct oracle *o, uint32_t key)
{
    const uint64_t version = atomic_load_explicit(&o->version, memory_order_relaxed) + 1;

    atomic_store_explicit(&o->recent[version % ORACLE_RECENT], key, memory_order_relaxed);
    atomic_store_explicit(&o->version, version, memory_order_relaxed);
    return version;
}

/* Takes the marks of all but the newest invalidations: what is still older may be lost, never revived. */
static inline void oracle_clean(struct writer *w)
{
    writer_clean(w, writer_seq(w) > 64 ? writer_seq(w) - 64 : 0);
}

/* One random change. */
static inline void oracle_change(struct oracle *o, struct writer *w, uint64_t random)
{
    const uint32_t key = (uint32_t)(random >> 40) % ORACLE_KEYS, what = (uint32_t)random & 0xffff;
    const uint64_t version = oracle_next(o, key);

    if (what < 2)
        oracle_flush(o, w, version);
    else if (what < 4)
        oracle_clean(w);
    else if (what < 256)
        oracle_invalidate(o, w, what & 1, key, version);
    else if (what < 2500)
        oracle_remove(o, w, key, version);
    else
        oracle_put(o, w, key, version);
}

/* The key of one of the last n changes. */
static inline uint32_t oracle_recent(struct oracle *o, uint64_t random, uint32_t n)
{
    const uint64_t version = atomic_load_explicit(&o->version, memory_order_relaxed);

    return atomic_load_explicit(&o->recent[(version - random % n) % ORACLE_RECENT], memory_order_relaxed);
}

/* Whether capsules of both forms were put; else half of what is tested was not. */
static inline bool oracle_both_forms(const struct writer *w)
{
    struct writer_stats stats;

    writer_stats(w, &stats);
    printf("capsules: %llu in the dictionary, %llu inline\n", (unsigned long long)stats.capsules,
           (unsigned long long)stats.capsules_inline);
    fflush(stdout); /* before a fork copies the buffer */
    return stats.capsules != 0 && stats.capsules_inline != 0;
}

/* Identities, which differ by generation. The caller frees them. */
static inline struct table_id *oracle_identify(const struct table *t)
{
    struct table_id *ids = malloc(ORACLE_KEYS * sizeof *ids);
    char name[64];

    if (!ids)
        abort();
    for (uint32_t k = 0; k < ORACLE_KEYS; k++)
        ids[k] = table_identify(t, oracle_key(name, k));
    return ids;
}

/* Judges a lookup that has been made; at_least was loaded before it. */
static inline enum oracle_verdict oracle_judge(const struct table *t, uint32_t key, uint64_t at_least,
                                               enum table_result result, const struct table_copy *copy)
{
    uint64_t words[38], version;
    char expected[CAPSULE_MAX], capsule[CAPSULE_MAX];
    size_t n;

    if (result != TABLE_HIT)
        return ORACLE_NOTHING;
    if (copy->entry.kind != ENTRY_UPSTREAM || copy->entry.tag.n < 16 || copy->entry.tag.n > sizeof words)
        return ORACLE_WRONG;
    memcpy(&version, copy->entry.tag.p + 8, sizeof version);
    if (!span_eq(copy->entry.tag, oracle_tag(words, key, version)) || (uint64_t)copy->entry.last_modified != version)
        return ORACLE_WRONG;
    if (version < at_least)
        return ORACLE_OUTDATED;
    if (!table_capsule(t, copy, capsule, &n))
        return ORACLE_NOTHING; /* a miss to the caller */
    return span_eq(span_of(capsule, n), oracle_capsule(expected, key, version)) ? ORACLE_RIGHT : ORACLE_BAD_CAPSULE;
}

static inline enum oracle_verdict oracle_look(struct oracle *o, const struct table *t, const struct table_id *ids,
                                              uint32_t key, enum table_result *result)
{
    const uint64_t at_least = atomic_load_explicit(&o->at_least[key], memory_order_acquire);
    struct table_copy copy;

    *result = table_lookup(t, ids[key], &copy);
    return oracle_judge(t, key, at_least, *result, &copy);
}

#endif
