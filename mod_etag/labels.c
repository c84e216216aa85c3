/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/labels.h"

static void add(struct labels *l, const char *p, size_t n)
{
    if (l->n == LABELS_MAX)
        l->incomplete = true;
    else if (n)
        l->at[l->n++] = span_of(p, n);
}

void labels_words(struct labels *l, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, " ,\t");
        add(l, text, n);
        text += n + (text[n] != '\0');
    }
}

static const char *skip_spaces(const char *p)
{
    return p + strspn(p, " \t");
}

/* The string at p, which begins behind its opening quote; returns what follows the closing one, or NULL. */
static const char *read_string(struct labels *l, apr_pool_t *pool, const char *p)
{
    char *text = apr_palloc(pool, strlen(p) + 1);
    size_t n = 0;

    for (; *p != '"'; p++) {
        if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        else if (*p == '\\')
            return NULL;
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            return NULL; /* the end of the text among them */
        text[n++] = *p;
    }
    add(l, text, n);
    return p + 1;
}

void labels_strings(struct labels *l, apr_pool_t *pool, const char *text)
{
    const char *p = skip_spaces(text);

    while (*p) {
        if (*p != '"' || !(p = read_string(l, pool, p + 1))) {
            l->incomplete = true;
            return;
        }
        p = skip_spaces(p);
        if (*p == ';') /* parameters say nothing about the group's name */
            p += strcspn(p, ",");
        if (!*p)
            return;
        p = *p == ',' ? skip_spaces(p + 1) : "";
        if (*p != '"') { /* no comma between two, or nothing behind one */
            l->incomplete = true;
            return;
        }
    }
}
