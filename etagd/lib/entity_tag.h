/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entity-tags: RFC 9110 8.8.3 (syntax, comparison) and the lists of If-Match and If-None-Match
 * (13.1.1, 13.1.2). Pure functions over spans: no allocation, no state, any thread.
 *
 *   entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE      etagc = %x21 / %x23-7E / obs-text
 *
 * There is no escape: a backslash is an ordinary character, a comma may stand inside the quotes,
 * "w/" in lower case is malformed. Policy for lists: a malformed element is skipped up to the next
 * comma that can end it and never hides a well-formed one; empty elements are allowed (5.6.1). A comma
 * between quotes that close ends nothing; where the quote does not close, the first comma does.
 * Linear in the length of the field.
 */
#ifndef ETAG_LIB_ENTITY_TAG_H
#define ETAG_LIB_ENTITY_TAG_H

#include "etagd/lib/span.h"

struct entity_tag {
    struct span opaque; /* between the quotes, quotes not included; points into the input */
    bool weak;
};

/* Length of one of our own opaque tags: a recipe character and 22 of base64url (128 bits). */
#define ENTITY_TAG_OURS_LENGTH 23

/* Parses exactly one entity-tag that fills s (surrounding optional white space allowed).
 * False when malformed; *out is then untouched. */
bool entity_tag_parse(struct span s, struct entity_tag *out);

/* Strong comparison: both strong and equal. Weak comparison: equal, weakness ignored (8.8.3.2). */
bool entity_tag_eq_strong(const struct entity_tag *a, const struct entity_tag *b);
bool entity_tag_eq_weak(const struct entity_tag *a, const struct entity_tag *b);

/* Writes [W/]"opaque" and a NUL. Returns the length without the NUL, or 0 when size is too small or
 * opaque holds a byte that may not stand in a tag. */
size_t entity_tag_format(char *buf, size_t size, const struct entity_tag *tag);

/* True when opaque has the form of a tag this software issues: one of the recipes d, v, g and 22
 * characters of base64url. The form says nothing about who issued it. */
bool entity_tag_is_ours(struct span opaque);

struct entity_tag_list {
    struct span rest;   /* not yet read */
    unsigned malformed; /* elements skipped so far */
    size_t examined;    /* looks at a byte of the field so far, at most 4 for each byte */
};

void entity_tag_list_start(struct entity_tag_list *list, struct span field);

/* True and *out set for the next well-formed element; false at the end of the field. */
bool entity_tag_list_next(struct entity_tag_list *list, struct entity_tag *out);

/* True when the whole field is "*" (13.1.1); "*x" and "*, \"a\"" are not. */
bool entity_tag_list_is_any(struct span field);

#endif
