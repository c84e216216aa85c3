/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to an opaque tag.
 *
 *   content digest  SHA-256 of the representation's bytes (or the text of a version)
 *   base            first 128 bits of SHA-256 over, each preceded by its 64-bit little-endian length:
 *                   recipe character, content digest or version text, Content-Type with parameters,
 *                   Content-Language, Content-Encoding the body arrived with, salt (ETagSalt)
 *   tag             recipe + base64url(base), or with a secret
 *                   recipe + base64url(first 128 bits of HMAC-SHA-256(secret, base | key | NUL | variant))
 *
 * What is stored and shared between nodes is the base: a module signs when it answers, so a secret
 * can be rotated without learning again. Never inode, mtime or a node's name.
 */
#ifndef ETAG_LIB_DIGEST_H
#define ETAG_LIB_DIGEST_H

#include <stdint.h>

#include "etagd/lib/entity_tag.h"

#define DIGEST_SIZE 32 /* SHA-256 */
#define DIGEST_BASE_SIZE 16

/* A reusable hashing context: the message digest is fetched once. One thread at a time. */
struct digest;

struct digest *digest_new(void); /* NULL when libcrypto cannot give SHA-256 */
void digest_free(struct digest *d);

/* begin may be called again at any time to start over; false on a libcrypto error (then no digest
 * may be used: the response gets no tag). */
bool digest_begin(struct digest *d);
bool digest_update(struct digest *d, const void *bytes, size_t n);
bool digest_final(struct digest *d, uint8_t out[DIGEST_SIZE]);

/* As digest_update, behind the length in 64 bits, little-endian: no two sequences of fields are the same bytes, and
 * every machine makes the same of one. */
bool digest_field(struct digest *d, struct span s);

struct digest_recipe {
    char recipe;                  /* 'd' content digest, 'v' version, 'g' generation */
    struct span content;          /* 32 bytes of content digest, or the version's text */
    struct span content_type;     /* with parameters, as the response carries it; may be empty */
    struct span content_language; /* may be empty */
    struct span content_coding;   /* Content-Encoding the body arrived with; may be empty */
    struct span salt;             /* ETagSalt; may be empty */
};

bool digest_base(struct digest *d, const struct digest_recipe *r, uint8_t base[DIGEST_BASE_SIZE]);

/* secret.n == 0: the base itself. */
bool digest_sign(struct span secret, const uint8_t base[DIGEST_BASE_SIZE], struct span key, struct span variant,
                 uint8_t out[DIGEST_BASE_SIZE]);

/* Writes ENTITY_TAG_OURS_LENGTH characters and a NUL. */
void digest_opaque(char recipe, const uint8_t raw[DIGEST_BASE_SIZE], char out[ENTITY_TAG_OURS_LENGTH + 1]);

/* base64url without padding; out needs (n * 4 + 2) / 3 + 1 bytes. Returns the length. */
size_t digest_base64url(const uint8_t *bytes, size_t n, char *out);

#endif
