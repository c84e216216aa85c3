/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dictionary of header capsules: append-only within a generation, each distinct capsule once, so
 * that a record carries four bytes instead of a hundred.
 */
#include <stdlib.h>

#include "etagd/writer_private.h"

union unit {
    uint64_t words[sizeof(struct table_capsule) / 8];
    struct table_capsule capsule;
};

bool dict_create(struct writer *w)
{
    uint32_t places = 64;

    /* A capsule takes two words at least: never more than half full. */
    while (places < w->dict_size)
        places *= 2;
    w->dict.mask = places - 1;
    w->dict.units = calloc(places, sizeof *w->dict.units);
    return w->dict.units != NULL;
}

void dict_free(struct writer *w)
{
    free(w->dict.units);
}

static bool same(const struct writer *w, uint32_t at, struct span capsule)
{
    union unit unit;

    table_load_words(unit.words, w->dict_words + at, 1);
    if (unit.capsule.bytes != capsule.n)
        return false;
    table_load_words(unit.words, w->dict_words + at, table_capsule_words(capsule.n));
    return memcmp(unit.capsule.text, capsule.p, capsule.n) == 0;
}

static void append(struct writer *w, uint32_t at, struct span capsule)
{
    const uint32_t n = table_capsule_words(capsule.n);
    union unit unit = {.capsule = {.bytes = (uint16_t)capsule.n}};

    memcpy(unit.capsule.text, capsule.p, capsule.n);
    unit.capsule.checksum = table_checksum(&unit, offsetof(struct table_capsule, text) + capsule.n, w->generation ^ at);
    table_store_words(w->dict_words + at, unit.words, n);
    w->dict_used += n;
    table_write(&w->header->dict_used, table_salt_field(w->salt, TABLE_FIELD_DICT), w->dict_used);
    w->stats.capsules++;
}

bool dict_intern(struct writer *w, struct span capsule, uint32_t *unit)
{
    *unit = 0;
    if (capsule.n == 0)
        return true;
    uint32_t place = (uint32_t)XXH3_64bits_withSeed(capsule.p, capsule.n, w->generation) & w->dict.mask;
    for (; w->dict.units[place]; place = (place + 1) & w->dict.mask) {
        if (same(w, w->dict.units[place], capsule)) {
            *unit = w->dict.units[place];
            return true;
        }
    }
    if (table_capsule_words(capsule.n) > w->dict_size - w->dict_used)
        return false;
    *unit = (uint32_t)w->dict_used;
    append(w, *unit, capsule);
    w->dict.units[place] = *unit;
    return true;
}
