/* SPDX-License-Identifier: Apache-2.0 */
/* What no single value shows: whether the options fit this machine and one another. */
#include "etagd/conf_private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "etagd/accounts.h"
#include "etagd/log.h"

static bool check_socket(const struct conf *c, struct conf_error *err)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (!c->socket)
        return conf_fail(err, "no socket: set Socket (or --socket PATH), since neither /run/etagd is writable nor "
                              "XDG_RUNTIME_DIR is set");
    if (*c->socket != '/')
        return conf_fail(err, "Socket \"%s\": must be an absolute path", c->socket);
    if (strlen(c->socket) > most)
        return conf_fail(err, "Socket \"%s\": the path has %zu bytes, the system allows %zu; choose a shorter one",
                         c->socket, strlen(c->socket), most);
    return true;
}

static bool check_password_file(const char *option, const char *file, struct conf_error *err)
{
    struct stat st;

    if (!file)
        return true;
    if (stat(file, &st) < 0)
        return conf_fail(err, "%s \"%s\": %s", option, file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return conf_fail(err, "%s \"%s\": not a regular file", option, file);
    /* Ours: nobody else's. Another's: only lent to us, by way of our group. */
    if (st.st_mode & S_IRWXO || (st.st_mode & S_IRWXG && (st.st_uid == geteuid() || st.st_gid != getegid())))
        return conf_fail(err, "%s \"%s\": others than etagd may read it; chmod 0600 it", option, file);
    if (access(file, R_OK) < 0)
        return conf_fail(err, "%s \"%s\": %s; make etagd's user its owner", option, file, strerror(errno));
    return true;
}

static bool check_accounts(const struct conf *c, struct conf_error *err)
{
    uid_t users[ACCOUNTS_MAX];
    gid_t group;
    size_t n;
    char wrong[64];

    if (!accounts_users(c->allow_users, users, &n, wrong))
        return conf_fail(err, "AllowUsers: \"%s\" is no user of this system, or more than %d are named", wrong,
                         ACCOUNTS_MAX);
    if (c->socket_group && !accounts_group(c->socket_group, &group))
        return conf_fail(err, "SocketGroup: \"%s\" is no group of this system", c->socket_group);
    return true;
}

/* Words of names in Redis: nothing that would make another hash tag or a second argument of them. */
static bool check_words(const struct conf *c, struct conf_error *err)
{
    if (!c->key_prefix || strpbrk(c->key_prefix, " {}\t\"'"))
        return conf_fail(err, "KeyPrefix \"%s\": must be one word without braces and quotes",
                         c->key_prefix ? c->key_prefix : "");
    if (!c->node || strpbrk(c->node, " {}\t\"'"))
        return conf_fail(err, "NodeName \"%s\": must be one word without braces and quotes", c->node ? c->node : "");
    return true;
}

static bool check_digest_file(const struct conf *c, struct conf_error *err)
{
    char path[4096];

    if (!c->digest_file || strcasecmp(c->digest_file, "none") == 0)
        return true;
    if (*c->digest_file != '/')
        return conf_fail(err, "DigestFile \"%s\": must be an absolute path, or none", c->digest_file);
    return conf_digest_file(c, path, sizeof path) || conf_fail(err, "DigestFile: the path is too long");
}

bool conf_check(struct conf *c, struct conf_error *err)
{
    enum log_level level;

    if (!check_socket(c, err) || !check_words(c, err) || !check_accounts(c, err) ||
        !check_password_file("RedisPasswordFile", c->redis_password_file, err) ||
        !check_password_file("SentinelPasswordFile", c->sentinel_password_file, err) || !check_digest_file(c, err))
        return false;
    if (!c->log_level || !log_level_parse(c->log_level, &level))
        return conf_fail(err, "LogLevel \"%s\": expected error, warn, info or debug", c->log_level ? c->log_level : "");
    if (c->tag_ttl_ms > c->horizon_ms / 2)
        return conf_fail(err,
                         "TagTTL is more than half of Horizon: raise Horizon or lower TagTTL, so that the log always "
                         "outlives what it could invalidate");
    return true;
}
