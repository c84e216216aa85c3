/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: redis://[user@]host[:port][/database], unix:/path[?db=number], or
 * sentinel://name@host[:port],host[:port]...[/database], the master of that name as Sentinels tell, or
 * cluster://host[:port],host[:port]..., a Redis Cluster and some of its nodes. With rediss://, sentinels:// and
 * clusters:// all of these servers are spoken to by TLS. Passwords never stand in a URL. Part of the configuration: no
 * sockets here. Any thread.
 */
#ifndef ETAGD_REDIS_URL_H
#define ETAGD_REDIS_URL_H

#include <stdbool.h>

#define REDIS_HOST 256 /* longest host, and a NUL */
#define REDIS_SEEDS 15 /* most Sentinels or nodes in a URL */

struct redis_address {
    char host[REDIS_HOST]; /* name or address, IPv6 without brackets */
    unsigned port;
};

struct redis_url {
    struct redis_address at; /* host empty: a socket, or whatever server the seeds name */
    char path[108]; /* unix socket */
    bool tls;
    char user[128]; /* empty: none */
    unsigned database;
    char master[128]; /* its name among the Sentinels; empty: a server is named */
    bool cluster;
    struct redis_address seeds[REDIS_SEEDS]; /* Sentinels, or nodes of the Cluster */
    unsigned nseeds;
};

/* False and *why (static text that names the remedy) when it is none, or of a kind that this build does
 * not speak. */
bool redis_url_parse(const char *text, struct redis_url *out, const char **why);

/* For people: without the user. */
void redis_url_text(const struct redis_url *url, char *out, unsigned size);

#endif
