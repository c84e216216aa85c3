/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012), 64 and 128 bits of output. Keyed, so that nobody who
 * chooses URLs can choose collisions. Header only: the compiler folds the finalisation into callers.
 * Any thread; never fails.
 */
#ifndef ETAG_LIB_SIPHASH_H
#define ETAG_LIB_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are loaded as they lie in memory");

struct siphash {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t siphash_load(const void *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t siphash_rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void siphash_round(struct siphash *s)
{
    s->v0 += s->v1;
    s->v1 = siphash_rotate(s->v1, 13) ^ s->v0;
    s->v0 = siphash_rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = siphash_rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = siphash_rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = siphash_rotate(s->v1, 17) ^ s->v2;
    s->v2 = siphash_rotate(s->v2, 32);
}

static inline void siphash_mix(struct siphash *s, uint64_t word)
{
    s->v3 ^= word;
    siphash_round(s);
    siphash_round(s);
    s->v0 ^= word;
}

static inline uint64_t siphash_squeeze(struct siphash *s)
{
    for (int i = 0; i < 4; i++)
        siphash_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* Initialises from the key and absorbs the whole message; wide selects the 128-bit variant. */
static inline struct siphash siphash_absorb(const uint8_t key[16], const void *data, size_t n, int wide)
{
    const uint64_t k0 = siphash_load(key), k1 = siphash_load(key + 8);
    struct siphash s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                        k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    const uint8_t *p = data;
    uint64_t last = (uint64_t)n << 56;

    if (wide)
        s.v1 ^= 0xee;
    for (; n >= 8; n -= 8, p += 8)
        siphash_mix(&s, siphash_load(p));
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)p[i] << (8 * i);
    siphash_mix(&s, last);
    return s;
}

static inline uint64_t siphash64(const uint8_t key[16], const void *data, size_t n)
{
    struct siphash s = siphash_absorb(key, data, n, 0);

    s.v2 ^= 0xff;
    return siphash_squeeze(&s);
}

static inline void siphash128(const uint8_t key[16], const void *data, size_t n, uint64_t out[2])
{
    struct siphash s = siphash_absorb(key, data, n, 1);

    s.v2 ^= 0xee;
    out[0] = siphash_squeeze(&s);
    s.v1 ^= 0xdd;
    out[1] = siphash_squeeze(&s);
}

#endif
