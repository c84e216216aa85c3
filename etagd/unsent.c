/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/unsent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "etagd/lib/scope.h"
#include "etagd/log.h"

#define HOSTS_MAX 256 /* of one widened record; more is everything */

struct record {
    struct record *next;
    uint64_t serial;
    struct fields *fields;
};

struct unsent {
    size_t max;
    char *marker;
    bool found, marked;
    struct record *oldest; /* sent records first */
    struct record **waiting; /* where the first record not sent hangs */
    struct record **end;
    size_t count, nwaiting;
    uint64_t serial, widened;
};

static const struct span everything[] = {{"all", 3}, {"1", 1}, {"why", 3}, {"too many to send one by one", 27}};

struct unsent *unsent_new(size_t max, const char *marker)
{
    struct unsent *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->max = max;
    u->oldest = NULL;
    u->waiting = u->end = &u->oldest;
    u->marker = strdup(marker);
    if (!u->marker) {
        free(u);
        return NULL;
    }
    u->found = u->marked = access(marker, F_OK) == 0;
    return u;
}

static void record_free(struct record *r)
{
    free(r->fields);
    free(r);
}

void unsent_free(struct unsent *u)
{
    if (!u)
        return;
    unsent_settle(u);
    for (struct record *r = u->oldest, *next; r; r = next) {
        next = r->next;
        record_free(r);
    }
    free(u->marker);
    free(u);
}

bool unsent_found(const struct unsent *u)
{
    return u->found;
}

size_t unsent_count(const struct unsent *u)
{
    return u->count;
}

uint64_t unsent_widened(const struct unsent *u)
{
    return u->widened;
}

/* ---- the marker ---- */

static void set_marker(struct unsent *u)
{
    int fd;

    if (u->marked)
        return;
    fd = open(u->marker, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
    else
        log_error("%s: %s: invalidations that Redis has not acknowledged are lost if etagd dies now; make the "
                  "folder writable or set StateDir",
                  u->marker, strerror(errno));
    u->marked = true; /* one line per outage is enough */
}

void unsent_settle(struct unsent *u)
{
    if (!u->marked || u->count)
        return;
    if (unlink(u->marker) != 0 && errno != ENOENT)
        log_error("%s: %s: remove it, or the next start forgets everything", u->marker, strerror(errno));
    u->marked = false;
}

/* ---- widening ---- */

struct widened {
    struct span hosts[HOSTS_MAX];
    size_t nhosts;
    bool all;
    uint64_t settle_ms;
    char text[HOSTS_MAX * 64];
    size_t used;
};

static void add_host(struct widened *w, struct span host)
{
    for (size_t i = 0; i < w->nhosts; i++)
        if (span_eq(w->hosts[i], host))
            return;
    if (w->nhosts == HOSTS_MAX || sizeof w->text - w->used < host.n) {
        w->all = true;
        return;
    }
    memcpy(w->text + w->used, host.p, host.n);
    w->hosts[w->nhosts++] = span_of(w->text + w->used, host.n);
    w->used += host.n;
}

/* The host of a scope's text: letter, host, then its end, a port, a path or a name. */
static struct span host_of(const struct scope *s)
{
    size_t end = 1;

    if (s->n > 1 && s->text[1] == '[')
        while (end < s->n && s->text[end] != ']')
            end++;
    while (end < s->n && !strchr("/: ", s->text[end]))
        end++;
    return span_of(s->text + 1, end - 1);
}

static void widen(struct widened *w, const struct fields *f)
{
    struct scope s;

    for (size_t i = 0; i + 1 < f->n && !w->all; i += 2) {
        scope_from_operation(f->at[i], f->at[i + 1], &s);
        if (s.kind == SCOPE_SETTLE && w->settle_ms < s.settle_ms)
            w->settle_ms = s.settle_ms;
        if (s.kind == SCOPE_ALL || (s.kind == SCOPE_ONE && s.text[0] == 'T') ||
            span_eq(f->at[i], SPAN_LITERAL("x-conflict")) || /* it names no scope, but the nodes must hear of it */
            span_eq(f->at[i], SPAN_LITERAL("x-names")))
            w->all = true;
        else if (s.kind == SCOPE_ONE)
            add_host(w, host_of(&s));
    }
}

static struct fields *widened_fields(const struct widened *w)
{
    struct span at[2 * (HOSTS_MAX + 2)];
    char ms[24];
    size_t n = 0;

    if (w->all) {
        at[n++] = everything[0];
        at[n++] = everything[1];
    }
    for (size_t i = 0; i < w->nhosts && !w->all; i++) {
        at[n++] = SPAN_LITERAL("host");
        at[n++] = w->hosts[i];
    }
    if (w->settle_ms) {
        at[n++] = SPAN_LITERAL("settle");
        at[n++] = span_of(ms, (size_t)snprintf(ms, sizeof ms, "%llu", (unsigned long long)w->settle_ms));
    }
    at[n++] = everything[2];
    at[n++] = everything[3];
    return fields_copy(at, n);
}

/* One record in place of all that wait; it carries the newest of their serials. */
static void widen_waiting(struct unsent *u)
{
    struct record *kept = *u->waiting, *r, *next;
    struct widened *w = calloc(1, sizeof *w);
    struct fields *fields = NULL;

    for (r = kept; r && w; r = r->next)
        widen(w, r->fields);
    if (w)
        fields = widened_fields(w);
    free(w);
    if (!fields)
        return; /* no memory: they wait as they are */
    for (r = kept->next; r; r = next) {
        next = r->next;
        kept->serial = r->serial;
        record_free(r);
        u->count--;
    }
    free(kept->fields);
    kept->fields = fields;
    kept->next = NULL;
    u->end = &kept->next;
    u->nwaiting = 1;
    u->widened++;
    log_warn("more than %zu invalidations wait for Redis: they are widened to their hosts, or to all", u->max);
}

/* ---- the queue ---- */

static bool is_everything(const struct fields *f)
{
    struct scope s;

    scope_from_operation(f->at[0], f->at[1], &s);
    return s.kind == SCOPE_ALL && f->n == 4; /* without settle */
}

uint64_t unsent_add(struct unsent *u, const struct span *fields, size_t n)
{
    struct record *r;

    set_marker(u);
    /* Only a record that was not sent yet may stand for this one: one in flight may be in the log already,
     * before the change that this one tells of. */
    for (r = *u->waiting; r; r = r->next)
        if (fields_equal(r->fields, fields, n) || is_everything(r->fields))
            return r->serial;
    r = calloc(1, sizeof *r);
    if (r)
        r->fields = fields_copy(fields, n);
    if (!r || !r->fields) {
        log_error("out of memory: etagd ends, and the next start invalidates everything");
        abort(); /* the marker stands */
    }
    r->serial = ++u->serial;
    *u->end = r;
    u->end = &r->next;
    u->count++;
    if (++u->nwaiting > u->max)
        widen_waiting(u);
    return u->serial;
}

const struct fields *unsent_next(const struct unsent *u)
{
    return *u->waiting ? (*u->waiting)->fields : NULL;
}

void unsent_sent(struct unsent *u)
{
    u->waiting = &(*u->waiting)->next;
    u->nwaiting--;
}

void unsent_rewind(struct unsent *u)
{
    u->waiting = &u->oldest;
    u->nwaiting = u->count;
}

uint64_t unsent_acknowledge(struct unsent *u, struct fields **fields)
{
    struct record *r = u->oldest;
    uint64_t serial = r->serial;

    u->oldest = r->next;
    if (u->waiting == &r->next)
        u->waiting = &u->oldest;
    if (u->end == &r->next)
        u->end = &u->oldest;
    u->count--;
    *fields = r->fields;
    free(r);
    return serial;
}
