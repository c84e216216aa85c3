/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of a record: what is known under a key. The same bytes stand in the shared table, travel
 * in ETAG PUT and lie (as text, see store.h) in Redis.
 *
 *   u8 kind, u8 flags, u16 length of tag (little-endian), i64 last_modified (little-endian), tag bytes
 *
 * Decoding checks every length, also the one a kind fixes, and refuses trailing bytes, unknown kinds
 * and unknown flags: a refused value is a miss. The text of ENTRY_UPSTREAM is not parsed here.
 * Pure functions, any thread.
 */
#ifndef ETAG_LIB_ENTRY_H
#define ETAG_LIB_ENTRY_H

#include <stdint.h>

#include "etagd/lib/span.h"

enum entry_kind {
    ENTRY_DIGEST = 'd',     /* tag: 16-byte base (digest.h) */
    ENTRY_VERSION = 'v',    /* tag: 16-byte base */
    ENTRY_GENERATION = 'g', /* tag: 16-byte base */
    ENTRY_UPSTREAM = 'u',   /* tag: the origin's whole entity-tag as text, W/ and quotes included */
    ENTRY_NAMES = 'N',      /* tag: the names that select the variant (Vary, ETagVary, search.h), lower case,
                               sorted, joined by ","; may be empty. Stands at the key without variant */
    ENTRY_FILE = 'F',       /* tag: 32-byte content digest; key is a file identity; self-validating */
    ENTRY_VERSION_BASE = 'V',  /* tag: 16-byte base of a tag before its version: what a version that is known before the
                                  handler is mixed into (ETagVersion expr=) */
    ENTRY_VERSION_VALUE = 'T', /* tag: the value of a named version, text. Under the key of version.h */
    ENTRY_MODIFIED = 'M'    /* tag: 32-byte content digest, then i64 since (little-endian): last_modified is the
                               date that the cluster gives this content, since when it has been known. Under a
                               key#m (name.h) */
};

#define ENTRY_WEAK 1u      /* flags: the tag is weak */
#define ENTRY_ANY_QUERY 2u /* the key stands for several queries (ETagIgnoreQuery): invalidating any of them counts */
#define ENTRY_CONFLICT 4u  /* not to be answered with: this tag and another one were current at the same time. Set by
                              etagd, never by a publisher; not on names, files, dates and values of versions */
#define ENTRY_UNDATED INT64_MIN
#define ENTRY_MODIFIED_SIZE 40 /* the tag of ENTRY_MODIFIED */
#define ENTRY_TAG_MAX 400
#define ENTRY_SIZE (12 + ENTRY_TAG_MAX)

struct entry {
    enum entry_kind kind;
    unsigned flags;
    int64_t last_modified; /* seconds since 1970, or ENTRY_UNDATED */
    struct span tag;       /* points into the decoded bytes */
};

/* Returns the number of bytes written, or 0 when the tag does not fit ENTRY_TAG_MAX or buf, or when
 * entry_decode would refuse the result. */
size_t entry_encode(uint8_t *buf, size_t size, const struct entry *e);

/* bytes must outlive *out, which is untouched when false. */
bool entry_decode(struct span bytes, struct entry *out);

/* The tag of an ENTRY_MODIFIED, and its since, in seconds since 1970. */
void entry_modified_tag(uint8_t tag[ENTRY_MODIFIED_SIZE], const uint8_t *content, int64_t since);
int64_t entry_modified_since(const struct entry *e);

/* Header capsule: what a 304 must repeat (RFC 9110 15.4.5), as "name: value\n" lines in the order
 * captured; at most CAPSULE_MAX bytes. A name or value with a control character is refused. */
#define CAPSULE_MAX 512

/* Appends one line to buf (CAPSULE_MAX bytes, *used of them taken); false, and nothing written, when it
 * does not fit, the name is no token (RFC 9110 5.6.2) or the value holds a control character. */
bool capsule_add(char *buf, size_t *used, struct span name, struct span value);
/* True and the next line, *rest advanced behind it. False at the end (rest->n is 0 then) and at a
 * malformed rest (rest->n is not 0: the capsule is damaged and its hit a miss). */
bool capsule_next(struct span *rest, struct span *name, struct span *value);

#endif
