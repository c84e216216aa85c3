/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file of file digests as bytes, written from its specification (etagd/digest_file.h): to be damaged,
 * and made consistent again so that the next check is the one that has to notice.
 */
#ifndef TESTS_UNIT_DIGEST_BYTES_H
#define TESTS_UNIT_DIGEST_BYTES_H

#include <stdint.h>
#include <string.h>

#include "etagd/digest_file.h"
#include "etagd/lib/xxh.h"

#define AT_VERSION 8u
#define AT_RECORD_SIZE 12u
#define AT_COUNT 16u
#define AT_BOOT 24u
#define AT_HEAD_SUM 64u
#define HEAD_SIZE 72u
#define RECORD_SIZE 120u
#define AT_FLAGS 104u
#define AT_RECORD_SUM 112u
#define FOOT_SIZE 8u

static inline void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline void mend_head(uint8_t *file)
{
    put64(file + AT_HEAD_SUM, XXH3_64bits(file, AT_HEAD_SUM));
}

static inline void mend_records(uint8_t *file, size_t size)
{
    for (size_t i = 0, at = HEAD_SIZE; at + RECORD_SIZE + FOOT_SIZE <= size; i++, at += RECORD_SIZE)
        put64(file + at + AT_RECORD_SUM, XXH3_64bits_withSeed(file + at, AT_RECORD_SUM, i));
}

static inline void mend_foot(uint8_t *file, size_t size)
{
    put64(file + size - FOOT_SIZE, XXH3_64bits(file, size - FOOT_SIZE));
}

#endif
