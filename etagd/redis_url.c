/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/redis_url.h"

#include <stdio.h>
#include <string.h>

#include "etagd/lib/span.h"

static bool take_text(struct span from, char *out, size_t size)
{
    if (from.n == 0 || from.n >= size || memchr(from.p, '\0', from.n))
        return false;
    memcpy(out, from.p, from.n);
    out[from.n] = '\0';
    return true;
}

static bool take_number(struct span from, unsigned max, unsigned *out)
{
    unsigned n = 0;

    if (from.n == 0 || from.n > 5)
        return false;
    for (size_t i = 0; i < from.n; i++) {
        if (from.p[i] < '0' || from.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(from.p[i] - '0');
    }
    *out = n;
    return n <= max;
}

/* Splits s at the first c; false when there is none. */
static bool split(struct span s, char c, struct span *before, struct span *after)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    if (!at)
        return false;
    *before = span_of(s.p, (size_t)(at - s.p));
    *after = span_of(at + 1, s.n - before->n - 1);
    return true;
}

static bool parse_unix(struct span rest, struct redis_url *out, const char **why)
{
    struct span path = rest, query;

    if (split(rest, '?', &path, &query) && (!span_starts(query, SPAN_LITERAL("db=")) ||
                                            !take_number(span_of(query.p + 3, query.n - 3), 65535, &out->database))) {
        *why = "after the socket's path only ?db=NUMBER is understood";
        return false;
    }
    if (span_starts(path, SPAN_LITERAL("//")))
        path = span_of(path.p + 2, path.n - 2);
    if (path.n && path.p[0] == '/' && take_text(path, out->path, sizeof out->path))
        return true;
    *why = "a socket is written unix:/path, absolute and shorter than 108 bytes";
    return false;
}

static bool parse_address(struct span text, unsigned default_port, struct redis_address *out)
{
    struct span host = text, port;
    bool has_port = false;

    if (text.n && text.p[0] == '[') {
        if (!split(text, ']', &host, &port))
            return false;
        host = span_of(host.p + 1, host.n - 1);
        has_port = port.n > 0;
        if (has_port && port.p[0] != ':')
            return false;
        port = has_port ? span_of(port.p + 1, port.n - 1) : port;
    } else {
        has_port = split(text, ':', &host, &port);
    }
    out->port = default_port;
    if (has_port && (!take_number(port, 65535, &out->port) || out->port == 0))
        return false;
    return take_text(host, out->host, sizeof out->host);
}

/* Takes the database off the end. */
static bool parse_database(struct span *rest, struct redis_url *out, const char **why)
{
    struct span authority, database;

    if (!split(*rest, '/', &authority, &database))
        return true;
    *rest = authority;
    if (database.n == 0 || take_number(database, 65535, &out->database))
        return true;
    *why = "the database behind the host is a number";
    return false;
}

static bool parse_tcp(struct span rest, struct redis_url *out, const char **why)
{
    struct span user;

    if (!parse_database(&rest, out, why))
        return false;
    if (split(rest, '@', &user, &rest)) {
        if (user.n && memchr(user.p, ':', user.n)) {
            *why = "a password does not stand in the URL: put it in a file and name it with RedisPasswordFile";
            return false;
        }
        if (user.n && !take_text(user, out->user, sizeof out->user)) {
            *why = "the user's name is too long";
            return false;
        }
    }
    if (parse_address(rest, 6379, &out->at))
        return true;
    *why = "write redis://host:port/database, with a port of 1 to 65535 and brackets around an IPv6 address";
    return false;
}

static bool parse_seeds(struct span list, unsigned default_port, struct redis_url *out)
{
    struct span one;

    for (bool more = true; more;) {
        more = split(list, ',', &one, &list);
        if (out->nseeds == REDIS_SEEDS || !parse_address(more ? one : list, default_port, &out->seeds[out->nseeds]))
            return false;
        for (unsigned i = 0; i < out->nseeds; i++)
            if (memcmp(&out->seeds[i], &out->seeds[out->nseeds], sizeof out->seeds[i]) == 0)
                return false; /* a majority of Sentinels counts each of them once */
        out->nseeds++;
    }
    return true;
}

static bool parse_sentinel(struct span rest, struct redis_url *out, const char **why)
{
    struct span name;

    if (!parse_database(&rest, out, why))
        return false;
    if (split(rest, '@', &name, &rest) && !memchr(name.p, ':', name.n) &&
        take_text(name, out->master, sizeof out->master) && parse_seeds(rest, 26379, out))
        return true;
    *why = "write sentinel://name@host:port,host:port/database: the master's name as \"sentinel monitor\" has it, then "
           "up to 15 different Sentinels (port 26379 unless given); users and passwords stand in options";
    return false;
}

static bool parse_cluster(struct span rest, struct redis_url *out, const char **why)
{
    out->cluster = true;
    if (rest.n && !memchr(rest.p, '@', rest.n) && !memchr(rest.p, '/', rest.n) && parse_seeds(rest, 6379, out))
        return true;
    *why = "write cluster://host:port,host:port: up to 15 different nodes of the Cluster (port 6379 unless given); it "
           "has one database, and users and passwords stand in options";
    return false;
}

static const struct scheme {
    struct span prefix;
    bool tls;
    bool (*parse)(struct span rest, struct redis_url *out, const char **why);
} schemes[] = {
    {{"unix:", 5}, false, parse_unix},
    {{"redis://", 8}, false, parse_tcp},
    {{"rediss://", 9}, true, parse_tcp},
    {{"sentinel://", 11}, false, parse_sentinel},
    {{"sentinels://", 12}, true, parse_sentinel},
    {{"cluster://", 10}, false, parse_cluster},
    {{"clusters://", 11}, true, parse_cluster},
};

bool redis_url_parse(const char *text, struct redis_url *out, const char **why)
{
    struct span url = span_str(text);

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        const struct scheme *s = &schemes[i];

        out->tls = s->tls;
        if (span_starts(url, s->prefix))
            return s->parse(span_of(url.p + s->prefix.n, url.n - s->prefix.n), out, why);
    }
    *why =
        "a Redis URL begins with redis://, unix:, sentinel:// or cluster://, for TLS with rediss://, sentinels:// or "
        "clusters://";
    return false;
}

void redis_url_text(const struct redis_url *url, char *out, unsigned size)
{
    const char *s = url->tls ? "s" : "";

    if (url->path[0])
        snprintf(out, size, "unix:%s?db=%u", url->path, url->database);
    else if (url->at.host[0] == '\0' && url->cluster)
        snprintf(out, size, strchr(url->seeds[0].host, ':') ? "cluster%s://[%s]:%u" : "cluster%s://%s:%u", s,
                 url->seeds[0].host, url->seeds[0].port);
    else if (url->at.host[0] == '\0')
        snprintf(out, size, "sentinel%s://%s/%u", s, url->master, url->database);
    else if (strchr(url->at.host, ':'))
        snprintf(out, size, "redis%s://[%s]:%u/%u", s, url->at.host, url->at.port, url->database);
    else
        snprintf(out, size, "redis%s://%s:%u/%u", s, url->at.host, url->at.port, url->database);
}
