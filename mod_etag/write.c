/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/write.h"

#include <apr_strings.h>
#include <apr_uri.h>
#include <http_protocol.h>

#include "mod_etag/labels.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/node.h"

/* Operation and argument for the target, Location, Content-Location, Destination, and each group. */
#define FIELDS_MAX (8 + 2 * (LABELS_MAX + 1))

/* The target's key without scheme. A Host that the virtual host does not name has no key to learn under, nor has a
 * path with an encoded "..", but the write they carry is real: then the site's own name stands in, and the path as
 * httpd resolved it. That one is decoded: encoded again, for "?" and "%" would say something else. */
static bool target(struct etag_request *ctx, request_rec *r, struct key *out)
{
    const struct etag_server *server = etag_server_of(r->server);
    const request_rec *first = request_first(r);
    struct key_parts parts = {
        .scheme = SPAN_LITERAL("http"),
        .host = span_str(server->base_host ? server->base_host : r->server->server_hostname),
        .port = server->base_host ? server->base_port : 0,
        .path = request_target(r).path,
    };

    if (request_key(r, ctx->dir, out) || key_build(out, &parts) == KEY_OK)
        return true;
    parts.path = span_str(ap_os_escape_path(r->pool, first->parsed_uri.path ? first->parsed_uri.path : "/", 1));
    return key_build(out, &parts) == KEY_OK;
}

static struct span authority_of(const struct key *key)
{
    return span_of(key->text + key->scheme, strcspn(key->text + key->scheme, "/"));
}

/* The key's path, encoded as it was sent. */
static char *path_of(request_rec *r, const struct key *key)
{
    const char *path = key->text + key->scheme + authority_of(key).n;

    return apr_pstrmemdup(r->pool, path, strcspn(path, "?"));
}

/* A reference's path, resolved against the target's (RFC 3986 5.2). */
static bool resolve_path(request_rec *r, const struct key *of, apr_uri_t *uri)
{
    char *base;

    if (uri->hostinfo && (!uri->path || !*uri->path)) {
        uri->path = apr_pstrdup(r->pool, "/"); /* RFC 9110 4.2.3 */
    } else if (!uri->path || *uri->path != '/') {
        base = path_of(r, of);
        if (uri->path && *uri->path) {
            strrchr(base, '/')[1] = '\0';
            uri->path = apr_pstrcat(r->pool, base, uri->path, NULL);
        } else
            uri->path = base;
    }
    return ap_normalize_path(uri->path, 0); /* a ".." too many stays at the root, as everywhere in RFC 3986 */
}

/* A URL of the response, when it is the target's own site (RFC 9111 4.4: other origins' are not ours to
 * invalidate). */
static bool same_site(request_rec *r, const struct key *of, const char *value, struct key *out)
{
    apr_uri_t uri;
    struct key_parts parts = {.scheme = SPAN_LITERAL("http")};
    struct span authority = authority_of(of);

    if (apr_uri_parse(r->pool, value, &uri) != APR_SUCCESS || !resolve_path(r, of, &uri))
        return false;
    if (uri.hostinfo && !span_eq_nocase(span_str(uri.hostinfo), authority))
        return false;
    /* The authority as it stands in the key: its port has been judged there. */
    const char *port = memrchr(authority.p, ':', authority.n);
    if (port && port > authority.p && port[-1] != ':' && authority.p[authority.n - 1] != ']') {
        parts.port = (unsigned)strtoul(port + 1, NULL, 10);
        authority.n = (size_t)(port - authority.p);
    }
    parts.host = authority;
    parts.path = span_str(uri.path);
    parts.query = span_str(uri.query);
    parts.has_query = uri.query != NULL;
    return key_build(out, &parts) == KEY_OK;
}

static size_t add(struct span *fields, size_t n, request_rec *r, const char *operation, const struct key *key)
{
    const char *text = apr_pstrmemdup(r->pool, key->text + key->scheme, key->n - key->scheme);
    fields[n++] = span_str(operation);
    fields[n++] = span_str(text);
    return n;
}

/* RFC 4918 9.6, 9.8, 9.9: these take a collection's members along. Read off the request line, because a
 * script that redirects internally has r->method overwritten. */
static bool is_deep(const request_rec *r)
{
    static const char *const deep[] = {"DELETE ", "MOVE ", "COPY "};
    const char *line = request_first(r)->the_request;

    for (size_t i = 0; line && i < sizeof deep / sizeof *deep; i++)
        if (strncmp(line, deep[i], strlen(deep[i])) == 0)
            return true;
    return false;
}

/* RFC 9875 Cache-Group-Invalidation: groups of this origin. What cannot be read may be any of them. */
static size_t add_groups(struct span *fields, size_t n, request_rec *r, const struct key *key)
{
    const char *text = request_response_header(r, "Cache-Group-Invalidation");
    struct span authority = authority_of(key);
    const char *host = apr_pstrmemdup(r->pool, authority.p, authority.n);
    struct labels groups = {.n = 0};

    if (!text)
        return n;
    labels_strings(&groups, r->pool, text);
    for (size_t i = 0; i < groups.n; i++) {
        fields[n++] = SPAN_LITERAL("group");
        fields[n++] = span_str(apr_psprintf(r->pool, "%s %.*s", host, (int)groups.at[i].n, groups.at[i].p));
    }
    if (groups.incomplete) {
        fields[n++] = SPAN_LITERAL("host");
        fields[n++] = span_str(host);
    }
    return n;
}

static void invalidate(struct etag_request *ctx, request_rec *r)
{
    static const char *const others[] = {"Location", "Content-Location"};
    const char *operation = is_deep(r) ? "prefix" : "url", *destination;
    struct span fields[FIELDS_MAX];
    struct key key, other;
    size_t n = 0;

    if (!target(ctx, r, &key)) {
        fields[n++] = SPAN_LITERAL("all");
        fields[n++] = SPAN_LITERAL("1");
    } else {
        n = add(fields, n, r, operation, &key);
        for (size_t i = 0; i < 2; i++) {
            const char *value = request_response_header(r, others[i]);
            if (value && same_site(r, &key, value, &other))
                n = add(fields, n, r, "url", &other);
        }
        destination = apr_table_get(r->headers_in, "Destination");
        if (destination && same_site(r, &key, destination, &other))
            n = add(fields, n, r, operation, &other);
        n = add_groups(fields, n, r, &key);
    }
    etag_verdict(r, "write",
                 node_invalidate(r->pool, fields, n, &ctx->budget_ns) ? "invalidated" : "invalidation kept");
}

void write_passed(struct etag_request *ctx, request_rec *r)
{
    /* A 4xx refused the write. A 5xx says nothing: the gateway's time may have run out after the backend
     * had committed. */
    if (r->status >= 200 && (r->status < 400 || r->status >= 500))
        invalidate(ctx, r);
}

apr_status_t etag_write_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    if (APR_BRIGADE_EMPTY(bb))
        return ap_pass_brigade(f->next, bb);
    write_passed(f->ctx, f->r); /* an internal redirect may have left the request elsewhere */
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}
