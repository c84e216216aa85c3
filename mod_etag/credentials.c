/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request could be answered differently because of who sends it. In doubt it could. */
#include <apr_strings.h>
#include <http_ssl.h>

#include "mod_etag/mod_etag.h"
#include "mod_etag/variant.h"

static bool not_held(request_rec *r, const char *names, const char *name)
{
    return apr_table_get(r->headers_in, name) && !variant_has_name(names, name);
}

/* Basic and Digest take the user from Authorization alone; every other way has sources of its own. */
static bool user_held(request_rec *r, const char *names)
{
    return variant_has_name(names, "authorization") && apr_table_get(r->headers_in, "Authorization") &&
           r->ap_auth_type && (strcasecmp(r->ap_auth_type, "Basic") == 0 || strcasecmp(r->ap_auth_type, "Digest") == 0);
}

static bool has_client_certificate(request_rec *r)
{
    const char *verified;

    if (!ap_ssl_conn_is_ssl(r->connection))
        return false;
    verified = ap_ssl_var_lookup(r->pool, r->server, r->connection, r, "SSL_CLIENT_VERIFY");
    return verified && *verified && strcmp(verified, "NONE") != 0;
}

static bool cookie_ignored(const struct etag_name_list *list, struct span name)
{
    for (int i = 0; list->kind == ETAG_NAMES_LIST && i < list->names->nelts; i++) {
        struct span ignore = APR_ARRAY_IDX(list->names, i, struct span);
        bool prefix = ignore.n && ignore.p[ignore.n - 1] == '*';
        if (prefix ? span_starts(name, span_of(ignore.p, ignore.n - 1)) : span_eq(name, ignore))
            return true;
    }
    return list->kind == ETAG_NAMES_ALL;
}

struct cookies {
    request_rec *r;
    const struct etag_name_list *ignore;
    const char *names;
};

/* 0 ends the walk at the first cookie that neither is ignored nor selects the variant. */
static int all_ignored(void *rec, const char *key, const char *field)
{
    const struct cookies *c = rec;
    struct span name, value;

    (void)key;
    while (variant_next_cookie(&field, &name, &value)) {
        if (cookie_ignored(c->ignore, name))
            continue;
        char *selecting = apr_pstrcat(c->r->pool, VARIANT_COOKIE, apr_pstrmemdup(c->r->pool, name.p, name.n), NULL);
        ap_str_tolower(selecting);
        if (!variant_has_name(c->names, selecting))
            return 0;
    }
    return 1;
}

bool request_has_credentials(request_rec *r, const struct etag_dir *dir, const char *names)
{
    struct cookies cookies = {.r = r, .ignore = &dir->ignore_cookies, .names = names};

    if (not_held(r, names, "authorization") || not_held(r, names, "proxy-authorization") ||
        (r->user && !user_held(r, names)) || has_client_certificate(r))
        return true;
    for (int i = 0; dir->credentials && i < dir->credentials->nelts; i++)
        if (not_held(r, names, APR_ARRAY_IDX(dir->credentials, i, const char *)))
            return true;
    return not_held(r, names, "cookie") && !apr_table_do(all_ignored, &cookies, r->headers_in, "Cookie", NULL);
}
