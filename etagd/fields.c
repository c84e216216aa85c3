/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/fields.h"

#include <stdlib.h>

struct fields *fields_copy(const struct span *fields, size_t n)
{
    size_t bytes = sizeof(struct fields) + n * sizeof *fields;
    struct fields *f;
    char *text;

    for (size_t i = 0; i < n; i++)
        bytes += fields[i].n;
    f = malloc(bytes);
    if (!f)
        return NULL;
    f->bytes = bytes;
    f->n = n;
    text = (char *)&f->at[n];
    for (size_t i = 0; i < n; i++) {
        if (fields[i].n)
            memcpy(text, fields[i].p, fields[i].n);
        f->at[i] = span_of(text, fields[i].n);
        text += fields[i].n;
    }
    return f;
}

bool fields_equal(const struct fields *f, const struct span *fields, size_t n)
{
    if (f->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!span_eq(f->at[i], fields[i]))
            return false;
    return true;
}

void fields_text(const struct span *fields, size_t n, char *out, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < n && used + 1 < size; i++) {
        if (i)
            out[used++] = ' ';
        for (size_t k = 0; k < fields[i].n && used + 1 < size; k++) {
            char c = fields[i].p[k];

            out[used++] = c >= ' ' && c <= '~' ? c : '?';
        }
    }
    out[used] = '\0';
}
