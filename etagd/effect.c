/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/effect.h"

#include <stdlib.h>
#include <string.h>

#define SCOPES_MAX 8192u /* of one record; more is everything */

static bool room(struct effect *e, size_t n)
{
    size_t size = e->size ? e->size : 4096;
    char *text;

    while (size - e->used < n)
        size *= 2;
    if (size == e->size)
        return true;
    text = realloc(e->text, size);
    if (!text)
        return false;
    /* The spans hold offsets until the record is complete, so the storage may move. */
    e->text = text;
    e->size = size;
    return true;
}

static void add(struct effect *e, struct span scope)
{
    if (e->all)
        return;
    if (e->nscopes == e->nslots) {
        size_t nslots = e->nslots ? e->nslots * 2 : 64;
        struct span *scopes = nslots > SCOPES_MAX ? NULL : realloc(e->scopes, nslots * sizeof *scopes);

        if (!scopes) {
            e->all = true;
            return;
        }
        e->scopes = scopes;
        e->nslots = nslots;
    }
    if (!room(e, scope.n)) {
        e->all = true;
        return;
    }
    memcpy(e->text + e->used, scope.p, scope.n);
    e->scopes[e->nscopes++] = span_of(NULL, scope.n);
    e->used += scope.n;
}

static bool add_resolved(struct effect *e, const struct hosts *hosts, struct span scope)
{
    char text[SCOPE_TEXT];
    struct span resolved;

    if (!hosts_resolve(hosts, scope, text, &resolved))
        return false;
    add(e, resolved);
    return true;
}

/* A query's invalidation also names the path as "Q": records whose key stands for several queries of the
 * path belong to that scope (ENTRY_ANY_QUERY), all others are left alone. */
static bool add_query(struct effect *e, const struct hosts *hosts, const struct scope *s)
{
    char text[SCOPE_TEXT];
    const char *query = s->text[0] == 'U' ? memchr(s->text, '?', s->n) : NULL;

    if (!query)
        return true;
    memcpy(text, s->text, s->n);
    text[0] = 'Q';
    return add_resolved(e, hosts, span_of(text, (size_t)(query - s->text)));
}

static void add_told(struct effect *e, struct span arg)
{
    e->nothing = false;
    if (e->ntold < EFFECT_TOLD) {
        e->told[e->ntold++] = arg;
        return;
    }
    e->all = true;
    e->widened++;
    e->reason = "more versions than one record may tell";
}

static void add_operation(struct effect *e, const struct hosts *hosts, struct span op, struct span arg)
{
    struct scope s;

    scope_from_operation(op, arg, &s);
    if (s.widened) {
        e->widened++;
        e->reason = s.kind == SCOPE_ALL ? "an operation or argument that is none" : "an argument wider than it says";
    }
    switch (s.kind) {
    case SCOPE_NONE:
        if (span_eq(op, SPAN_LITERAL("epoch")))
            e->epoch = arg;
        else if (span_eq(op, SPAN_LITERAL("x-hosts")))
            e->hosts_changed = true;
        else if (span_eq(op, SPAN_LITERAL("x-conflict")))
            e->conflict = arg;
        else if (span_eq(op, SPAN_LITERAL("x-names")))
            e->names = arg;
        return;
    case SCOPE_VERSION:
        add_told(e, arg);
        return;
    case SCOPE_SETTLE:
        if (e->settle_ms < s.settle_ms)
            e->settle_ms = s.settle_ms;
        break;
    case SCOPE_ONE:
        if (!add_resolved(e, hosts, span_of(s.text, s.n)) || !add_query(e, hosts, &s)) {
            e->all = true;
            e->widened++;
            e->reason = "a host that no node has announced";
        }
        if (s.any_tag)
            add(e, SPAN_LITERAL("T*"));
        break;
    case SCOPE_ALL:
        e->all = true;
        break;
    }
    e->nothing = false;
}

void effect_of(struct effect *e, const struct hosts *hosts, const struct span *fields, size_t n)
{
    size_t at = 0;

    e->all = n % 2 != 0;
    e->nothing = !e->all;
    e->hosts_changed = false;
    e->conflict = e->names = span_of(NULL, 0);
    e->settle_ms = 0;
    e->widened = 0;
    e->reason = NULL;
    e->nscopes = e->used = 0;
    e->ntold = 0;
    e->epoch = span_of(NULL, 0);
    for (size_t i = 0; i + 1 < n; i += 2)
        add_operation(e, hosts, fields[i], fields[i + 1]);
    for (size_t i = 0; i < e->nscopes; i++) {
        e->scopes[i].p = e->text + at;
        at += e->scopes[i].n;
    }
}

void effect_free(struct effect *e)
{
    free(e->scopes);
    free(e->text);
    *e = (struct effect){0};
}
