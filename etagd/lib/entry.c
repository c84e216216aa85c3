/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/entry.h"

#include "etagd/lib/digest.h"

#define HEAD 12u /* bytes before the tag */

/* The length a kind's tag has, when the kind fixes it; -1 for an unknown kind, 0 for any length. */
static int fixed_length(unsigned kind)
{
    switch (kind) {
    case ENTRY_DIGEST:
    case ENTRY_VERSION:
    case ENTRY_GENERATION:
    case ENTRY_VERSION_BASE:
        return DIGEST_BASE_SIZE;
    case ENTRY_FILE:
        return DIGEST_SIZE;
    case ENTRY_MODIFIED:
        return ENTRY_MODIFIED_SIZE;
    case ENTRY_UPSTREAM:
    case ENTRY_NAMES:
    case ENTRY_VERSION_VALUE:
        return 0;
    default:
        return -1;
    }
}

/* One rule for both directions: what could not be decoded is never encoded. */
static bool is_valid(unsigned kind, unsigned flags, size_t length)
{
    int fixed = fixed_length(kind);

    if (fixed < 0 || (fixed > 0 && length != (size_t)fixed) || length > ENTRY_TAG_MAX)
        return false;
    if (kind == ENTRY_UPSTREAM && length < 2)
        return false; /* not even two quotes */
    if (kind == ENTRY_VERSION_VALUE && length == 0)
        return false;
    if ((flags & ENTRY_CONFLICT) &&
        (kind == ENTRY_NAMES || kind == ENTRY_FILE || kind == ENTRY_MODIFIED || kind == ENTRY_VERSION_VALUE))
        return false;
    return (flags & ~(ENTRY_WEAK | ENTRY_ANY_QUERY | ENTRY_CONFLICT)) == 0;
}

static void put_i64(uint8_t *to, int64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

static int64_t get_i64(const uint8_t *from)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return (int64_t)value;
}

void entry_modified_tag(uint8_t tag[ENTRY_MODIFIED_SIZE], const uint8_t *content, int64_t since)
{
    memcpy(tag, content, DIGEST_SIZE);
    put_i64(tag + DIGEST_SIZE, since);
}

int64_t entry_modified_since(const struct entry *e)
{
    return get_i64((const uint8_t *)e->tag.p + DIGEST_SIZE);
}

size_t entry_encode(uint8_t *buf, size_t size, const struct entry *e)
{
    size_t n = e->tag.n;

    if (!is_valid((unsigned)e->kind, e->flags, n) || size < HEAD + n)
        return 0;
    buf[0] = (uint8_t)e->kind;
    buf[1] = (uint8_t)e->flags;
    buf[2] = (uint8_t)(n & 0xff);
    buf[3] = (uint8_t)(n >> 8);
    put_i64(buf + 4, e->last_modified);
    if (n)
        memcpy(buf + HEAD, e->tag.p, n);
    return HEAD + n;
}

bool entry_decode(struct span bytes, struct entry *out)
{
    const uint8_t *b = (const uint8_t *)bytes.p;
    size_t n;

    if (bytes.n < HEAD)
        return false;
    n = (size_t)b[2] | (size_t)b[3] << 8;
    if (bytes.n - HEAD != n || !is_valid(b[0], b[1], n))
        return false;
    out->kind = (enum entry_kind)b[0];
    out->flags = b[1];
    out->last_modified = get_i64(b + 4);
    out->tag = span_of(bytes.p + HEAD, n);
    return true;
}

/* tchar of RFC 9110 5.6.2. */
static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_clean_name(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n > 0;
}

/* No control characters: neither a line of the capsule nor one of the response can end early. */
static bool is_clean_value(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

bool capsule_add(char *buf, size_t *used, struct span name, struct span value)
{
    char *to;

    if (!is_clean_name(name) || !is_clean_value(value) || *used > CAPSULE_MAX)
        return false;
    /* Each length alone first: their sum must not wrap. */
    if (name.n > CAPSULE_MAX || value.n > CAPSULE_MAX || name.n + value.n + 3 > CAPSULE_MAX - *used)
        return false;
    to = buf + *used;
    memcpy(to, name.p, name.n);
    to += name.n;
    *to++ = ':';
    *to++ = ' ';
    if (value.n)
        memcpy(to, value.p, value.n);
    to[value.n] = '\n';
    *used += name.n + value.n + 3;
    return true;
}

bool capsule_next(struct span *rest, struct span *name, struct span *value)
{
    const char *end, *colon;
    struct span n, v;

    if (rest->n == 0)
        return false;
    end = memchr(rest->p, '\n', rest->n);
    if (!end)
        return false;
    colon = memchr(rest->p, ':', (size_t)(end - rest->p));
    if (!colon || end - colon < 2 || colon[1] != ' ')
        return false;
    n = span_of(rest->p, (size_t)(colon - rest->p));
    v = span_of(colon + 2, (size_t)(end - colon - 2));
    if (!is_clean_name(n) || !is_clean_value(v))
        return false;
    *name = n;
    *value = v;
    rest->n -= (size_t)(end + 1 - rest->p);
    rest->p = end + 1;
    return true;
}
