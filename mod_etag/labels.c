/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/labels.h"

#include "etagd/lib/structured.h"

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

void labels_strings(struct labels *l, apr_pool_t *pool, const char *text)
{
    struct span rest = span_str(text);
    struct structured member;

    while (structured_list(&rest, &member)) {
        if (member.type == STRUCTURED_STRING) {
            char *name = apr_palloc(pool, member.text.n + 1);
            add(l, name, structured_string(member.text, name));
        } else {
            l->incomplete = true;
        }
    }
    l->incomplete = l->incomplete || rest.n;
}
