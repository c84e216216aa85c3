/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/script.h"

#include <openssl/evp.h>
#include <stdio.h>

bool script_init(struct script *s, const char *body)
{
    unsigned char hash[EVP_MAX_MD_SIZE];

    s->body = body;
    if (!EVP_Digest(body, strlen(body), hash, NULL, EVP_sha1(), NULL))
        return false;
    for (size_t i = 0; i < 20; i++)
        snprintf(s->sha + 2 * i, 3, "%02x", hash[i]);
    return true;
}

bool script_load(const struct script *s, struct redis *redis)
{
    struct span argv[3] = {SPAN_LITERAL("SCRIPT"), SPAN_LITERAL("LOAD"), span_str(s->body)};

    return redis_send(redis, 3, argv, NULL, NULL);
}

bool script_command(const struct script *s, size_t nkeys, size_t n, const struct span *args, struct script_command *out)
{
    if (n > SCRIPT_ARGS)
        return false;
    out->argv[0] = SPAN_LITERAL("EVALSHA");
    out->argv[1] = span_str(s->sha);
    out->argv[2] = span_of(out->keys, (size_t)snprintf(out->keys, sizeof out->keys, "%zu", nkeys));
    memcpy(out->argv + 3, args, n * sizeof *args);
    out->argc = 3 + n;
    return true;
}

bool script_call(const struct script *s, struct redis *redis, size_t nkeys, size_t n, const struct span *args,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    struct script_command command;

    return script_command(s, nkeys, n, args, &command) && redis_send(redis, command.argc, command.argv, reply, arg);
}
