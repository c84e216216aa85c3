/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/config.h"

#include <apr_strings.h>
#include <http_core.h>

#include "etagd/lib/digest.h"
#include "etagd/lib/proto.h"
#include "mod_etag/directives.h"
#include "mod_etag/mod_etag.h"

/* Every member of struct etag_dir with the flag that says whether its directive was given; merging
 * follows this list alone, so a member that is not named here does not inherit and its test fails. */
#define DIR_MEMBERS(X)                                                                                                 \
    X(engine, engine)                                                                                                  \
    X(source, source)                                                                                                  \
    X(coded_weak, coded)                                                                                               \
    X(early, early)                                                                                                    \
    X(ttl, ttl)                                                                                                        \
    X(ignore_query, ignore_query)                                                                                      \
    X(vary, vary)                                                                                                      \
    X(ignore_cookies, ignore_cookies)                                                                                  \
    X(credentials, credentials)                                                                                        \
    X(salt, salt)                                                                                                      \
    X(last_modified, last_modified)                                                                                    \
    X(groups, groups)                                                                                                  \
    X(groups_expr, groups)                                                                                             \
    X(group_headers, group_headers)                                                                                    \
    X(group_headers_strip, group_headers)                                                                              \
    X(version_expr, version)                                                                                           \
    X(version_header, version)                                                                                         \
    X(version_text, version)                                                                                           \
    X(buffer_limit, buffer_limit)                                                                                      \
    X(buffer_time, buffer_time)                                                                                        \
    X(inline_limit, inline_limit)                                                                                      \
    X(trust_fs, trust_fs)                                                                                              \
    X(cache_status, cache_status)

/* ETagBaseURL is missing on purpose: a URL names one site, and virtual hosts that inherited it would
 * answer with each other's tags. */
#define SERVER_MEMBERS(X)                                                                                              \
    X(daemon, daemon)                                                                                                  \
    X(timeout, timeout)                                                                                                \
    X(secrets, secrets)                                                                                                \
    X(allow_override, allow_override)

#define MERGE(member, flag)                                                                                            \
    memcpy(&out->member, add->flag##_set ? &add->member : &base->member, sizeof(out->member));                         \
    out->flag##_set = add->flag##_set || base->flag##_set;

/* Arrays of defaults; shared by every configuration, hence never pushed to. */
static const char *default_credential_names[] = {"x-api-key", "x-auth-token"};
static const char *default_group_header_names[] = {"cache-groups"};

static apr_array_header_t default_credentials = {
    .elt_size = sizeof(char *), .nelts = 2, .nalloc = 2, .elts = (char *)default_credential_names};
static apr_array_header_t default_group_headers = {
    .elt_size = sizeof(char *), .nelts = 1, .nalloc = 1, .elts = (char *)default_group_header_names};

static const struct etag_dir dir_defaults = {
    .engine = ETAG_ENGINE_OFF,
    .source = {ETAG_SOURCE_UPSTREAM, ETAG_SOURCE_DIGEST},
    .ttl = APR_TIME_C(86400) * APR_USEC_PER_SEC,
    .ignore_query = {.kind = ETAG_NAMES_NONE},
    .ignore_cookies = {.kind = ETAG_NAMES_NONE},
    .credentials = &default_credentials,
    .salt = "",
    .last_modified = ETAG_LAST_MODIFIED_AGREE,
    .group_headers = &default_group_headers,
    .version_header = "ETag-Version",
    .version_text = "header:ETag-Version",
    .buffer_limit = 1 << 20,
    .buffer_time = 200 * 1000,
    .inline_limit = 8 << 20,
};

/* --- policy --- */

static bool hash_policy(struct digest *d, const struct etag_dir *dir)
{
    const apr_array_header_t *vary = dir->vary, *query = dir->ignore_query.names;
    bool ok = digest_begin(d) && digest_field(d, span_of((const char *)dir->source, sizeof dir->source));
    const char kind = (char)dir->ignore_query.kind;

    ok = ok && digest_field(d, span_of(&kind, 1));
    for (int i = 0; ok && query && i < query->nelts; i++)
        ok = digest_field(d, APR_ARRAY_IDX(query, i, struct span));
    /* An end mark that no name can be, so that lists do not run into each other. */
    ok = ok && digest_field(d, SPAN_LITERAL("\n")) && digest_field(d, span_str(dir->salt)) &&
         digest_field(d, span_str(dir->version_text));
    for (int i = 0; ok && vary && i < vary->nelts; i++)
        ok = digest_field(d, span_str(APR_ARRAY_IDX(vary, i, const char *)));
    return ok;
}

void etag_dir_policy(struct etag_dir *dir)
{
    uint8_t sum[DIGEST_SIZE];
    /* Not the thread's context: this also runs in the parent, whose module is unloaded and loaded again
     * at every restart. */
    struct digest *d = digest_new();

    dir->policy_known = d && hash_policy(d, dir) && digest_final(d, sum);
    if (dir->policy_known)
        memcpy(dir->policy, sum, sizeof dir->policy);
    digest_free(d);
}

static bool gives_policy(const struct etag_dir *dir)
{
    return dir->source_set || dir->ignore_query_set || dir->vary_set || dir->salt_set || dir->version_set;
}

static void inherit_policy(struct etag_dir *out, const struct etag_dir *base, const struct etag_dir *add)
{
    const struct etag_dir *only = !gives_policy(add) ? base : !gives_policy(base) ? add : NULL;

    if (!only) {
        etag_dir_policy(out);
        return;
    }
    memcpy(out->policy, only->policy, sizeof out->policy);
    out->policy_known = only->policy_known;
}

/* --- records --- */

void *etag_dir_create(apr_pool_t *p, char *where)
{
    (void)where;
    struct etag_dir *dir = apr_pmemdup(p, &dir_defaults, sizeof *dir);
    /* .htaccess files create records while requests run; the first record is made before any thread. */
    static struct etag_dir plain;

    if (!plain.policy_known) {
        plain = dir_defaults;
        etag_dir_policy(&plain);
    }
    memcpy(dir->policy, plain.policy, sizeof dir->policy);
    dir->policy_known = plain.policy_known;
    return dir;
}

void *etag_dir_merge(apr_pool_t *p, void *base_config, void *add_config)
{
    const struct etag_dir *base = base_config, *add = add_config;
    struct etag_dir *out = apr_pcalloc(p, sizeof *out);

    DIR_MEMBERS(MERGE)
    inherit_policy(out, base, add);
    return out;
}

void *etag_server_create(apr_pool_t *p, server_rec *s)
{
    (void)s;
    struct etag_server *server = apr_pcalloc(p, sizeof *server);

    *server = (struct etag_server){.daemon = PROTO_DEFAULT_SOCKET, .timeout = 20 * 1000};
    return server;
}

void *etag_server_merge(apr_pool_t *p, void *base_config, void *add_config)
{
    const struct etag_server *base = base_config, *add = add_config;
    struct etag_server *out = apr_pmemdup(p, add, sizeof *out);

    SERVER_MEMBERS(MERGE)
    return out;
}

const struct etag_dir *etag_dir_of(request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &etag_module);
}

const struct etag_server *etag_server_of(server_rec *s)
{
    return ap_get_module_config(s->module_config, &etag_module);
}
