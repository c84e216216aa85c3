/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of log records, "milliseconds-sequence", as Redis streams make them. Two 64-bit numbers, compared
 * in order. Packed into one 64-bit word they lose bits, so the direction of rounding is part of the
 * name: a record's id is rounded up and an as-of position down. Then a record that is newer than an
 * as-of always compares as newer; an error only ever invalidates too much. Any thread.
 */
#ifndef ETAGD_LOG_ID_H
#define ETAGD_LOG_ID_H

#include <stdint.h>

#include "etagd/lib/span.h"

struct log_id {
    uint64_t ms, seq;
};

#define LOG_ID_TEXT 48 /* room for two 20-digit numbers, the dash and a NUL */

/* Decimal digits, one dash, decimal digits, nothing else; false on anything else or overflow. */
bool log_id_parse(struct span text, struct log_id *out);

/* Returns the length. */
size_t log_id_format(struct log_id id, char out[LOG_ID_TEXT]);

/* < 0, 0, > 0 */
static inline int log_id_cmp(struct log_id a, struct log_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

static inline struct log_id log_id_max(struct log_id a, struct log_id b)
{
    return log_id_cmp(a, b) < 0 ? b : a;
}

uint64_t log_id_pack_up(struct log_id record);
uint64_t log_id_pack_down(struct log_id as_of);

/* The smallest id that is not below any record packed into this word. */
struct log_id log_id_unpack(uint64_t packed);

/* Whole decimal number; false on an empty text, other characters or overflow. */
bool log_number_parse(struct span text, uint64_t *out);

#endif
