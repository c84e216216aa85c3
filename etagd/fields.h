/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field, value pairs of a log record, kept in one allocation that free() releases. Any thread.
 */
#ifndef ETAGD_FIELDS_H
#define ETAGD_FIELDS_H

#include "etagd/lib/span.h"

struct fields {
    size_t bytes; /* of the allocation */
    size_t n; /* spans: twice the pairs */
    struct span at[];
};

/* A copy; NULL: out of memory. */
struct fields *fields_copy(const struct span *fields, size_t n);

bool fields_equal(const struct fields *f, const struct span *fields, size_t n);

/* "op arg op arg ...", cut to size, always terminated; control characters as "?". */
void fields_text(const struct span *fields, size_t n, char *out, size_t size);

#endif
