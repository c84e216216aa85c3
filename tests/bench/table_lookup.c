/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lookup costs and what an entry takes:
 *
 *   table_lookup [entries of the memory part, default 10,000,000; 0: none]
 *
 * Records are of typical size: five scopes and a 28-byte value. Identification of the key (SipHash) is
 * included. Per-call figures are taken with the clock around each call, less the clock's own cost; means
 * over a chain in which each key depends on the result before, so that calls do not overlap.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define SAMPLES 1000000u
#define KEY_TEXT 64

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* ---- tables ---- */

static struct span key_text(char buf[KEY_TEXT], uint32_t n)
{
    return span_of(buf,
                   (size_t)snprintf(buf, KEY_TEXT, "https://www.example.com/products/category-%u/%08u", n % 100, n));
}

static void put(struct writer *w, uint32_t n)
{
    char key[KEY_TEXT], url[KEY_TEXT], tag[KEY_TEXT];
    uint8_t value[ENTRY_SIZE], digest[16] = {0};
    memcpy(digest, &n, sizeof n);
    const struct entry e = {ENTRY_DIGEST, 0, 1700000000, span_of((char *)digest, sizeof digest)};
    const struct span text = key_text(key, n), bare = span_of(text.p + 8, text.n - 8);
    const struct span scopes[5] = {SPAN_LITERAL("Hwww.example.com"), SPAN_LITERAL("Pwww.example.com/products"),
                                   span_of(url, (size_t)snprintf(url, sizeof url, "P%.40s", bare.p)),
                                   span_of(tag, (size_t)snprintf(tag, sizeof tag, "U%.*s", (int)bare.n, bare.p)),
                                   SPAN_LITERAL("Tproducts")};

    if (writer_put(w, &(struct writer_put){.key = text,
                                           .seq = writer_seq(w),
                                           .ttl_s = 86400,
                                           .scopes = scopes,
                                           .nscopes = 5,
                                           .value = span_of((char *)value, entry_encode(value, sizeof value, &e)),
                                           .capsule = SPAN_LITERAL("Cache-Control: max-age=60\n")}) != WRITER_OK)
        abort();
}

static struct writer *create(uint64_t bytes)
{
    const char *why;
    struct writer *w = writer_create(&(struct writer_size){.bytes = bytes}, &why);

    if (!w) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return w;
}

static void renew(struct writer *w)
{
    writer_lease(w, table_now_ms() + TABLE_LEASE_MAX_MS);
}

/* Bytes for so many typical records at 80 % live. */
static uint64_t bytes_for(uint64_t entries)
{
    return entries * 96 * 5 / 4 * 113 / 100 + (UINT64_C(14) << 20);
}

static struct table *fill(struct writer *w, uint32_t entries)
{
    const char *why;
    struct writer_stats stats;

    for (uint32_t n = 0; n < entries; n++)
        put(w, n);
    writer_stats(w, &stats);
    renew(w);
    struct table *t = table_map(writer_table_fd(w), writer_touch_fd(w), &why);
    if (!t || stats.records != entries) {
        fprintf(stderr, "the table does not hold what was put\n");
        exit(1);
    }
    return t;
}

/* ---- keys to ask for ---- */

/* Zipf's law by the method of Gray et al. (SIGMOD 1994); ranks are scattered over the keys. */
static uint32_t *zipf(uint32_t entries, double theta, uint64_t seed)
{
    uint32_t *order = malloc(SAMPLES * sizeof *order);
    double zeta = 0;

    if (!order)
        abort();
    for (uint32_t i = 1; i <= entries; i++)
        zeta += 1 / pow(i, theta);
    const double alpha = 1 / (1 - theta), two = 1 + pow(0.5, theta);
    const double eta = (1 - pow(2.0 / entries, 1 - theta)) / (1 - two / zeta);
    for (unsigned i = 0; i < SAMPLES; i++) {
        const double u = (double)(next_random(&seed) >> 11) * 0x1p-53, uz = u * zeta;
        const double rank = uz < 1 ? 0 : uz < two ? 1 : entries * pow(eta * u - eta + 1, alpha);
        order[i] = (uint32_t)((uint64_t)rank * UINT64_C(2654435761) % entries);
    }
    return order;
}

static uint32_t *uniform(uint32_t entries, uint32_t first, uint64_t seed)
{
    uint32_t *order = malloc(SAMPLES * sizeof *order);

    if (!order)
        abort();
    for (unsigned i = 0; i < SAMPLES; i++)
        order[i] = first + (uint32_t)(next_random(&seed) % entries);
    return order;
}

/* ---- measurement ---- */

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t clock_cost(void)
{
    uint32_t least = UINT32_MAX;

    for (unsigned i = 0; i < 10000; i++) {
        const uint64_t start = now_ns();
        const uint32_t cost = (uint32_t)(now_ns() - start);
        least = cost < least ? cost : least;
    }
    return least;
}

struct keys {
    char text[KEY_TEXT];
    struct span key;
};

/* Key texts are made beforehand, one line each, and are asked for in order: they cost no miss worth naming. */
static struct keys *texts(const uint32_t *order)
{
    struct keys *keys = malloc(SAMPLES * sizeof *keys);

    if (!keys)
        abort();
    for (unsigned i = 0; i < SAMPLES; i++)
        keys[i].key = key_text(keys[i].text, order[i]);
    return keys;
}

static void measure(const char *name, const struct table *t, uint32_t *order, enum table_result expected)
{
    const uint32_t clock = clock_cost();
    struct keys *keys = texts(order);
    uint32_t *took = malloc(SAMPLES * sizeof *took);
    struct table_copy copy;
    uint64_t other = 0;

    if (!took)
        abort();
    for (unsigned i = 0; i < SAMPLES; i++) {
        const uint64_t start = now_ns();
        const enum table_result result = table_lookup(t, table_identify(t, keys[i].key), &copy);
        const uint64_t ns = now_ns() - start;
        took[i] = ns > clock ? (uint32_t)(ns - clock) : 0;
        other += result != expected;
    }
    qsort(took, SAMPLES, sizeof *took, by_value);

    size_t chain = 0; /* always 0, but known only after the lookup */
    const uint64_t start = now_ns();
    for (unsigned i = 0; i < SAMPLES; i++)
        chain += table_lookup(t, table_identify(t, keys[i + chain].key), &copy) != expected;
    const double mean = (double)(now_ns() - start) / SAMPLES;
    printf("%-34s p50 %4u  p99 %4u  mean %6.1f ns%s\n", name, took[SAMPLES / 2], took[SAMPLES / 100 * 99], mean,
           other || chain ? "  (not all as expected)" : "");
    fflush(stdout);
    free(took);
    free(keys);
    free(order);
}

/* As a server does it: the buckets are fetched when the key is known, the record a little later. */
static void measure_prefetched(const char *name, const struct table *t, uint32_t *order)
{
    const uint32_t clock = clock_cost();
    struct keys *keys = texts(order);
    uint32_t *took = malloc(SAMPLES * sizeof *took);
    struct table_copy copy;

    if (!took)
        abort();
    for (unsigned i = 0; i + 2 < SAMPLES; i++) {
        const struct table_id id = table_identify(t, keys[i].key);
        table_prefetch(t, table_identify(t, keys[i + 2].key));
        table_prefetch_record(t, table_identify(t, keys[i + 1].key));
        const uint64_t start = now_ns();
        table_lookup(t, id, &copy);
        const uint64_t ns = now_ns() - start;
        took[i] = ns > clock ? (uint32_t)(ns - clock) : 0;
    }
    qsort(took, SAMPLES - 2, sizeof *took, by_value);
    printf("%-34s p50 %4u  p99 %4u\n", name, took[SAMPLES / 2], took[SAMPLES / 100 * 99]);
    free(took);
    free(keys);
    free(order);
}

/* So many scopes of other pages that every cell is marked. */
static void mark_cells(struct writer *w)
{
    char text[KEY_TEXT];

    for (uint32_t n = 0; n < 10000000; n++) {
        const struct span scope = span_of(text, (size_t)snprintf(text, sizeof text, "Uother.example.com/%u", n));
        writer_invalidate(w, &scope, 1);
    }
}

/* Lookups when invalidations have marked every cell, and when the marks were taken away. */
static void after_invalidations(uint32_t entries)
{
    struct writer *w = create(bytes_for(entries));
    mark_cells(w);
    struct table *t = fill(w, entries);
    char name[64];

#define NAMED(what) (snprintf(name, sizeof name, "%u entries, " what, entries), name)
    measure(NAMED("cells marked, uniform"), t, uniform(entries, 0, 1), TABLE_HIT);
    measure(NAMED("cells marked, Zipf 0.99"), t, zipf(entries, 0.99, 2), TABLE_HIT);
    const uint64_t start = now_ns();
    writer_clean(w, writer_seq(w));
    printf("all cells cleaned in %.1f ms\n", (double)(now_ns() - start) / 1e6);
    renew(w);
    measure(NAMED("cells cleaned, uniform"), t, uniform(entries, 0, 1), TABLE_HIT);
    measure(NAMED("cells cleaned, Zipf 0.99"), t, zipf(entries, 0.99, 2), TABLE_HIT);
#undef NAMED
    table_unmap(t);
    writer_retire(w);
}

static void latency(uint32_t entries)
{
    struct writer *w = create(bytes_for(entries));
    struct table *t = fill(w, entries);
    char name[64];

#define NAMED(what) (snprintf(name, sizeof name, "%u entries, " what, entries), name)
    measure(NAMED("hit, uniform"), t, uniform(entries, 0, 1), TABLE_HIT);
    measure(NAMED("hit, Zipf 0.99"), t, zipf(entries, 0.99, 2), TABLE_HIT);
    renew(w);
    measure(NAMED("miss"), t, uniform(entries, entries, 3), TABLE_MISS);
    measure_prefetched(NAMED("prefetched, uniform"), t, uniform(entries, 0, 4));
    writer_lease(w, 0);
    measure(NAMED("without lease"), t, uniform(entries, 0, 5), TABLE_VOID);
#undef NAMED
    table_unmap(t);
    writer_retire(w);
}

static void memory(uint32_t entries)
{
    struct writer *w = create(bytes_for(entries));
    struct writer_stats stats;
    const uint64_t start = now_ns();

    for (uint32_t n = 0; n < entries; n++)
        put(w, n);
    const double ns = (double)(now_ns() - start) / entries;
    writer_stats(w, &stats);
    printf("%llu bytes, %llu of %u entries held: %.1f bytes each; a put takes %.0f ns\n",
           (unsigned long long)stats.bytes, (unsigned long long)stats.records, entries,
           (double)stats.bytes / (double)stats.records, ns);
    renew(w);
    measure("  hit, uniform", writer_table(w), uniform(entries, 0, 6), TABLE_HIT);
    measure("  hit, Zipf 0.99", writer_table(w), zipf(entries, 0.99, 7), TABLE_HIT);
    measure_prefetched("  prefetched, uniform", writer_table(w), uniform(entries, 0, 8));
    for (uint32_t n = entries; n < entries + entries / 2; n++)
        put(w, n);
    writer_stats(w, &stats);
    printf("filled to the brim: %llu entries, %.1f bytes each, %llu moved, %llu lost to a full bucket\n",
           (unsigned long long)stats.records, (double)stats.bytes / (double)stats.records,
           (unsigned long long)stats.kicked, (unsigned long long)stats.bucket_full);
    writer_retire(w);
}

int main(int argc, char **argv)
{
    const uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 10000000;

    latency(10000);
    latency(1000000);
    after_invalidations(1000000);
    if (entries)
        memory(entries);
    return 0;
}
