/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETagEngine DetectionOnly: what nodes learn that only look on, and what they count.
 *
 * They learn by the same commands as those that answer, under variants that begin with DETECTION_VARIANT. No
 * request that is answered has such a one (key.h's "#" is followed by 16 characters of base64url then), so
 * nothing learned by looking on is ever found by a node that answers, in its table or in the store. The names
 * record of a key is shared: it says what selects a variant, which is true whoever has seen it, and answers
 * nothing. Invalidations void both alike.
 */
#ifndef ETAG_LIB_DETECTION_H
#define ETAG_LIB_DETECTION_H

#include "etagd/lib/span.h"

#define DETECTION_VARIANT "detect."

/* Whether a key with its variant ("key#variant") is of this kind. */
static inline bool detection_is_key(struct span key)
{
    const char *hash = key.n ? memchr(key.p, '#', key.n) : NULL;

    return hash &&
           span_starts(span_of(hash + 1, key.n - (size_t)(hash + 1 - key.p)), SPAN_LITERAL(DETECTION_VARIANT));
}

/* name and what it counts: of requests that the engine, On, would have had a hand in. ETAG DETECTED brings them to
 * etagd by these names; INFO's section Detection lists them in this order. */
#define DETECTION_COUNTERS(X)                                                                                          \
    X(detected_tagged, "complete responses that would have carried a tag")                                             \
    X(detected_same, "of these: the tag known for this request, on this node or another, was the same")                \
    X(detected_differing, "of these: the tag known was another one, with no invalidation in between")                  \
    X(detected_304_early, "requests that would have been answered 304 before the handler")                             \
    X(detected_304_wrong, "of these: the handler's response had another tag than the 304 would have confirmed")        \
    X(detected_304_late, "responses that a 304 would have replaced")                                                   \
    X(detected_412, "requests that would have been answered 412")

#define DETECTION_ENUM(name, help) name,
enum detection_counter { DETECTION_COUNTERS(DETECTION_ENUM) DETECTION_COUNT };
#undef DETECTION_ENUM

#endif
