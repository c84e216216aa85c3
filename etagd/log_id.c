/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/log_id.h"

#include <inttypes.h>
#include <stdio.h>

#define SEQ_BITS 20
#define SEQ_MAX ((UINT64_C(1) << SEQ_BITS) - 1)
#define MS_MAX ((UINT64_C(1) << (64 - SEQ_BITS)) - 1) /* the year 2527; beyond it nothing compares as older */

bool log_number_parse(struct span text, uint64_t *out)
{
    uint64_t n = 0;

    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(text.p[i] - '0');

        if (text.p[i] < '0' || text.p[i] > '9' || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

bool log_id_parse(struct span text, struct log_id *out)
{
    const char *dash = text.n ? memchr(text.p, '-', text.n) : NULL;
    size_t before;

    if (!dash)
        return false;
    before = (size_t)(dash - text.p);
    return log_number_parse(span_of(text.p, before), &out->ms) &&
           log_number_parse(span_of(dash + 1, text.n - before - 1), &out->seq);
}

size_t log_id_format(struct log_id id, char out[LOG_ID_TEXT])
{
    return (size_t)snprintf(out, LOG_ID_TEXT, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
}

uint64_t log_id_pack_up(struct log_id record)
{
    if (record.ms >= MS_MAX)
        return UINT64_MAX;
    if (record.seq > SEQ_MAX)
        return (record.ms + 1) << SEQ_BITS;
    return record.ms << SEQ_BITS | record.seq;
}

uint64_t log_id_pack_down(struct log_id as_of)
{
    if (as_of.ms >= MS_MAX)
        return UINT64_MAX - 1;
    return as_of.ms << SEQ_BITS | (as_of.seq > SEQ_MAX ? SEQ_MAX : as_of.seq);
}

struct log_id log_id_unpack(uint64_t packed)
{
    if (packed == UINT64_MAX)
        return (struct log_id){UINT64_MAX, UINT64_MAX};
    return (struct log_id){packed >> SEQ_BITS, packed & SEQ_MAX};
}
