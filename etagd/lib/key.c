/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/key.h"

#include "etagd/lib/digest.h"

#include <arpa/inet.h>
#include <stdint.h>

#define SHORT_KEEP 200u /* a shortened key keeps at least this many bytes */
#define SHORT_TAIL (1u + 2 * DIGEST_SIZE) /* "~" and the hexadecimal digest */

static const char hex[] = "0123456789ABCDEF";

/* Where a key is being written. Past KEY_MAX the text goes into the digest by chunks, and the room
 * behind KEY_MAX is the chunk: a long URL needs no memory of its own. */
struct builder {
    struct key *key;
    struct digest *digest; /* NULL while the text fits */
    size_t at; /* bytes in key->text */
    bool failed; /* libcrypto did not give a digest */
};

static void builder_flush(struct builder *b)
{
    size_t from = b->digest ? KEY_MAX : 0;

    if (!b->digest) {
        b->digest = digest_new();
        b->failed = !b->digest || !digest_begin(b->digest);
    }
    b->failed = b->failed || !digest_update(b->digest, b->key->text + from, b->at - from);
    b->at = KEY_MAX;
}

static void put(struct builder *b, char c)
{
    if (b->failed)
        return;
    if (b->at == (b->digest ? KEY_SIZE : KEY_MAX))
        builder_flush(b);
    if (!b->failed)
        b->key->text[b->at++] = c;
}

static void put_text(struct builder *b, const char *s)
{
    while (*s)
        put(b, *s++);
}

static void put_encoded(struct builder *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c > 0x20 && c <= 0x7e && c != '{' && c != '}') {
            put(b, (char)c);
        } else {
            put(b, '%');
            put(b, hex[c >> 4]);
            put(b, hex[c & 15]);
        }
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = span_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_next_byte(struct span *s)
{
    int high, low;
    unsigned char c = (unsigned char)s->p[0];

    s->p++, s->n--;
    if (c != '%')
        return c;
    if (s->n < 2 || (high = hex_value(s->p[0])) < 0 || (low = hex_value(s->p[1])) < 0)
        return KEY_BAD_ESCAPE;
    s->p += 2, s->n -= 2;
    return high << 4 | low;
}

/* Refuses what leaves in doubt which resource is meant: escapes that are none, "." and ".." also when
 * encoded, and the characters that end a path. *runs: a slash follows a slash. */
static bool path_is_plain(struct span path, bool *runs)
{
    size_t dots = 0, length = 1; /* of the current segment; the one before the first slash is not empty */

    *runs = false;
    if (path.n == 0 || path.p[0] != '/')
        return false;
    while (path.n) {
        char raw = path.p[0];
        int c = key_next_byte(&path);

        if (c == KEY_BAD_ESCAPE || raw == '?' || raw == '#')
            return false;
        if (c == '/') {
            if (length && length == dots)
                return false;
            *runs = *runs || length == 0;
            dots = length = 0;
            continue;
        }
        length++;
        /* Three dots are a name like any other. */
        dots = c == '.' && length <= 2 ? dots + 1 : 0;
    }
    return !length || length != dots;
}

static bool put_ipv6(struct builder *b, struct span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    host = span_of(host.p + 1, host.n - 2);
    if (host.n >= sizeof(text) || memchr(host.p, '\0', host.n))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    /* One address has many spellings: all of them shall be one host. */
    if (inet_pton(AF_INET6, text, &address) != 1 || !inet_ntop(AF_INET6, &address, text, sizeof(text)))
        return false;
    put(b, '[');
    put_text(b, text);
    put(b, ']');
    return true;
}

static bool put_host(struct builder *b, struct span host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return put_ipv6(b, host);
    if (host.n && host.p[host.n - 1] == '.')
        host.n--; /* the root's dot: httpd drops it too */
    if (host.n == 0 || host.n > KEY_HOST_MAX || host.p[0] == '.')
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = span_lower(host.p[i]);

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
        if (c == '.' && (i + 1 == host.n || host.p[i + 1] == '.'))
            return false;
        put(b, c);
    }
    return true;
}

static void put_port(struct builder *b, unsigned port)
{
    char digits[5];
    size_t n = 0;

    for (; port; port /= 10)
        digits[n++] = (char)('0' + port % 10);
    put(b, ':');
    while (n)
        put(b, digits[--n]);
}

static bool is_ignored(const struct key_parts *parts, struct span parameter)
{
    const char *equals = parameter.n ? memchr(parameter.p, '=', parameter.n) : NULL;
    struct span name = equals ? span_of(parameter.p, (size_t)(equals - parameter.p)) : parameter;

    for (size_t i = 0; i < parts->nignore; i++)
        if (span_eq(name, parts->ignore[i]))
            return true;
    return false;
}

/* "?" and what is left of the query; nothing at all when every parameter is ignored. */
static void put_query(struct builder *b, const struct key_parts *parts)
{
    struct span rest = parts->query;
    bool first = true, more = true;

    if (!parts->has_query || parts->ignore_all)
        return;
    while (more) {
        const char *end = rest.n ? memchr(rest.p, '&', rest.n) : NULL;
        struct span parameter = end ? span_of(rest.p, (size_t)(end - rest.p)) : rest;

        more = end != NULL;
        if (more)
            rest = span_of(end + 1, rest.n - parameter.n - 1);
        if (is_ignored(parts, parameter))
            continue;
        put(b, first ? '?' : '&');
        first = false;
        put_encoded(b, parameter);
    }
}

bool key_is_shortened(struct span key)
{
    if (key.n < SHORT_TAIL || key.p[key.n - SHORT_TAIL] != '~')
        return false;
    for (size_t i = key.n - SHORT_TAIL + 1; i < key.n; i++)
        if (hex_value(key.p[i]) < 0)
            return false;
    return true;
}

/* Replaces the end of the text by the digest of all of it. The path and its "?" stay whole, so that
 * every scope of the path can still be read off the key. */
static enum key_error builder_shorten(struct builder *b, size_t path_end)
{
    size_t keep = path_end + 1 > SHORT_KEEP ? path_end + 1 : SHORT_KEEP;
    uint8_t sum[DIGEST_SIZE];

    builder_flush(b);
    if (b->failed || keep > KEY_MAX - SHORT_TAIL || !digest_final(b->digest, sum))
        return KEY_TOO_LONG;
    b->at = keep;
    b->key->text[b->at++] = '~';
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        b->key->text[b->at++] = span_lower(hex[sum[i] >> 4]);
        b->key->text[b->at++] = span_lower(hex[sum[i] & 15]);
    }
    return KEY_OK;
}

static enum key_error put_origin(struct builder *b, const struct key_parts *parts)
{
    bool tls = span_eq_nocase(parts->scheme, SPAN_LITERAL("https"));

    if (!tls && !span_eq_nocase(parts->scheme, SPAN_LITERAL("http")))
        return KEY_BAD_SCHEME;
    if (parts->port > 65535)
        return KEY_BAD_PORT;
    put_text(b, tls ? "https://" : "http://");
    b->key->scheme = b->at;
    if (!put_host(b, parts->host))
        return KEY_BAD_HOST;
    if (parts->port && parts->port != (tls ? 443u : 80u))
        put_port(b, parts->port);
    return KEY_OK;
}

static enum key_error build(struct builder *b, const struct key_parts *parts, bool from_request)
{
    enum key_error e = put_origin(b, parts);
    size_t path_end;
    bool runs;

    if (e)
        return e;
    if (!path_is_plain(parts->path, &runs) || (parts->query.n && memchr(parts->query.p, '#', parts->query.n)))
        return KEY_BAD_PATH;
    put_encoded(b, parts->path);
    if (b->digest || b->failed)
        return KEY_TOO_LONG;
    path_end = b->at;
    put_query(b, parts);
    if (b->failed)
        return KEY_TOO_LONG;
    /* A short request that looks like a shortened key is shortened too: nobody can ask for a URL whose
     * key would be that of another. */
    if (b->digest || (from_request && b->at > path_end + SHORT_TAIL && b->at >= SHORT_KEEP + SHORT_TAIL &&
                      key_is_shortened(span_of(b->key->text, b->at))))
        return runs ? KEY_TOO_LONG : builder_shorten(b, path_end);
    return KEY_OK;
}

static enum key_error build_key(struct key *out, const struct key_parts *parts, bool from_request)
{
    struct builder b = {.key = out};
    enum key_error e = build(&b, parts, from_request);

    digest_free(b.digest);
    out->n = e ? 0 : b.at;
    out->text[out->n] = '\0';
    return e;
}

enum key_error key_build(struct key *out, const struct key_parts *parts)
{
    return build_key(out, parts, true);
}

/* host [":" port]; userinfo leaves an "@", which no host holds. */
static enum key_error parse_authority(struct span s, struct key_parts *parts)
{
    size_t i = 0;

    if (s.n && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.n);
        if (!close)
            return KEY_BAD_HOST;
        i = (size_t)(close - s.p) + 1;
    } else {
        while (i < s.n && s.p[i] != ':')
            i++;
    }
    parts->host = span_of(s.p, i);
    if (i == s.n)
        return KEY_OK;
    if (memchr(s.p, '@', s.n))
        return KEY_BAD_HOST;
    if (s.p[i] != ':')
        return KEY_BAD_HOST; /* something behind an IPv6 address */
    if (s.n - i - 1 > 5)
        return KEY_BAD_PORT;
    if (++i == s.n)
        return KEY_OK; /* RFC 3986 3.2.3: an empty port is the default */
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return KEY_BAD_PORT;
        parts->port = parts->port * 10 + (unsigned)(s.p[i] - '0');
    }
    return parts->port ? KEY_OK : KEY_BAD_PORT;
}

/* Cuts s before the first of the characters in stops; the remainder goes to *rest. */
static struct span cut(struct span s, const char *stops, struct span *rest)
{
    size_t i = 0;

    while (i < s.n && (s.p[i] == '\0' || !strchr(stops, s.p[i])))
        i++;
    *rest = span_of(s.p + i, s.n - i);
    return span_of(s.p, i);
}

enum key_error key_from_url(struct key *out, struct span url)
{
    struct key_parts parts = {.scheme = SPAN_LITERAL("http"), .path = SPAN_LITERAL("/")};
    struct span rest, head;
    enum key_error e;

    out->n = 0;
    out->text[0] = '\0';
    out->scheme = 0;
    url = span_trim(url);
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] < 0x20 || url.p[i] == 0x7f)
            return KEY_BAD_PATH;
    if (url.n == 0)
        return KEY_BAD_HOST;
    url = cut(url, "#", &rest); /* a fragment never reaches a server */
    head = cut(url, ":/?", &rest);
    if (span_starts(rest, SPAN_LITERAL("://"))) {
        parts.scheme = head;
        url = span_of(rest.p + 3, rest.n - 3);
    }
    e = parse_authority(cut(url, "/?", &rest), &parts);
    if (e)
        return e;
    if (rest.n && rest.p[0] == '/')
        parts.path = cut(rest, "?", &rest);
    parts.has_query = rest.n > 0;
    if (parts.has_query)
        parts.query = span_of(rest.p + 1, rest.n - 1);
    return build_key(out, &parts, false);
}

const char *key_error_text(enum key_error e)
{
    switch (e) {
    case KEY_OK:
        return "ok";
    case KEY_BAD_SCHEME:
        return "the scheme is neither http nor https";
    case KEY_BAD_HOST:
        return "the host is missing or malformed";
    case KEY_BAD_PORT:
        return "the port is not a number from 1 to 65535";
    case KEY_BAD_PATH:
        return "the path or query is malformed";
    case KEY_TOO_LONG:
        return "the URL is too long";
    }
    return "unknown error";
}
