/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical key of a resource, e.g. https://www.example.com/products/42?lang=de
 *
 *   scheme "://" host [":" port] path ["?" query]
 *
 * scheme and host in lower case, the port only when it is not the scheme's default, the path as
 * httpd gave it (no further normalisation: two spellings are two keys, which costs a miss and can
 * never be wrong), the query without ignored parameters and otherwise in order. "{", "}", space,
 * control characters and bytes above 0x7E are percent-encoded, "#" cannot occur in a request target
 * and separates the variant. A key over KEY_MAX bytes keeps its first 200 bytes, then "~" and the
 * hexadecimal SHA-256 of the whole. Log, scopes and claims use the key without its scheme.
 */
#ifndef ETAG_LIB_KEY_H
#define ETAG_LIB_KEY_H

#include "etagd/lib/span.h"

#define KEY_MAX 1024     /* longest key before it is shortened */
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
    struct span path;   /* begins with "/" */
    struct span query;  /* without "?" */
    bool has_query;     /* an empty query ("/p?") is not no query */
    /* Names of query parameters that do not count (ETagIgnoreQuery), and whether all do. */
    const struct span *ignore;
    size_t nignore;
    bool ignore_all;
};

enum key_error { KEY_OK = 0, KEY_BAD_SCHEME, KEY_BAD_HOST, KEY_BAD_PORT, KEY_BAD_PATH, KEY_TOO_LONG };

/* Builds the key; any thread, no allocation (a long key is hashed on the way). On an error out->n is 0. */
enum key_error key_build(struct key *out, const struct key_parts *parts);

/* From text as a person types it: scheme optional ("http" is assumed), userinfo refused. */
enum key_error key_from_url(struct key *out, struct span url);

const char *key_error_text(enum key_error e);

#endif
