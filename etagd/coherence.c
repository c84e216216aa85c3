/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/coherence.h"

#include <stdlib.h>

#define COUNTS 65536u /* records whose count is remembered; a power of two */
#define LEFT_MAX 4096u /* epochs remembered as left */

struct counted {
    struct log_id id;
    uint64_t n; /* records applied since the reset, this one included */
};

struct coherence {
    struct coherence_events events;
    uint64_t lease_ms, lease_until;
    char epoch[COHERENCE_EPOCH + 1];
    uint64_t generation;
    struct log_id position, floor;
    uint64_t floors;

    uint64_t base; /* records ever added at the reset, and those missed since */
    struct counted counts[COUNTS];
    size_t first, n;

    bool pending;
    uint64_t pending_t0;
    struct coherence_renewal renewal; /* the newest answer of this epoch */

    char must_end[COHERENCE_EPOCH + 1]; /* epoch to be ended by the next renewal */
    char (*left)[COHERENCE_EPOCH + 1];
    size_t nleft, at_left;
};

struct coherence *coherence_new(uint64_t lease_ms, const struct coherence_events *events)
{
    struct coherence *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->left = calloc(LEFT_MAX, sizeof *c->left);
    if (!c->left) {
        free(c);
        return NULL;
    }
    c->events = *events;
    c->lease_ms = lease_ms;
    return c;
}

void coherence_free(struct coherence *c)
{
    if (!c)
        return;
    free(c->left);
    free(c);
}

void coherence_ask(const struct coherence *c, struct span *known, bool *end)
{
    *end = c->must_end[0] != '\0';
    *known = span_str(*end ? c->must_end : c->epoch);
}

/* ---- counting ---- */

static const struct counted *counted_at(const struct coherence *c, size_t i)
{
    return &c->counts[(c->first + i) & (COUNTS - 1)];
}

static void count(struct coherence *c, struct log_id id, uint64_t n)
{
    if (c->n == COUNTS) {
        c->first = (c->first + 1) & (COUNTS - 1);
        c->n--;
    }
    c->counts[(c->first + c->n++) & (COUNTS - 1)] = (struct counted){id, n};
}

/* Records ever added up to id as far as we know; false when id is older than what is remembered. */
static bool counted_up_to(const struct coherence *c, struct log_id id, uint64_t *out)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (log_id_cmp(counted_at(c, mid)->id, id) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return false;
    *out = c->base + counted_at(c, low - 1)->n;
    return true;
}

/* ---- the lease ---- */

static void end_lease(struct coherence *c)
{
    c->lease_until = 0;
    c->events.lease(c->events.arg, 0);
}

/* Counting starts again at position, up to which so many records were ever added. */
static void start_counting(struct coherence *c, struct log_id position, uint64_t added)
{
    c->first = c->n = 0;
    c->base = added;
    count(c, position, 0);
    c->position = position;
}

/* Records up to this id were removed before we saw them. */
static void raise_floor(struct coherence *c, struct log_id floor, struct log_id position)
{
    end_lease(c);
    c->floor = log_id_max(c->floor, floor);
    c->floors++;
    c->events.missed(c->events.arg, position);
}

static bool grant(struct coherence *c)
{
    uint64_t until = c->pending_t0 + c->lease_ms;

    c->pending = false;
    if (until > c->lease_until) {
        c->lease_until = until;
        c->events.lease(c->events.arg, until);
    }
    return true;
}

/* Rule 4. */
static bool try_lease(struct coherence *c)
{
    const struct coherence_renewal *r = &c->renewal;
    uint64_t known;

    if (!c->pending || log_id_cmp(c->position, r->last) < 0)
        return false;
    if (!counted_up_to(c, r->last, &known)) {
        c->pending = false; /* we are so far ahead of it that it proves nothing; the next one will */
        return false;
    }
    if (known > r->added) {
        c->pending = false;
        end_lease(c);
        strcpy(c->must_end, c->epoch);
        return false;
    }
    if (known < r->added) {
        struct log_id lost = log_id_max(r->first, r->deleted);

        /* An empty log, or one that does not say what was removed. */
        if ((r->first.ms == 0 && r->first.seq == 0) || log_id_cmp(lost, c->floor) <= 0)
            lost = r->last;
        raise_floor(c, lost, c->position);
        c->base += r->added - known;
    }
    return grant(c);
}

/* ---- renewals ---- */

static bool was_left(const struct coherence *c, const char *epoch)
{
    for (size_t i = 0; i < c->nleft; i++)
        if (strcmp(c->left[i], epoch) == 0)
            return true;
    return false;
}

static void leave_epoch(struct coherence *c)
{
    if (c->epoch[0] == '\0')
        return;
    strcpy(c->left[c->at_left], c->epoch);
    c->at_left = (c->at_left + 1) % LEFT_MAX;
    if (c->nleft < LEFT_MAX)
        c->nleft++;
}

static void enter_epoch(struct coherence *c, const struct coherence_renewal *r)
{
    leave_epoch(c);
    c->generation++;
    end_lease(c);
    c->events.entered(c->events.arg, r->born);
    start_counting(c, r->born, r->born_added);
    c->floor = r->born;
    strcpy(c->epoch, r->epoch);
}

enum coherence_verdict coherence_renewed(struct coherence *c, uint64_t t0_ms, const struct coherence_renewal *r)
{
    bool entered = strcmp(c->epoch, r->epoch) != 0;

    c->must_end[0] = '\0';
    if (was_left(c, r->epoch)) {
        c->pending = false;
        end_lease(c);
        strcpy(c->must_end, r->epoch);
        return COHERENCE_REFUSED;
    }
    if (entered)
        enter_epoch(c, r);
    c->renewal = *r;
    c->pending = true;
    c->pending_t0 = t0_ms;
    if (try_lease(c))
        return entered ? COHERENCE_RESTART : COHERENCE_LEASED;
    if (c->must_end[0])
        return COHERENCE_REFUSED;
    return entered ? COHERENCE_RESTART : COHERENCE_PENDING;
}

/* ---- the log ---- */

bool coherence_record(struct coherence *c, uint64_t generation, struct log_id id, const struct span *fields, size_t n)
{
    if (generation != c->generation || log_id_cmp(id, c->position) <= 0)
        return false;
    c->events.record(c->events.arg, id, fields, n);
    count(c, id, counted_at(c, c->n - 1)->n + 1);
    c->position = id;
    return try_lease(c);
}

void coherence_mark(const struct coherence *c, struct coherence_mark *mark)
{
    mark->generation = c->generation;
    mark->behind = c->epoch[0] && log_id_cmp(c->position, c->renewal.last) < 0;
    mark->last = c->renewal.last;
    mark->added = c->renewal.added;
}

bool coherence_nothing(struct coherence *c, const struct coherence_mark *mark)
{
    if (mark->generation != c->generation || !mark->behind || log_id_cmp(c->position, mark->last) >= 0)
        return false;
    raise_floor(c, mark->last, mark->last);
    start_counting(c, mark->last, mark->added);
    return try_lease(c);
}

/* ---- state ---- */

uint64_t coherence_generation(const struct coherence *c)
{
    return c->generation;
}

const char *coherence_epoch(const struct coherence *c)
{
    return c->epoch;
}

struct log_id coherence_position(const struct coherence *c)
{
    return c->position;
}

struct log_id coherence_floor(const struct coherence *c)
{
    return c->floor;
}

uint64_t coherence_lease(const struct coherence *c)
{
    return c->lease_until;
}

uint64_t coherence_count(const struct coherence *c)
{
    return c->base + (c->n ? counted_at(c, c->n - 1)->n : 0);
}

uint64_t coherence_floors(const struct coherence *c)
{
    return c->floors;
}
