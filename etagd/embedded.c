/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/embedded.h"

#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/fields.h"

#define RECORDS_MAX 131072u
#define BYTES_MAX (UINT64_C(32) << 20)

struct record {
    struct record *older, *newer;
    struct log_id id;
    struct fields *fields;
};

struct embedded {
    struct record *oldest, *newest;
    size_t count, bytes;
    uint64_t max, horizon_ms;
    struct log_id last;
};

struct embedded *embedded_new(uint64_t max, uint64_t horizon_ms)
{
    struct embedded *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    e->max = max < RECORDS_MAX ? max : RECORDS_MAX;
    e->horizon_ms = horizon_ms;
    return e;
}

static size_t bytes_of(const struct record *r)
{
    return sizeof *r + r->fields->bytes;
}

static void drop_oldest(struct embedded *e)
{
    struct record *r = e->oldest;

    e->oldest = r->newer;
    if (e->oldest)
        e->oldest->older = NULL;
    else
        e->newest = NULL;
    e->count--;
    e->bytes -= bytes_of(r);
    free(r->fields);
    free(r);
}

void embedded_free(struct embedded *e)
{
    if (!e)
        return;
    while (e->oldest)
        drop_oldest(e);
    free(e);
}

static struct record *record_new(const struct span *fields, size_t n)
{
    struct record *r = malloc(sizeof *r);

    if (!r)
        return NULL;
    r->fields = fields_copy(fields, n);
    if (r->fields)
        return r;
    free(r);
    return NULL;
}

static struct log_id next_id(const struct embedded *e)
{
    struct log_id id = {clock_ns(CLOCK_REALTIME) / 1000000, 0};

    if (id.ms > e->last.ms)
        return id;
    return (struct log_id){e->last.ms, e->last.seq + 1};
}

struct log_id embedded_add(struct embedded *e, const struct span *fields, size_t n)
{
    struct log_id id = e->last = next_id(e);
    struct record *r = record_new(fields, n);

    if (!r)
        return id;
    r->id = id;
    r->newer = NULL;
    r->older = e->newest;
    if (e->newest)
        e->newest->newer = r;
    else
        e->oldest = r;
    e->newest = r;
    e->count++;
    e->bytes += bytes_of(r);
    while (e->count > 1 && (e->count > e->max || e->bytes > BYTES_MAX || id.ms - e->oldest->id.ms > e->horizon_ms))
        drop_oldest(e);
    return id;
}

size_t embedded_length(const struct embedded *e)
{
    return e->count;
}

struct log_id embedded_last(const struct embedded *e)
{
    return e->last;
}

void embedded_range(const struct embedded *e, bool reverse, size_t limit,
                    void (*row)(void *arg, const char *id, const struct span *fields, size_t n), void *arg)
{
    const struct record *r = reverse ? e->newest : e->oldest;
    char id[LOG_ID_TEXT];

    for (; r && limit; r = reverse ? r->older : r->newer, limit--) {
        log_id_format(r->id, id);
        row(arg, id, r->fields->at, r->fields->n);
    }
}
