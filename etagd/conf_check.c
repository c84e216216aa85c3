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
#include "etagd/redis_url.h"
#include "etagd/tls.h"

static bool check_socket(const struct conf *c, struct conf_error *err)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (!c->socket)
        return conf_fail(err, "no socket: set Socket (or --socket PATH), since neither /run/etagd is writable nor "
                              "XDG_RUNTIME_DIR is set");
    if (*c->socket != '/')
        return conf_fault(c, "Socket", err, "must be an absolute path");
    if (strlen(c->socket) > most)
        return conf_fault(c, "Socket", err, "the path has %zu bytes, the system allows %zu; choose a shorter one",
                          strlen(c->socket), most);
    return true;
}

/* file NULL: not set, which is right. */
static bool check_readable(const struct conf *c, const char *option, const char *file, struct conf_error *err)
{
    struct stat st;

    if (!file)
        return true;
    if (stat(file, &st) < 0)
        return conf_fault(c, option, err, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return conf_fault(c, option, err, "not a regular file");
    if (access(file, R_OK) < 0)
        return conf_fault(c, option, err, "%s; make etagd's user its owner", strerror(errno));
    return true;
}

/* Ours: nobody else's. Another's: only lent to us, by way of our group. */
static bool check_secret(const struct conf *c, const char *option, const char *file, struct conf_error *err)
{
    struct stat st;

    if (!file || stat(file, &st) < 0 || !S_ISREG(st.st_mode))
        return check_readable(c, option, file, err);
    if (st.st_mode & S_IRWXO || (st.st_mode & S_IRWXG && (st.st_uid == geteuid() || st.st_gid != getegid())))
        return conf_fault(c, option, err, "others than etagd may read it; chmod 0600 it");
    return check_readable(c, option, file, err);
}

static bool check_accounts(const struct conf *c, struct conf_error *err)
{
    uid_t users[ACCOUNTS_MAX];
    gid_t group;
    size_t n;
    char wrong[64];

    if (!accounts_users(c->allow_users, users, &n, wrong))
        return conf_fault(c, "AllowUsers", err, "\"%s\" is no user of this system, or more than %d are named", wrong,
                          ACCOUNTS_MAX);
    if (c->socket_group && !accounts_group(c->socket_group, &group))
        return conf_fault(c, "SocketGroup", err, "no group of this system");
    return true;
}

/* Words of names in Redis: nothing that would make another hash tag or a second argument of them. */
static bool check_words(const struct conf *c, struct conf_error *err)
{
    if (!c->key_prefix || strpbrk(c->key_prefix, " {}\t\"'"))
        return conf_fault(c, "KeyPrefix", err, "must be one word without braces and quotes");
    if (!c->node || strpbrk(c->node, " {}\t\"'"))
        return conf_fault(c, "NodeName", err, "must be one word without braces and quotes");
    return true;
}

static bool check_digest_file(const struct conf *c, struct conf_error *err)
{
    char path[4096];

    if (!c->digest_file || strcasecmp(c->digest_file, "none") == 0)
        return true;
    if (*c->digest_file != '/')
        return conf_fault(c, "DigestFile", err, "must be an absolute path, or none");
    return conf_digest_file(c, path, sizeof path) || conf_fault(c, "DigestFile", err, "the path is too long");
}

/* Somebody who names a certificate believes that nobody can listen. */
static bool check_unused(const struct conf *c, struct conf_error *err)
{
    const char *set = c->tls_ca_file            ? "TLSCAFile"
                      : c->tls_certificate_file ? "TLSCertificateFile"
                      : c->tls_key_file         ? "TLSKeyFile"
                      : c->tls_server_name      ? "TLSServerName"
                                                : NULL;

    return !set || conf_fault(c, set, err,
                              "the Redis URL does not ask for TLS: write rediss:// (sentinels://, clusters://), or "
                              "remove this line");
}

static bool check_tls(struct conf *c, struct conf_error *err)
{
    struct tls_files files = {c->tls_ca_file, c->tls_certificate_file, c->tls_key_file, c->tls_server_name};
    struct redis_url url = {.tls = false};
    const char *why, *option;
    char text[300];

    if (c->redis && !redis_url_parse(c->redis, &url, &why))
        return conf_fault(c, "Redis", err, "%s", why);
    if (!url.tls)
        return check_unused(c, err);
    if (!c->tls_certificate_file != !c->tls_key_file)
        return conf_fault(c, c->tls_key_file ? "TLSKeyFile" : "TLSCertificateFile", err,
                          "TLSCertificateFile and TLSKeyFile go together: set both or none");
    if (!check_readable(c, "TLSCAFile", c->tls_ca_file, err) ||
        !check_readable(c, "TLSCertificateFile", c->tls_certificate_file, err) ||
        !check_secret(c, "TLSKeyFile", c->tls_key_file, err))
        return false;
    tls_free(c->tls);
    c->tls = tls_new(&files, &option, text, sizeof text);
    return c->tls || conf_fault(c, option, err, "%s", text);
}

bool conf_check(struct conf *c, struct conf_error *err)
{
    enum log_level level;

    if (!check_socket(c, err) || !check_words(c, err) || !check_accounts(c, err) ||
        !check_secret(c, "RedisPasswordFile", c->redis_password_file, err) ||
        !check_secret(c, "SentinelPasswordFile", c->sentinel_password_file, err) || !check_tls(c, err) ||
        !check_digest_file(c, err))
        return false;
    if (!c->log_level || !log_level_parse(c->log_level, &level))
        return conf_fault(c, "LogLevel", err, "expected error, warn, info or debug");
    if (c->tag_ttl_ms > c->horizon_ms / 2)
        return conf_fault(
            c, "TagTTL", err,
            "more than half of Horizon: raise Horizon or lower TagTTL, so that the log always outlives what "
            "it could invalidate");
    return true;
}
