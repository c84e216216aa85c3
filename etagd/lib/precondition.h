/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluation of preconditions, RFC 9110 13.2.2, as a pure function of the request's fields and the
 * selected representation. It knows nothing of httpd, so it is tested by tables of cases.
 *
 * Policies where the RFC leaves room (docs/design.md says why):
 *  - a malformed list element is ignored; a present If-Match without one well-formed element is
 *    false; an If-None-Match without one matches nothing on GET, HEAD and QUERY and is false elsewhere;
 *  - an invalid date, also two joined lines of a date field, is as if the field were absent;
 *  - If-Modified-Since in the future of the server's clock is invalid (13.1.3 allows comparing;
 *    RFC 7232 3.3 said ignore); If-Unmodified-Since in the future is compared as it is;
 *  - a date is compared only where the modification date is known (13.1.3, 13.1.4), and If-Range by
 *    date only outside the second of the modification (8.8.2.2);
 *  - where it was given to this content alone, only the very date proves that nothing was modified: a later
 *    one may come from a node that still had other content then. Doubt is no 304, no part (a Range is
 *    ignored), and no write;
 *  - If-Range is false for a response that a filter codes: its bytes are not reproducible;
 *  - every coding of a tag of ours names the representation in If-Match and, where the answer would be
 *    412, in If-None-Match; for a 304 the request must also admit that coding;
 *  - OPTIONS, TRACE and CONNECT ignore every precondition (13.2.1).
 */
#ifndef ETAG_LIB_PRECONDITION_H
#define ETAG_LIB_PRECONDITION_H

#include <stdint.h>

#include "etagd/lib/coding.h"

enum precondition_method {
    PRECONDITION_GET,    /* GET and HEAD */
    PRECONDITION_IGNORE, /* OPTIONS, TRACE, CONNECT */
    PRECONDITION_QUERY,  /* a GET of its result's resource (RFC 10008 2.6), but always answered whole */
    PRECONDITION_SAFE,   /* other safe methods: a false If-None-Match is 412 there */
    PRECONDITION_UNSAFE
};

struct precondition_field {
    bool present;
    struct span value; /* several lines joined by ", " (RFC 9110 5.3) */
};

struct precondition_request {
    enum precondition_method method;
    struct precondition_field if_match, if_none_match, if_modified_since, if_unmodified_since,
        if_range, range, accept_encoding;
    int64_t now; /* seconds since 1970, UTC: when the request was received */
};

/* What is known of when the representation was modified. */
enum precondition_dates {
    PRECONDITION_UNDATED, /* it has no such date: fields with dates are as if absent */
    PRECONDITION_DATED,   /* compared as the RFC says: modified at or before the field's date is not since then */
    PRECONDITION_NAMED,   /* at was given to this content alone: an equal date proves it, a later one leaves doubt */
    PRECONDITION_WITHHELD /* it may have one, which is not known now: every date leaves doubt */
};

struct precondition_date {
    enum precondition_dates is;
    int64_t at; /* seconds since 1970; meaningless unless DATED or NAMED */
};

struct precondition_representation {
    bool exists;              /* a current representation exists: what "*" asks */
    bool tagged;              /* tag is known; false says that it has none: find out before a write */
    struct entity_tag tag;    /* without a coding suffix when ours, else as the origin sent it */
    bool coded_variants;      /* tag is ours: "tag-gzip" and the like name its codings; else sealed ones do (coding.h) */
    enum coding coding;       /* the coding this request would be answered with; the first to match */
    struct precondition_date modified;
};

enum precondition_result {
    PRECONDITION_PROCEED,      /* perform the method */
    PRECONDITION_NOT_MODIFIED, /* 304 */
    PRECONDITION_FAILED        /* 412 */
};

struct precondition_outcome {
    enum precondition_result result;
    /* Whether a Range field is to be honoured (13.2.2 step 5): false when there is none, when the
     * method is not GET or HEAD, when If-Range is present and false, and when If-Unmodified-Since leaves
     * doubt. Meaningful with PRECONDITION_PROCEED. */
    bool range;
    /* The element of If-None-Match that matched, as sent by the client, with its weakness: the 304
     * repeats it byte for byte. opaque.p is NULL when none did (or "*" did), and whenever the result is
     * PRECONDITION_PROCEED or If-Match or If-Unmodified-Since decided. */
    struct entity_tag matched;
    enum coding matched_coding;
};

/* Reads only what its arguments point at; any thread. For a 304 a coded element ("tag-gzip") matches
 * only when accept_encoding admits that coding; of several that match, the one equal to rep->coding
 * wins, else the first. */
struct precondition_outcome precondition_evaluate(const struct precondition_request *req,
                                                  const struct precondition_representation *rep);

#endif
