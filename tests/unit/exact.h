/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs for parsers: a copy in a malloc block of exactly its size, so that AddressSanitizer and
 * valgrind see a read of one byte too many. Also the random numbers of property tests, which are the
 * same in every run.
 */
#ifndef TESTS_UNIT_EXACT_H
#define TESTS_UNIT_EXACT_H

#include <stdint.h>
#include <stdlib.h>

#include "etagd/lib/span.h"

static inline struct span exact(const char *p, size_t n)
{
    char *copy = malloc(n);

    if (n && !copy)
        abort();
    if (n)
        memcpy(copy, p, n);
    return span_of(copy, n);
}

static inline struct span exact_str(const char *s)
{
    return exact(s, strlen(s));
}

static inline void exact_free(struct span s)
{
    free((void *)(uintptr_t)s.p);
}

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline unsigned below(uint64_t *state, unsigned limit)
{
    return (unsigned)(next_random(state) % limit);
}

#endif
