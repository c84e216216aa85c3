/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry as it lies in Redis, words separated by one space:
 *
 *   1 <epoch> <as-of id> <kind>:<tag> <flags> <last-modified or -> <capsule id or -> <tag or @group>...
 *
 * kind d, v, g: the 16-byte base in base64url, which is what follows the recipe character in an unsigned
 * entity-tag; M: its 40 bytes in base64url; u and N: the text. Texts are percent-encoded: "%", space, control
 * characters and bytes above 0x7E, and a leading "@". A file's digest (kind F) never leaves its node.
 *
 * The store's contents are not trusted: whatever does not parse to the last byte is no entry, a miss.
 * Any thread.
 */
#ifndef ETAGD_ENTRY_TEXT_H
#define ETAGD_ENTRY_TEXT_H

#include "etagd/lib/entry.h"
#include "etagd/log_id.h"

#define ENTRY_TEXT_MAX 16384 /* longest text */
#define ENTRY_TEXT_NAMES 256 /* most tags, and most groups */
#define ENTRY_TEXT_EPOCH 64 /* longest epoch */
#define ENTRY_TEXT_CAPSULE 32 /* characters of a capsule id */

struct entry_text {
    struct span epoch;
    struct log_id as_of;
    struct entry entry;
    struct span capsule; /* id, empty: none */
    struct span tags[ENTRY_TEXT_NAMES], groups[ENTRY_TEXT_NAMES];
    size_t ntags, ngroups;
    char storage[ENTRY_TEXT_MAX]; /* what a parsed entry points into */
};

/* Returns the length, 0 when it does not fit or cannot be stored. Empty tags and groups are left out: no
 * operation can name them. Does not use storage. */
size_t entry_text_write(char *buf, size_t size, const struct entry_text *t);

bool entry_text_read(struct span text, struct entry_text *out);

/* Capsule id: hexadecimal of the first 128 bits of SHA-256. False when libcrypto fails. */
bool entry_text_capsule_id(struct span capsule, char out[ENTRY_TEXT_CAPSULE + 1]);

/* Names of headers joined by ",": sorted by bytes, no name twice, none empty; no names at all is a list. */
bool entry_text_names_valid(struct span names);

/* The union of two valid lists. False when it does not fit. out may not overlap the inputs. */
bool entry_text_names_union(struct span a, struct span b, char *out, size_t size, size_t *n);

#endif
