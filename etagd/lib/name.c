/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/lib/entry.h"

#define LABELS_BYTES 12 /* 96 bits: 16 characters of base64url */

static int compare(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    int order = x->n && y->n ? memcmp(x->p, y->p, x->n < y->n ? x->n : y->n) : 0;

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Sorted, no label twice, then an end mark that no length of a field is: tags and groups must not run into each
 * other. */
static bool mix(struct digest *d, const struct span *labels, size_t n)
{
    static const uint8_t end[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct span sorted[NAME_LABELS_MAX];

    if (n)
        memcpy(sorted, labels, n * sizeof *labels);
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < n; i++) {
        if (i && span_eq(sorted[i], sorted[i - 1]))
            continue;
        if (!digest_field(d, sorted[i]))
            return false;
    }
    return digest_update(d, end, sizeof end);
}

bool name_variant(struct digest *d, char kind, unsigned flags, const struct span *tags, size_t ntags,
                  const struct span *groups, size_t ngroups, char out[NAME_VARIANT_SIZE])
{
    const uint8_t any_query = (flags & ENTRY_ANY_QUERY) != 0;
    uint8_t sum[DIGEST_SIZE];

    out[0] = kind;
    out[1] = '\0';
    if (kind == NAME_MODIFIED || (!any_query && ntags == 0 && ngroups == 0))
        return true;
    if (ntags > NAME_LABELS_MAX || ngroups > NAME_LABELS_MAX - ntags || !digest_begin(d) ||
        !digest_update(d, &any_query, 1) || !mix(d, tags, ntags) || !mix(d, groups, ngroups) || !digest_final(d, sum))
        return false;
    out[1] = '.';
    digest_base64url(sum, LABELS_BYTES, out + 2);
    return true;
}

size_t name_content_write(const uint8_t digest[DIGEST_SIZE], int64_t mtime, char out[NAME_CONTENT_SIZE])
{
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return 2 * DIGEST_SIZE + (size_t)snprintf(out + 2 * DIGEST_SIZE, 24, ":%" PRId64, mtime);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_seconds(struct span text, int64_t *out)
{
    bool negative = text.n && text.p[0] == '-';
    int64_t n = 0;

    text = span_of(text.p + negative, text.n - negative);
    for (size_t i = 0; i < text.n; i++) {
        int d = digit(text.p[i]);

        if (d < 0 || d > 9 || n > (INT64_MAX - d) / 10)
            return false;
        n = n * 10 + d;
    }
    *out = negative ? -n : n;
    return text.n > 0;
}

bool name_content_read(struct span text, uint8_t digest[DIGEST_SIZE], int64_t *mtime)
{
    size_t n = 2 * DIGEST_SIZE;

    if (text.n <= n || text.p[n] != ':')
        return false;
    for (size_t i = 0; i < n; i += 2) {
        int high = digit(text.p[i]), low = digit(text.p[i + 1]);

        if (high < 0 || low < 0)
            return false;
        digest[i / 2] = (uint8_t)(high << 4 | low);
    }
    return read_seconds(span_of(text.p + n + 1, text.n - n - 1), mtime);
}

bool name_is_variant(struct span variant)
{
    return variant.n && (variant.p[0] == NAME_GENERATION || variant.p[0] == NAME_MODIFIED) &&
           (variant.n == 1 || variant.p[1] == '.');
}
