/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/coding.h"

#include "etagd/lib/xxh.h"

static const struct {
    struct span name, suffix;
} codings[CODING_COUNT] = {
    [CODING_IDENTITY] = {{"identity", 8}, {"", 0}},
    [CODING_GZIP] = {{"gzip", 4}, {"-gzip", 5}},
    [CODING_BR] = {{"br", 2}, {"-br", 3}},
    [CODING_ZSTD] = {{"zstd", 4}, {"-zstd", 5}},
};

struct span coding_name(enum coding c)
{
    return codings[c].name;
}

struct span coding_suffix(enum coding c)
{
    return codings[c].suffix;
}

bool coding_parse(struct span token, enum coding *out)
{
    if (span_eq_nocase(token, SPAN_LITERAL("x-gzip"))) {
        *out = CODING_GZIP;
        return true;
    }
    for (int c = 0; c < CODING_COUNT; c++) {
        if (span_eq_nocase(token, codings[c].name)) {
            *out = (enum coding)c;
            return true;
        }
    }
    return false;
}

bool coding_split(const struct entity_tag *tag, struct entity_tag *base, enum coding *c)
{
    struct entity_tag whole = *tag;
    struct span front, suffix;

    *base = whole;
    *c = CODING_IDENTITY;
    if (whole.opaque.n < ENTITY_TAG_OURS_LENGTH)
        return false;
    /* Our tags have one length, so a "-" of base64url is never taken for the suffix's. */
    front = span_of(whole.opaque.p, ENTITY_TAG_OURS_LENGTH);
    suffix = span_of(front.p + front.n, whole.opaque.n - front.n);
    if (!entity_tag_is_ours(front))
        return false;
    for (int i = 0; i < CODING_COUNT; i++) {
        if (span_eq(suffix, codings[i].suffix)) {
            base->opaque = front;
            *c = (enum coding)i;
            return true;
        }
    }
    return false;
}

/* --- tags of applications --- */

#define CHECK_SIZE 4
#define SEAL '~'

/* 24 bits: no secret, only what does not come about by chance. */
static void check_of(struct span base, char out[CHECK_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t h = XXH3_64bits(base.p, base.n);

    for (size_t i = 0; i < CHECK_SIZE; i++, h >>= 6)
        out[i] = digits[h & 63];
}

size_t coding_seal(char *buf, size_t size, struct span opaque, enum coding c)
{
    struct span suffix = codings[c].suffix;
    size_t n = opaque.n + 1 + CHECK_SIZE + suffix.n;

    if (n >= size)
        return 0;
    if (opaque.n)
        memcpy(buf, opaque.p, opaque.n);
    buf[opaque.n] = SEAL;
    check_of(opaque, buf + opaque.n + 1);
    memcpy(buf + opaque.n + 1 + CHECK_SIZE, suffix.p, suffix.n);
    buf[n] = '\0';
    return n;
}

bool coding_unseal(const struct entity_tag *tag, struct entity_tag *base, enum coding *c)
{
    struct span whole = tag->opaque;
    char check[CHECK_SIZE];

    *base = *tag;
    *c = CODING_IDENTITY;
    for (int i = CODING_IDENTITY + 1; i < CODING_COUNT; i++) {
        struct span suffix = codings[i].suffix, front;

        if (whole.n < 1 + CHECK_SIZE + suffix.n || !span_eq(span_of(whole.p + whole.n - suffix.n, suffix.n), suffix))
            continue;
        front = span_of(whole.p, whole.n - suffix.n - CHECK_SIZE - 1);
        check_of(front, check);
        if (whole.p[front.n] != SEAL || memcmp(whole.p + front.n + 1, check, CHECK_SIZE) != 0)
            continue;
        base->opaque = front;
        *c = (enum coding)i;
        return true;
    }
    return false;
}

/* --- Accept-Encoding --- */

/* weight of RFC 9110 12.4.2: "0" [ "." 0*3DIGIT ] / "1" [ "." 0*3"0" ]. True only for a weight above 0:
 * a malformed one admits nothing. */
static bool weight_admits(struct span s)
{
    bool above = false;

    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return false;
    above = s.p[0] == '1';
    for (size_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || (s.p[0] == '1' && s.p[i] != '0'))
            return false;
        above = above || s.p[i] != '0';
    }
    return above;
}

/* Cuts s before the first c; *rest is what follows it. False when there is no c. */
static bool cut(struct span s, char c, struct span *front, struct span *rest)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    *front = at ? span_of(s.p, (size_t)(at - s.p)) : s;
    *rest = at ? span_of(at + 1, s.n - front->n - 1) : span_of(NULL, 0);
    return at != NULL;
}

/* One element of Accept-Encoding: its name, and whether it admits it. */
static bool element_admits(struct span element, struct span *name)
{
    struct span weight;

    if (!cut(element, ';', name, &weight)) {
        *name = span_trim(*name);
        return true;
    }
    *name = span_trim(*name);
    weight = span_trim(weight);
    if (weight.n < 2 || span_lower(weight.p[0]) != 'q' || weight.p[1] != '=')
        return false;
    return weight_admits(span_of(weight.p + 2, weight.n - 2));
}

enum verdict { UNNAMED, ADMITTED, REFUSED };

/* A coding named twice is refused if one of the two refuses it. */
static void judge(enum verdict *v, bool admits)
{
    if (!admits)
        *v = REFUSED;
    else if (*v == UNNAMED)
        *v = ADMITTED;
}

bool coding_accepted(struct span accept_encoding, bool present, enum coding c)
{
    enum verdict own = UNNAMED, any = UNNAMED;
    struct span rest = accept_encoding, element;
    bool more = present;

    while (more) {
        struct span name;
        enum coding named;
        bool admits;

        more = cut(rest, ',', &element, &rest);
        admits = element_admits(element, &name);
        if (span_eq(name, SPAN_LITERAL("*")))
            judge(&any, admits);
        else if (coding_parse(name, &named) && named == c)
            judge(&own, admits);
    }
    if (own != UNNAMED)
        return own == ADMITTED;
    if (c == CODING_IDENTITY)
        return any != REFUSED;
    return any == ADMITTED;
}
