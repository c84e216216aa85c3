/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical key of a resource, e.g. https://www.example.com/products/42?lang=de
 *
 *   scheme "://" host [":" port] path ["?" query]
 *
 * scheme and host in lower case, IPv6 in its canonical spelling, the port only when it is not the
 * scheme's default, the path as the request target spells it (two spellings are two keys, which costs
 * a miss and can never be wrong; all spellings of one path share their scopes, scope.h), the query
 * without ignored parameters and otherwise in order. "{", "}", space, control characters and bytes
 * above 0x7E are percent-encoded; "#" cannot occur in a request target and separates the variant.
 *
 * A path with a "." or ".." segment, also an encoded one, or with a "%" that begins no escape has no
 * key: which resource it names depends on who resolves it.
 *
 * A key over KEY_MAX bytes keeps its first 200 bytes, or more where the path and its "?" are longer,
 * then "~" and the hexadecimal SHA-256 of the whole; when the path itself leaves no room for that, or
 * has "//" in it (then its length says nothing, see scope.h), there is no key. A request that only looks like a shortened key is shortened as well, so the two
 * cannot be confused. Log, scopes and claims use the key without its scheme.
 */
#ifndef ETAG_LIB_KEY_H
#define ETAG_LIB_KEY_H

#include "etagd/lib/span.h"

#define KEY_MAX 1024     /* longest key before it is shortened */
#define KEY_HOST_MAX 253 /* longest host: a DNS name in text form */
#define KEY_SIZE 1200    /* room for a key, a variant behind "#", and a NUL */

struct key {
    char text[KEY_SIZE];
    size_t n;      /* length of text; text[n] == 0 */
    size_t scheme; /* bytes of "https://": text + scheme is the scheme-less key */
};

struct key_parts {
    struct span scheme; /* "http" or "https", any case */
    struct span host;   /* name, IPv4 or bracketed IPv6; without userinfo and port */
    unsigned port;      /* 0: the scheme's default */
    /* Begins with "/", still percent-encoded as in the request target: decoding loses what tells "%3F"
     * from "?". In httpd that is r->unparsed_uri; r->uri and r->parsed_uri.path are decoded. */
    struct span path;
    struct span query;  /* without "?" */
    bool has_query;     /* an empty query ("/p?") is not no query */
    /* Names of query parameters that do not count (ETagIgnoreQuery), and whether all do. */
    const struct span *ignore;
    size_t nignore;
    bool ignore_all;
};

enum key_error { KEY_OK = 0, KEY_BAD_SCHEME, KEY_BAD_HOST, KEY_BAD_PORT, KEY_BAD_PATH, KEY_TOO_LONG };

/* Builds the key of a request; any thread. Allocates nothing unless a key is shortened, and then only
 * libcrypto's digest. On an error out->n is 0. KEY_TOO_LONG also when libcrypto gives no digest. */
enum key_error key_build(struct key *out, const struct key_parts *parts);

/* From text as a person types it, or from a key (which gives the same key): scheme optional ("http" is
 * assumed), a fragment is dropped, white space at both ends too; userinfo and control characters are
 * refused. */
enum key_error key_from_url(struct key *out, struct span url);

/* Static text for people. */
const char *key_error_text(enum key_error e);

/* Whether text ends like a shortened key: "~" and 64 hexadecimal digits. */
bool key_is_shortened(struct span text);

#define KEY_BAD_ESCAPE (-1)

/* Takes one byte off the front of percent-encoded text that is not empty, decoded. KEY_BAD_ESCAPE for a
 * "%" that begins no escape (the "%" alone is taken then). */
int key_next_byte(struct span *s);

#endif
