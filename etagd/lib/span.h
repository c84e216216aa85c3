/* SPDX-License-Identifier: Apache-2.0 */
/*
 * span: a pointer and a length. The library passes text this way everywhere, so that no reader
 * depends on a terminating NUL and every parser knows where its input ends. A span owns nothing:
 * whoever made the bytes keeps them alive. Not thread-bound.
 */
#ifndef ETAG_LIB_SPAN_H
#define ETAG_LIB_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *p; /* may be NULL only when n is 0 */
    size_t n;      /* bytes */
};

#define SPAN_LITERAL(s) ((struct span){ (s), sizeof(s) - 1 })

static inline struct span span_of(const char *p, size_t n)
{
    return (struct span){ p, n };
}

/* NULL gives the empty span. */
static inline struct span span_str(const char *s)
{
    return (struct span){ s, s ? strlen(s) : 0 };
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char span_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

/* ASCII case-insensitive; locale plays no part. */
static inline bool span_eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (span_lower(a.p[i]) != span_lower(b.p[i]))
            return false;
    return true;
}

/* Optional white space of RFC 9110 5.6.3: space and horizontal tab, from both ends. */
static inline struct span span_trim(struct span s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static inline bool span_starts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

#endif
