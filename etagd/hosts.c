/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/hosts.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 4096u
#define ALIASES_MAX 65536u
#define TARGETS_MAX 8
#define HOST_MAX 262 /* a name of 255 bytes, a colon and a port */

struct target {
    char *host;
    bool ours, shared;
};

struct alias {
    struct alias *next;
    struct target targets[TARGETS_MAX];
    size_t ntargets;
    size_t n;
    char name[];
};

struct hosts {
    struct alias *buckets[BUCKETS];
    size_t count;
    uint64_t version;
    bool incomplete; /* a pair could not be kept */
};

struct hosts *hosts_new(void)
{
    return calloc(1, sizeof(struct hosts));
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct alias *a = h->buckets[i], *next; a; a = next) {
            next = a->next;
            for (size_t t = 0; t < a->ntargets; t++)
                free(a->targets[t].host);
            free(a);
        }
    }
    free(h);
}

size_t hosts_count(const struct hosts *h)
{
    return h->count;
}

uint64_t hosts_version(const struct hosts *h)
{
    return h->version;
}

/* Lower case, without a default port; false when it cannot be a host of a key. */
static bool normalize(struct span in, char out[HOST_MAX], struct span *host)
{
    size_t n = in.n;

    if (n > 3 && memcmp(in.p + n - 3, ":80", 3) == 0)
        n -= 3;
    else if (n > 4 && memcmp(in.p + n - 4, ":443", 4) == 0)
        n -= 4;
    if (n == 0 || n > HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = span_lower(in.p[i]);

        if (c <= ' ' || c > '~' || strchr("/?#@%\\\"", c))
            return false;
        out[i] = c;
    }
    *host = span_of(out, n);
    return true;
}

/* The end of the host without its port, in a host with or without one. */
static size_t host_end(struct span authority)
{
    size_t n = authority.n;

    while (n && authority.p[n - 1] >= '0' && authority.p[n - 1] <= '9')
        n--;
    return n && n < authority.n && authority.p[n - 1] == ':' ? n - 1 : authority.n;
}

static struct alias **bucket_of(const struct hosts *h, struct span name)
{
    return (struct alias **)&h->buckets[XXH3_64bits(name.p, name.n) % BUCKETS];
}

static struct alias *find(const struct hosts *h, struct span name)
{
    struct alias *a = *bucket_of(h, name);

    while (a && !span_eq(span_of(a->name, a->n), name))
        a = a->next;
    return a;
}

static struct alias *find_or_add(struct hosts *h, struct span name)
{
    struct alias *a = find(h, name), **bucket = bucket_of(h, name);

    if (a || h->count == ALIASES_MAX)
        return a;
    a = calloc(1, sizeof *a + name.n);
    if (!a)
        return NULL;
    memcpy(a->name, name.p, name.n);
    a->n = name.n;
    a->next = *bucket;
    *bucket = a;
    h->count++;
    return a;
}

static struct target *target_of(struct alias *a, struct span host)
{
    struct target *t = a->targets, *end = a->targets + a->ntargets;

    while (t < end && !span_eq(span_str(t->host), host))
        t++;
    if (t < end)
        return t;
    if (a->ntargets == TARGETS_MAX || !(t->host = strndup(host.p, host.n)))
        return NULL;
    a->ntargets++;
    t->ours = t->shared = false;
    return t;
}

/* People may type the host itself, with or without its port. Where this fails the name stays unknown. */
static void add_itself(struct hosts *h, struct span host)
{
    struct alias *a = find_or_add(h, host);

    if (a)
        target_of(a, host);
    host.n = host_end(host);
    a = find_or_add(h, host);
    if (a)
        target_of(a, host);
}

static struct target *pair(struct hosts *h, struct span alias, struct span host)
{
    char alias_text[HOST_MAX], host_text[HOST_MAX];
    struct alias *a;
    struct target *t = NULL;
    size_t before;

    if (normalize(alias, alias_text, &alias) && normalize(host, host_text, &host) && (a = find_or_add(h, alias))) {
        before = a->ntargets;
        t = target_of(a, host);
        h->version += a->ntargets > before && !span_eq(alias, host);
    }
    if (!t)
        h->incomplete = true;
    else
        add_itself(h, host);
    return t;
}

bool hosts_announce(struct hosts *h, struct span alias, struct span host)
{
    struct target *t = pair(h, alias, host);

    if (t)
        t->ours = true;
    return t != NULL;
}

void hosts_shared_begin(struct hosts *h)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct alias *a = h->buckets[i]; a; a = a->next)
            for (size_t t = 0; t < a->ntargets; t++)
                a->targets[t].shared = false;
}

void hosts_shared(struct hosts *h, struct span alias, struct span value)
{
    while (value.n) {
        const char *space = memchr(value.p, ' ', value.n);
        size_t n = space ? (size_t)(space - value.p) : value.n;
        struct target *t = n ? pair(h, alias, span_of(value.p, n)) : NULL;

        if (t)
            t->shared = true;
        n += space != NULL;
        value = span_of(value.p + n, value.n - n);
    }
}

static struct span value_of(const struct alias *a, char text[TARGETS_MAX * (HOST_MAX + 1)])
{
    size_t used = 0;

    for (size_t t = 0; t < a->ntargets; t++) {
        size_t n = strlen(a->targets[t].host);

        if (!a->targets[t].ours && !a->targets[t].shared)
            continue;
        if (used)
            text[used++] = ' ';
        memcpy(text + used, a->targets[t].host, n);
        used += n;
    }
    return span_of(text, used);
}

void hosts_missing(const struct hosts *h, void (*each)(void *arg, struct span alias, struct span value), void *arg)
{
    char text[TARGETS_MAX * (HOST_MAX + 1)];

    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct alias *a = h->buckets[i]; a; a = a->next) {
            bool missing = false;

            for (size_t t = 0; t < a->ntargets; t++)
                missing = missing || (a->targets[t].ours && !a->targets[t].shared);
            if (missing)
                each(arg, span_of(a->name, a->n), value_of(a, text));
        }
    }
}

/* letter, authority, rest; false when it does not fit. */
static bool emit(char letter, struct span authority, struct span port, struct span rest,
                 void (*each)(void *arg, struct span text), void *arg)
{
    char text[SCOPE_TEXT];
    size_t n = 1 + authority.n;

    if (n + port.n + rest.n > SCOPE_TEXT)
        return false;
    text[0] = letter;
    memcpy(text + 1, authority.p, authority.n);
    if (port.n)
        memcpy(text + n, port.p, port.n);
    n += port.n;
    if (rest.n)
        memcpy(text + n, rest.p, rest.n);
    each(arg, span_of(text, n + rest.n));
    return true;
}

bool hosts_expand(const struct hosts *h, struct span scope, void (*each)(void *arg, struct span text), void *arg)
{
    char letter = scope.n ? scope.p[0] : '\0';
    bool with_port = letter == 'U' || letter == 'P' || letter == 'Q', fits = true;
    struct span authority, port, rest;
    const struct alias *a;
    size_t end = 1;

    if (scope.n == 0)
        return false;
    each(arg, scope);
    if (h->count == 0 || (!with_port && letter != 'H' && letter != 'G'))
        return !h->incomplete || letter == 'T';
    while (end < scope.n && scope.p[end] != '/' && scope.p[end] != ' ')
        end++;
    rest = span_of(scope.p + end, scope.n - end);
    authority = span_of(scope.p + 1, end - 1);
    end = host_end(authority);
    port = span_of(authority.p + end, authority.n - end);
    a = find(h, authority);
    if (!a)
        a = find(h, span_of(authority.p, end));
    if (!a || h->incomplete)
        return false;
    for (size_t t = 0; t < a->ntargets; t++) {
        struct span host = span_str(a->targets[t].host);

        if (!with_port) {
            host.n = host_end(host);
            fits = emit(letter, host, span_of(NULL, 0), rest, each, arg) && fits;
            continue;
        }
        fits = emit(letter, host, span_of(NULL, 0), rest, each, arg) && fits;
        if (port.n && host_end(host) == host.n)
            fits = emit(letter, host, port, rest, each, arg) && fits;
    }
    return fits;
}
