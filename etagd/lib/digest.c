/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK 64u /* SHA-256's block, the width of HMAC's pads (RFC 2104) */

struct digest {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
    struct digest *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    d->ctx = EVP_MD_CTX_new();
    if (!d->md || !d->ctx) {
        digest_free(d);
        return NULL;
    }
    return d;
}

void digest_free(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    EVP_MD_free(d->md);
    free(d);
}

bool digest_begin(struct digest *d)
{
    return EVP_DigestInit_ex2(d->ctx, d->md, NULL) == 1;
}

bool digest_update(struct digest *d, const void *bytes, size_t n)
{
    return n == 0 || EVP_DigestUpdate(d->ctx, bytes, n) == 1;
}

bool digest_final(struct digest *d, uint8_t out[DIGEST_SIZE])
{
    unsigned n = 0;

    return EVP_DigestFinal_ex(d->ctx, out, &n) == 1 && n == DIGEST_SIZE;
}

bool digest_field(struct digest *d, struct span s)
{
    uint8_t length[8];

    for (unsigned i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)s.n >> (8 * i));
    return digest_update(d, length, sizeof(length)) && digest_update(d, s.p, s.n);
}

bool digest_base(struct digest *d, const struct digest_recipe *r, uint8_t base[DIGEST_BASE_SIZE])
{
    const struct span fields[] = {span_of(&r->recipe, 1), r->content,        r->content_type,
                                  r->content_language,    r->content_coding, r->salt};
    uint8_t full[DIGEST_SIZE];

    if (!digest_begin(d))
        return false;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!digest_field(d, fields[i]))
            return false;
    if (!digest_final(d, full))
        return false;
    memcpy(base, full, DIGEST_BASE_SIZE);
    return true;
}

/* One pass of HMAC: the hash of the key's pad and of what follows it. */
static bool hmac_begin(struct digest *d, const uint8_t key[BLOCK], uint8_t pad)
{
    uint8_t block[BLOCK];
    bool ok;

    for (size_t i = 0; i < BLOCK; i++)
        block[i] = key[i] ^ pad;
    ok = digest_begin(d) && digest_update(d, block, BLOCK);
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

/* HMAC of RFC 2104 by hand, because EVP_MAC fetches and copies the digest again for each message, and
 * this runs for every answer of a server that signs. */
static bool hmac(struct digest *d, struct span secret, const struct span *parts, size_t nparts,
                 uint8_t out[DIGEST_SIZE])
{
    uint8_t key[BLOCK] = {0};
    bool ok = true;

    if (secret.n > BLOCK)
        ok = digest_begin(d) && digest_update(d, secret.p, secret.n) && digest_final(d, key);
    else
        memcpy(key, secret.p, secret.n);
    ok = ok && hmac_begin(d, key, 0x36);
    for (size_t i = 0; ok && i < nparts; i++)
        ok = digest_update(d, parts[i].p, parts[i].n);
    ok = ok && digest_final(d, out);
    ok = ok && hmac_begin(d, key, 0x5c) && digest_update(d, out, DIGEST_SIZE) && digest_final(d, out);
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

bool digest_sign(struct span secret, const uint8_t base[DIGEST_BASE_SIZE], struct span key, struct span variant,
                 uint8_t out[DIGEST_BASE_SIZE])
{
    const struct span parts[] = {span_of((const char *)base, DIGEST_BASE_SIZE), key, SPAN_LITERAL("\0"), variant};
    uint8_t full[DIGEST_SIZE];
    struct digest *d;
    bool ok;

    if (secret.n == 0) {
        memmove(out, base, DIGEST_BASE_SIZE);
        return true;
    }
    d = digest_new();
    if (!d)
        return false;
    ok = hmac(d, secret, parts, sizeof(parts) / sizeof(parts[0]), full);
    digest_free(d);
    if (ok)
        memcpy(out, full, DIGEST_BASE_SIZE);
    return ok;
}

size_t digest_base64url(const uint8_t *bytes, size_t n, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, held = 0; /* held: bits not yet written, fewer than 6 between bytes */
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8 | bytes[i]) & 0xfff;
        for (held += 8; held >= 6; held -= 6)
            out[at++] = alphabet[bits >> (held - 6) & 0x3f];
    }
    if (held)
        out[at++] = alphabet[bits << (6 - held) & 0x3f];
    out[at] = '\0';
    return at;
}

void digest_opaque(char recipe, const uint8_t raw[DIGEST_BASE_SIZE], char out[ENTITY_TAG_OURS_LENGTH + 1])
{
    out[0] = recipe;
    digest_base64url(raw, DIGEST_BASE_SIZE, out + 1);
}
