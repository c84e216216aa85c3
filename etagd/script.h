/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lua scripts on the server, called by their SHA-1. They are loaded when a connection comes up and again
 * when the server says that it has forgotten them. Event-loop thread only.
 */
#ifndef ETAGD_SCRIPT_H
#define ETAGD_SCRIPT_H

#include "etagd/redis.h"

#define SCRIPT_ARGS 16 /* keys and arguments */

struct script {
    const char *body;
    char sha[41];
};

/* False when libcrypto fails. body is not copied. */
bool script_init(struct script *s, const char *body);

bool script_load(const struct script *s, struct redis *redis);

/* EVALSHA, ready to be sent; points into itself, into the script and where args point. */
struct script_command {
    struct span argv[3 + SCRIPT_ARGS];
    size_t argc;
    char keys[24];
};

/* args: keys, then arguments. False: too many. */
bool script_command(const struct script *s, size_t nkeys, size_t n, const struct span *args,
                    struct script_command *out);

/* args: keys, then arguments. As redis_send; on NOSCRIPT the caller loads and calls again. */
bool script_call(const struct script *s, struct redis *redis, size_t nkeys, size_t n, const struct span *args,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg);

#endif
