/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Corrupted tables: a filled table is copied, damaged, and every key is looked up:
 *
 *   table_corrupt [lookups] [seed]
 *
 * Neither crash nor undefined behaviour (build with --enable-sanitizers; the copy ends at the end of its
 * allocation), nor a hit whose bytes were not written under that key. Damage to a control word may
 * escape its 16-bit check and bring an invalidated record back; that is counted, and only damage that
 * moves whole words may do it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/table_oracle.h"

#define LOOKUPS 4096u
#define FILL 60000u

static const struct writer_size table_size = {.bytes = 4u << 20, .log2_cells = 12, .dict_bytes = ORACLE_DICT_BYTES};

struct image {
    uint8_t *at;
    size_t size;
    struct table_header h; /* of the undamaged table */
};

struct tally {
    uint64_t tables, refused, lookups, hits, wrong, revived;
};

static struct oracle oracle;

/* ---- damage; each alters image i with bytes of the good one g ---- */

static size_t any_word(const struct image *i, uint64_t r)
{
    return (size_t)(r % (i->size / 8)) * 8;
}

static void set_word(uint8_t *at, uint64_t word)
{
    memcpy(at, &word, sizeof word);
}

static void flip_bit(struct image *i, const struct image *g, uint64_t *random)
{
    const uint64_t r = oracle_random(random);

    (void)g;
    i->at[(r >> 8) % i->size] ^= (uint8_t)(1u << (r & 7));
}

static void random_word(struct image *i, const struct image *g, uint64_t *random)
{
    (void)g;
    set_word(i->at + any_word(i, oracle_random(random)), oracle_random(random));
}

static void control_bit(struct image *i, const struct image *g, uint64_t *random)
{
    const uint64_t r = oracle_random(random);

    (void)g;
    i->at[offsetof(struct table_header, lease_ms) + (r >> 8) % 64] ^= (uint8_t)(1u << (r & 7));
}

/* A header that lies and is signed. */
static void lying_header(struct image *i, const struct image *g, uint64_t *random)
{
    struct table_header *h = (struct table_header *)i->at;
    const uint64_t r = oracle_random(random);
    const size_t field = 8 * (4 + r % 10);

    (void)g;
    if (r >> 60 & 1)
        i->at[field + (r >> 16) % 8] ^= (uint8_t)(1u << (r >> 24 & 7));
    else
        set_word(i->at + field, oracle_random(random) >> (r >> 32 & 63));
    h->checksum = XXH3_64bits(h, offsetof(struct table_header, checksum)) ^ h->small_units;
}

static size_t any_page(const struct image *i, uint64_t r)
{
    return (size_t)(r % (i->size / TABLE_PAGE)) * TABLE_PAGE;
}

static void lost_page(struct image *i, const struct image *g, uint64_t *random)
{
    const uint64_t r = oracle_random(random);

    (void)g;
    memset(i->at + any_page(i, r >> 8), r & 1 ? 0 : 0xff, TABLE_PAGE);
}

static void random_page(struct image *i, const struct image *g, uint64_t *random)
{
    uint8_t *page = i->at + any_page(i, oracle_random(random));

    (void)g;
    for (unsigned k = 0; k < TABLE_PAGE; k += 8)
        set_word(page + k, oracle_random(random));
}

static void displaced_page(struct image *i, const struct image *g, uint64_t *random)
{
    const size_t to = any_page(i, oracle_random(random)), from = any_page(g, oracle_random(random));

    memcpy(i->at + to, g->at + from, TABLE_PAGE);
}

static size_t any_slot(const struct image *i, uint64_t r)
{
    return i->h.off_index + r % ((uint64_t)i->h.nbuckets * TABLE_SLOTS) * 8;
}

/* Other offsets under the right tag, and slots in the wrong place. */
static void slot(struct image *i, const struct image *g, uint64_t *random)
{
    uint8_t *at = i->at + any_slot(i, oracle_random(random));
    uint64_t word, r = oracle_random(random);

    memcpy(&word, at, sizeof word);
    if (r & 1)
        word = (word & ~UINT64_C(0xffffffff)) | (r & 2 ? (uint32_t)(r >> 32) : (uint32_t)(r >> 32) % i->h.ring_units);
    else
        memcpy(&word, g->at + any_slot(g, r >> 2), sizeof word);
    set_word(at, word);
}

/* Lengths of whole records, right checksum or not. */
static void record_head(struct image *i, const struct image *g, uint64_t *random)
{
    uint64_t word;
    const uint64_t r = oracle_random(random);

    memcpy(&word, g->at + any_slot(g, r), sizeof word);
    if (word == 0)
        return;
    uint8_t *at = i->at + i->h.off_ring + (uint64_t)(uint32_t)word * 8;
    struct table_record head;
    memcpy(&head, at, sizeof head);
    const uint64_t what = oracle_random(random);
    switch (what % 5) {
    case 0:
        head.words = (uint16_t)(what >> 16);
        break;
    case 1:
        head.nscopes = (uint8_t)(what >> 16);
        break;
    case 2:
        head.seq_value ^= (what >> 16) << 48;
        break;
    case 3: /* the other form of capsule, flags that do not exist; but lease and scopes still apply */
        head.flags ^= (uint8_t)(what >> 16 & ~(uint64_t)TABLE_SELF);
        break;
    default:
        head.capsule = (uint32_t)(what >> 16);
    }
    memcpy(at, &head, sizeof head);
    if (what >> 63 && head.words >= TABLE_HEAD_WORDS && head.words <= TABLE_RECORD_WORDS &&
        (uint32_t)word + head.words <= i->h.ring_units) {
        head.checksum = table_checksum(at, (size_t)head.words * 8, i->h.generation);
        memcpy(at, &head.checksum, sizeof head.checksum);
    }
}

static void dictionary(struct image *i, const struct image *g, uint64_t *random)
{
    const uint64_t r = oracle_random(random);

    (void)g;
    i->at[i->h.off_dict + (r >> 8) % ((uint64_t)i->h.dict_units * 8)] ^= (uint8_t)(1u << (r & 7));
}

static const struct damage {
    const char *name;
    void (*inflict)(struct image *i, const struct image *g, uint64_t *random);
    unsigned most; /* times in one table */
    bool forges; /* signs what it alters: contents may then be its own */
    bool displaces; /* moves whole words: 2^-16 of the control words moved may pass */
} kinds[] = {
    {"flipped bits", flip_bit, 64, false, false},         {"random words", random_word, 64, false, true},
    {"control bits", control_bit, 2, false, false},       {"lying header", lying_header, 1, false, true},
    {"lost pages", lost_page, 64, false, false},          {"random pages", random_page, 64, false, true},
    {"displaced pages", displaced_page, 64, false, true}, {"slots", slot, 64, false, false},
    {"record heads", record_head, 64, true, false},       {"dictionary", dictionary, 64, false, false},
};

#define KINDS (sizeof kinds / sizeof *kinds)

/* ---- lookups ---- */

static void look_at_all(const struct table *t, const struct table_id *ids, const struct damage *kind, uint64_t random,
                        struct tally *tally)
{
    for (unsigned i = 0; i < LOOKUPS; i++) {
        const uint32_t key = oracle_recent(&oracle, oracle_random(&random), ORACLE_RECENT);
        enum table_result result;
        const enum oracle_verdict verdict = oracle_look(&oracle, t, ids, key, &result);

        tally->lookups++;
        tally->hits += result == TABLE_HIT;
        if ((verdict == ORACLE_WRONG || verdict == ORACLE_BAD_CAPSULE) && !kind->forges && tally->wrong++ < 3)
            fprintf(stderr, "VIOLATION %s: key %u has bytes that were never its own\n", kind->name, key);
        if (verdict == ORACLE_OUTDATED && tally->revived++ < 3 && !kind->displaces)
            fprintf(stderr, "VIOLATION %s: key %u was invalidated and is back\n", kind->name, key);
    }
}

/* What is right gets a lease, or nothing of it would be believed. */
static void renew(struct image *i)
{
    struct table_header *h = (struct table_header *)i->at;

    table_write(&h->lease_ms, table_salt_field(table_salt(i->h.generation), TABLE_FIELD_LEASE),
                table_now_ms() + TABLE_LEASE_MAX_MS);
}

static void one_table(const struct image *good, const struct table_id *ids, const struct damage *kind, uint64_t *random,
                      struct tally *tally)
{
    struct image image = *good;
    const char *why;
    size_t size = good->size;

    if (oracle_random(random) % 16 == 0) /* shorter than its header says */
        size = (size_t)(oracle_random(random) % size);
    if (posix_memalign((void **)&image.at, 64, good->size) != 0)
        abort();
    memcpy(image.at, good->at, good->size);
    renew(&image);
    for (uint64_t n = 1 + oracle_random(random) % kind->most; n; n--)
        kind->inflict(&image, good, random);
    uint8_t *exact = image.at;
    if (size != good->size) { /* of exactly that size, so that a step beyond is seen */
        if (posix_memalign((void **)&exact, 64, size ? size : 1) != 0)
            abort();
        memcpy(exact, image.at, size);
    }
    struct table *t = table_at(exact, size, NULL, 0, &why);
    tally->tables++;
    tally->refused += !t;
    if (t)
        look_at_all(t, ids, kind, oracle_random(random), tally);
    table_unmap(t);
    if (exact != image.at)
        free(exact);
    free(image.at);
}

static struct image filled_table(struct table_id **ids, uint64_t *random)
{
    const char *why;
    struct writer *w = writer_create(&table_size, &why);
    struct stat st;

    if (!w) {
        fprintf(stderr, "writer_create: %s\n", why);
        exit(1);
    }
    for (unsigned i = 0; i < FILL; i++)
        oracle_change(&oracle, w, oracle_random(random));
    if (fstat(writer_table_fd(w), &st) != 0)
        exit(1);
    struct image image = {.size = (size_t)st.st_size};
    image.at = malloc(image.size);
    if (!image.at || pread(writer_table_fd(w), image.at, image.size, 0) != st.st_size)
        exit(1);
    memcpy(&image.h, image.at, sizeof image.h);
    *ids = oracle_identify(writer_table(w));
    if (!oracle_both_forms(w))
        exit(1);
    writer_retire(w);
    return image;
}

int main(int argc, char **argv)
{
    const uint64_t lookups = argc > 1 ? strtoull(argv[1], NULL, 0) : 5000000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : table_now_ms() * 1000 + (uint64_t)getpid();
    uint64_t random = seed, failures = 0, hits = 0, made = 0;
    struct table_id *ids;
    struct tally tally[KINDS] = {{0}};

    printf("table_corrupt: seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    struct image good = filled_table(&ids, &random);
    for (unsigned k = 0; made < lookups; k = (k + 1) % KINDS) {
        const uint64_t before = tally[k].lookups;
        one_table(&good, ids, &kinds[k], &random, &tally[k]);
        made += tally[k].lookups - before;
    }
    for (unsigned k = 0; k < KINDS; k++) {
        printf("%-16s tables %llu refused %llu lookups %llu hits %llu wrong %llu revived %llu\n", kinds[k].name,
               (unsigned long long)tally[k].tables, (unsigned long long)tally[k].refused,
               (unsigned long long)tally[k].lookups, (unsigned long long)tally[k].hits,
               (unsigned long long)tally[k].wrong, (unsigned long long)tally[k].revived);
        failures += tally[k].wrong + (kinds[k].displaces ? 0 : tally[k].revived);
        hits += tally[k].hits;
    }
    free(good.at);
    free(ids);
    return failures != 0 || hits == 0;
}
