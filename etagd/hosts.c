/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/hosts.h"

#include <stdlib.h>

#include "etagd/lib/xxh.h"

#define BUCKETS 4096u
#define NAMES_MAX 65536u
#define PAIRS_MAX 131072u

struct pair {
    struct pair *next; /* of the same alias */
    struct name *host;
    bool ours, shared;
};

/* Groups are trees (union-find): the root stands for the group and knows its smallest name. */
struct name {
    struct name *next; /* of the bucket */
    struct name *parent; /* NULL: a root */
    const struct name *smallest; /* valid in a root, as is members */
    size_t members;
    struct pair *pairs;
    size_t n;
    char text[];
};

struct hosts {
    struct name *buckets[BUCKETS];
    size_t names, pairs;
    uint64_t version;
    bool incomplete; /* a pair could not be kept */
};

struct hosts *hosts_new(void)
{
    return calloc(1, sizeof(struct hosts));
}

static void name_free(struct name *a)
{
    for (struct pair *p = a->pairs, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(a);
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct name *a = h->buckets[i], *next; a; a = next) {
            next = a->next;
            name_free(a);
        }
    }
    free(h);
}

size_t hosts_count(const struct hosts *h)
{
    return h->names;
}

uint64_t hosts_version(const struct hosts *h)
{
    return h->version;
}

/* ---- names ---- */

/* As scopes spell it, because a scope is what gave it its form: in lower case, without a port. */
static bool normalize(struct span in, struct scope *storage, struct span *host)
{
    scope_from_operation(SPAN_LITERAL("host"), in, storage);
    *host = span_of(storage->text + 1, storage->n ? storage->n - 1 : 0);
    return storage->kind == SCOPE_ONE;
}

static struct span text_of(const struct name *a)
{
    return span_of(a->text, a->n);
}

static size_t bucket_of(struct span text)
{
    return XXH3_64bits(text.p, text.n) % BUCKETS;
}

static struct name *find(const struct hosts *h, struct span text)
{
    struct name *a = h->buckets[bucket_of(text)];

    while (a && !span_eq(text_of(a), text))
        a = a->next;
    return a;
}

static struct name *find_or_add(struct hosts *h, struct span text)
{
    struct name *a = find(h, text), **bucket = &h->buckets[bucket_of(text)];

    if (a || h->names == NAMES_MAX)
        return a;
    a = calloc(1, sizeof *a + text.n);
    if (!a)
        return NULL;
    memcpy(a->text, text.p, text.n);
    a->n = text.n;
    a->smallest = a;
    a->members = 1;
    a->next = *bucket;
    *bucket = a;
    h->names++;
    return a;
}

/* ---- groups ---- */

static bool is_smaller(const struct name *a, const struct name *b)
{
    return a->n != b->n ? a->n < b->n : memcmp(a->text, b->text, a->n) < 0;
}

/* A tree is as high as the logarithm of its members, because the smaller one is hung below the larger. */
static struct name *root_of(struct name *a)
{
    while (a->parent)
        a = a->parent;
    return a;
}

static void join(struct hosts *h, struct name *a, struct name *b)
{
    struct name *large = root_of(a), *small = root_of(b), *other;

    if (large == small)
        return;
    if (large->members < small->members) {
        other = large;
        large = small;
        small = other;
    }
    small->parent = large;
    large->members += small->members;
    if (is_smaller(small->smallest, large->smallest))
        large->smallest = small->smallest;
    h->version++;
}

/* ---- pairs ---- */

static struct pair *pair_of(struct hosts *h, struct name *alias, struct name *host)
{
    struct pair *p = alias->pairs;

    while (p && p->host != host)
        p = p->next;
    if (p || h->pairs == PAIRS_MAX)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->host = host;
    p->next = alias->pairs;
    alias->pairs = p;
    h->pairs++;
    return p;
}

/* Everything that names a host counts as all from here on; what was judged before did not know that. */
static void give_up(struct hosts *h)
{
    h->version += !h->incomplete;
    h->incomplete = true;
}

static struct pair *add_pair(struct hosts *h, struct span alias_text, struct span host_text)
{
    struct scope alias_storage, host_storage;
    struct name *alias, *host;
    struct pair *p = NULL;

    if (normalize(alias_text, &alias_storage, &alias_text) && normalize(host_text, &host_storage, &host_text) &&
        (alias = find_or_add(h, alias_text)) && (host = find_or_add(h, host_text)) && (p = pair_of(h, alias, host)))
        join(h, alias, host);
    if (!p)
        give_up(h);
    return p;
}

bool hosts_announce(struct hosts *h, struct span alias, struct span host)
{
    struct pair *p = add_pair(h, alias, host);

    if (p)
        p->ours = true;
    return p != NULL;
}

void hosts_shared_begin(struct hosts *h)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct name *a = h->buckets[i]; a; a = a->next)
            for (struct pair *p = a->pairs; p; p = p->next)
                p->shared = false;
}

void hosts_shared(struct hosts *h, struct span alias, struct span value)
{
    while (value.n) {
        const char *space = memchr(value.p, ' ', value.n);
        size_t n = space ? (size_t)(space - value.p) : value.n;
        struct pair *p = n ? add_pair(h, alias, span_of(value.p, n)) : NULL;

        if (p)
            p->shared = true;
        n += space != NULL;
        value = span_of(value.p + n, value.n - n);
    }
}

/* ---- what the hash lacks ---- */

static bool is_missing(const struct name *alias)
{
    for (const struct pair *p = alias->pairs; p; p = p->next)
        if (p->ours && !p->shared)
            return true;
    return false;
}

static bool is_told(const struct pair *p)
{
    return p->ours || p->shared;
}

/* The hosts of an alias, separated by spaces; to be freed. NULL: out of memory. */
static char *value_of(const struct name *alias, size_t *n)
{
    char *text;

    *n = 0;
    for (const struct pair *p = alias->pairs; p; p = p->next)
        *n += is_told(p) ? p->host->n + 1 : 0;
    text = malloc(*n + 1);
    if (!text)
        return NULL;
    *n = 0;
    for (const struct pair *p = alias->pairs; p; p = p->next) {
        if (!is_told(p))
            continue;
        if (*n)
            text[(*n)++] = ' ';
        memcpy(text + *n, p->host->text, p->host->n);
        *n += p->host->n;
    }
    return text;
}

static void tell(const struct name *alias, void (*each)(void *arg, struct span alias, struct span value), void *arg)
{
    size_t n;
    char *value = value_of(alias, &n);

    if (value)
        each(arg, text_of(alias), span_of(value, n));
    free(value);
}

void hosts_missing(const struct hosts *h, void (*each)(void *arg, struct span alias, struct span value), void *arg)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct name *a = h->buckets[i]; a; a = a->next)
            if (is_missing(a))
                tell(a, each, arg);
}

/* ---- scopes ---- */

/* The host in a scope's text: behind its letter, before a path, the name of a group, or the end. */
static struct span host_of(struct span scope)
{
    size_t end = 1;

    while (end < scope.n && scope.p[end] != '/' && scope.p[end] != ' ')
        end++;
    return span_of(scope.p + 1, end - 1);
}

bool hosts_resolve(const struct hosts *h, struct span scope, char out[SCOPE_TEXT], struct span *resolved)
{
    const struct name *to;
    struct name *a;
    struct span host;
    size_t rest;

    *resolved = scope;
    if (scope.n == 0 || !strchr("UPQHG", scope.p[0]))
        return true;
    host = host_of(scope);
    a = find(h, host);
    if (!a)
        return h->names == 0 && !h->incomplete;
    to = root_of(a)->smallest;
    rest = scope.n - 1 - host.n;
    out[0] = scope.p[0];
    memcpy(out + 1, to->text, to->n);
    if (rest)
        memcpy(out + 1 + to->n, host.p + host.n, rest);
    *resolved = span_of(out, 1 + to->n + rest);
    return !h->incomplete;
}
