/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose place follows from several options. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "etagd/conf.h"

bool conf_state_file(const struct conf *c, const char *suffix, char *out, size_t size)
{
    const char *slash = strrchr(c->socket, '/'), *name = slash ? slash + 1 : c->socket;
    int n;

    if (c->state_dir)
        n = snprintf(out, size, "%s/%s%s", c->state_dir, name, suffix);
    else
        n = snprintf(out, size, "%s%s", c->socket, suffix);
    return n > 0 && (size_t)n < size;
}

bool conf_digest_file(const struct conf *c, char *out, size_t size)
{
    if (!c->digest_file)
        return conf_state_file(c, ".digests", out, size);
    if (strcasecmp(c->digest_file, "none") == 0)
        return false;
    const int n = snprintf(out, size, "%s", c->digest_file);
    return n > 0 && (size_t)n < size;
}
