/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: redis://[user@]host[:port][/database], unix:/path[?db=number]. Passwords never stand
 * in a URL. Part of the configuration: no sockets here. Any thread.
 */
#ifndef ETAGD_REDIS_URL_H
#define ETAGD_REDIS_URL_H

#include <stdbool.h>

struct redis_url {
    char host[256]; /* name or address, IPv6 without brackets; empty with path */
    unsigned port;
    char path[108]; /* unix socket; empty with host */
    char user[128]; /* empty: none */
    unsigned database;
};

/* False and *why (static text that names the remedy) when it is none, or of a kind that this build does
 * not speak. */
bool redis_url_parse(const char *text, struct redis_url *out, const char **why);

/* For people: without the user. */
void redis_url_text(const struct redis_url *url, char *out, unsigned size);

#endif
