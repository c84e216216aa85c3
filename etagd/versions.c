/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/versions.h"

#include <stdlib.h>

#include "etagd/lib/version.h"
#include "etagd/lib/xxh.h"

#define BUCKETS 16384u /* a power of two */

struct known {
    struct known *next; /* of the bucket */
    struct log_id told;
    uint64_t left[VERSIONS_LEFT]; /* hashes of former values, the oldest is overwritten */
    unsigned nleft, at_left;
    bool doubtful;
    size_t nvalue, nname;
    char value[VERSION_VALUE_MAX];
    char name[];
};

struct versions {
    struct known *buckets[BUCKETS];
    size_t n;
};

struct versions *versions_new(void)
{
    return calloc(1, sizeof(struct versions));
}

void versions_free(struct versions *v)
{
    if (v)
        versions_clear(v);
    free(v);
}

void versions_clear(struct versions *v)
{
    for (size_t i = 0; v->n && i < BUCKETS; i++) {
        for (struct known *k = v->buckets[i], *next; k; k = next) {
            next = k->next;
            free(k);
            v->n--;
        }
        v->buckets[i] = NULL;
    }
}

size_t versions_count(const struct versions *v)
{
    return v->n;
}

static struct known **bucket_of(const struct versions *v, struct span name)
{
    return (struct known **)&v->buckets[XXH3_64bits(name.p, name.n) & (BUCKETS - 1)];
}

static struct known *find(const struct versions *v, struct span name)
{
    struct known *k = *bucket_of(v, name);

    while (k && !span_eq(span_of(k->name, k->nname), name))
        k = k->next;
    return k;
}

bool versions_find(const struct versions *v, struct span name, struct version *out)
{
    const struct known *k = find(v, name);

    if (!k)
        return false;
    *out = (struct version){.name = span_of(k->name, k->nname),
                            .value = span_of(k->value, k->nvalue),
                            .told = k->told,
                            .doubtful = k->doubtful};
    return true;
}

/* ---- values ---- */

/* A number that has one spelling. */
static bool is_number(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n && (s.p[0] != '0' || s.n == 1);
}

static bool is_below(struct span a, struct span b)
{
    if (!is_number(a) || !is_number(b))
        return false;
    return a.n != b.n ? a.n < b.n : memcmp(a.p, b.p, a.n) < 0;
}

static uint64_t hash(struct span value)
{
    return XXH3_64bits(value.p, value.n);
}

static bool was_left(const struct known *k, struct span value)
{
    for (unsigned i = 0; i < k->nleft; i++)
        if (k->left[i] == hash(value))
            return true;
    return false;
}

static void leave(struct known *k)
{
    k->left[k->at_left] = hash(span_of(k->value, k->nvalue));
    k->at_left = (k->at_left + 1) % VERSIONS_LEFT;
    if (k->nleft < VERSIONS_LEFT)
        k->nleft++;
}

static void set(struct known *k, struct span value, struct log_id id)
{
    memcpy(k->value, value.p, value.n);
    k->nvalue = value.n;
    k->told = id;
    k->doubtful = false;
}

static struct known *add(struct versions *v, struct span name)
{
    struct known *k = v->n < VERSIONS_MAX ? calloc(1, sizeof *k + name.n) : NULL, **bucket = bucket_of(v, name);

    if (!k)
        return NULL;
    memcpy(k->name, name.p, name.n);
    k->nname = name.n;
    k->next = *bucket;
    *bucket = k;
    v->n++;
    return k;
}

enum versions_verdict versions_tell(struct versions *v, struct span name, struct span value, struct log_id id)
{
    struct known *k = find(v, name);
    struct span present;

    if (!k) {
        k = add(v, name);
        if (!k)
            return VERSIONS_FULL;
        set(k, value, id);
        return VERSIONS_NEW;
    }
    present = span_of(k->value, k->nvalue);
    if (span_eq(value, present))
        return k->doubtful ? VERSIONS_DOUBT : VERSIONS_SAME;
    if (is_below(value, present) || was_left(k, value)) {
        k->doubtful = true;
        k->told = id;
        return VERSIONS_DOUBT;
    }
    leave(k);
    set(k, value, id);
    return VERSIONS_NEW;
}
