/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/request.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_vhost.h>
#include <util_filter.h>

#include "mod_etag/cache.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/variant.h"

const request_rec *request_first(const request_rec *r)
{
    while (r->prev)
        r = r->prev;
    return r;
}

/* --- key --- */

struct request_target request_target(const request_rec *r)
{
    /* r->uri and r->parsed_uri.path are decoded in place; this is what the client sent. */
    const char *p = request_first(r)->unparsed_uri, *authority;

    if (!p)
        p = "";
    if (*p != '/' && (authority = strstr(p, "://")))
        p = authority + 3 + strcspn(authority + 3, "/?#");
    size_t n = strcspn(p, "?");
    return (struct request_target){
        /* RFC 9110 4.2.3: in the absolute form an empty path is "/". */
        .path = n ? span_of(p, n) : SPAN_LITERAL("/"),
        .query = span_str(p[n] ? p + n + 1 : NULL),
        .has_query = p[n] == '?',
    };
}

/* Whether the virtual host names this host; its port has its own rule. */
static bool names_host(request_rec *r, const char *host)
{
    return ap_matches_request_vhost(r, host, r->server->port) ||
           ap_matches_request_vhost(r, host, r->connection->local_addr->port);
}

/* A port that nobody configured would give everybody as many keys as there are ports. */
static bool names_port(const request_rec *r, unsigned port, unsigned scheme_default)
{
    return port == 0 || port == scheme_default || port == r->connection->local_addr->port || port == r->server->port;
}

static bool authority_of(request_rec *r, struct key_parts *parts)
{
    const struct etag_server *server = etag_server_of(r->server);
    const request_rec *first = request_first(r);
    const char *host = r->hostname, *scheme = ap_http_scheme(r);

    if (server->base_host) {
        parts->scheme = span_str(server->base_scheme);
        parts->host = span_str(server->base_host);
        parts->port = server->base_port;
        return true;
    }
    parts->scheme = span_str(scheme);
    parts->port = first->parsed_uri.port_str && *first->parsed_uri.port_str ? first->parsed_uri.port : 0;
    if (!host || !names_host(r, host) || !names_port(r, parts->port, strcmp(scheme, "https") == 0 ? 443 : 80))
        return false;
    /* httpd takes the brackets off an IPv6 address. */
    if (*host != '[' && strchr(host, ':'))
        host = apr_pstrcat(r->pool, "[", host, "]", NULL);
    parts->host = span_str(host);
    return true;
}

bool request_key(request_rec *r, const struct etag_dir *dir, struct key *out)
{
    const apr_array_header_t *ignore = dir->ignore_query.names;
    const struct request_target target = request_target(r);
    struct key_parts parts = {
        .path = target.path,
        .query = target.query,
        .has_query = target.has_query,
        .ignore = ignore ? (const struct span *)ignore->elts : NULL,
        .nignore = ignore ? (size_t)ignore->nelts : 0,
        /* What of the query counts where responses say so, the variant knows. */
        .ignore_all = dir->ignore_query.kind == ETAG_NAMES_ALL || dir->ignore_query.kind == ETAG_NAMES_LEARN,
    };

    out->n = 0;
    /* Handlers rewrite r->handler and r->filename: what they were before one ran selects the variant. */
    variant_select(r, dir);
    return authority_of(r, &parts) && key_build(out, &parts) == KEY_OK;
}

/* Whether r->uri, where the request ended, is the URL that was asked for, or the index of its directory. */
static bool ends_at(const request_rec *r, const char *asked)
{
    const size_t n = strlen(asked);

    return strncmp(r->uri, asked, n) == 0 && (!r->uri[n] || (asked[n - 1] == '/' && !strchr(r->uri + n, '/')));
}

/* Whether the file is where r->uri says, below the document root or an Alias. */
static bool at_its_place(request_rec *r)
{
    const char *prefix = ap_context_prefix(r), *root = ap_context_document_root(r);
    const size_t n = prefix ? strlen(prefix) : 0;

    if (!r->filename || !root || strncmp(r->uri, prefix ? prefix : "", n) != 0)
        return false;
    char *path = apr_pstrcat(r->pool, root, r->uri + n, NULL);
    ap_no2slash(path);
    return strcmp(path, r->filename) == 0;
}

bool request_file_key(request_rec *r, struct key *out)
{
    const struct span sent = request_target(r).path;
    char *path = apr_pstrmemdup(r->pool, sent.p, sent.n);
    struct key_parts parts = {.has_query = false};

    out->n = 0;
    if (ap_unescape_url(path) != OK)
        return false;
    ap_no2slash(path);
    if (*path != '/' || !ends_at(r, path) || !at_its_place(r))
        return false;
    parts.path = span_str(ap_os_escape_path(r->pool, path, 1));
    return authority_of(r, &parts) && key_build(out, &parts) == KEY_OK;
}

/* --- fields --- */

const char *request_lines(request_rec *r, const apr_table_t *fields, const char *name)
{
    /* Most are absent, which apr_table_getm takes long to find out. */
    return apr_table_get(fields, name) ? apr_table_getm(r->pool, fields, name) : NULL;
}

/* --- conditions --- */

bool request_is_query(const request_rec *r)
{
    return strcmp(r->method, "QUERY") == 0; /* httpd has no number for it */
}

bool request_is_unsafe(const request_rec *r)
{
    switch (r->method_number) {
    case M_GET:
    case M_OPTIONS:
    case M_TRACE:
    case M_CONNECT:
    case M_PROPFIND:
        return false;
    default:
        return !request_is_query(r) && strcmp(r->method, "REPORT") != 0 && strcmp(r->method, "SEARCH") != 0;
    }
}

bool request_has_content(request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

bool request_may_be_early(request_rec *r)
{
    const char *control = apr_table_get(r->headers_in, "Cache-Control");
    const char *pragma = apr_table_get(r->headers_in, "Pragma");

    if (r->method_number != M_GET || request_has_content(r))
        return false;
    return !(control && ap_find_token(r->pool, control, "no-cache")) &&
           !(pragma && ap_find_token(r->pool, pragma, "no-cache"));
}

void request_read_conditionals(request_rec *r, struct etag_conditionals *out)
{
    /* RequestHeader add leaves several lines; apr_table_get would see the first alone. */
    out->if_match = request_lines(r, r->headers_in, "If-Match");
    out->if_none_match = request_lines(r, r->headers_in, "If-None-Match");
    out->if_modified_since = request_lines(r, r->headers_in, "If-Modified-Since");
    out->if_unmodified_since = request_lines(r, r->headers_in, "If-Unmodified-Since");
}

void request_hide_conditionals(request_rec *r, struct etag_conditionals *saved)
{
    request_read_conditionals(r, saved);
    apr_table_unset(r->headers_in, "If-Match");
    apr_table_unset(r->headers_in, "If-None-Match");
    apr_table_unset(r->headers_in, "If-Modified-Since");
    apr_table_unset(r->headers_in, "If-Unmodified-Since");
    /* RFC 9110 14.2: a part is cut out after the conditions were judged. A handler that does not see them must
     * not do it before, or nobody could tell any more what the whole is and whether it is what the client has. */
    saved->range = request_lines(r, r->headers_in, "Range");
    apr_table_unset(r->headers_in, "Range");
}

static void put_back(request_rec *r, const char *name, const char *value)
{
    if (value)
        apr_table_setn(r->headers_in, name, value);
}

void request_restore_conditionals(request_rec *r, const struct etag_conditionals *saved)
{
    put_back(r, "If-Match", saved->if_match);
    put_back(r, "If-None-Match", saved->if_none_match);
    put_back(r, "If-Modified-Since", saved->if_modified_since);
    put_back(r, "If-Unmodified-Since", saved->if_unmodified_since);
}

void request_restore_range(request_rec *r, struct etag_conditionals *saved)
{
    put_back(r, "Range", saved->range);
    saved->range = NULL;
}

static struct precondition_field field(const char *value)
{
    return (struct precondition_field){.present = value != NULL, .value = span_str(value)};
}

static enum precondition_method method_of(const request_rec *r)
{
    static const char *const safe[] = {"PROPFIND", "REPORT", "SEARCH"};

    if (request_is_query(r))
        return PRECONDITION_QUERY;
    switch (r->method_number) {
    case M_GET:
        return PRECONDITION_GET;
    case M_OPTIONS:
    case M_TRACE:
    case M_CONNECT:
        return PRECONDITION_IGNORE;
    default:
        for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
            if (strcmp(r->method, safe[i]) == 0)
                return PRECONDITION_SAFE;
        return PRECONDITION_UNSAFE;
    }
}

void request_precondition(request_rec *r, const struct etag_conditionals *c, struct precondition_request *out)
{
    *out = (struct precondition_request){
        .method = method_of(r),
        .if_match = field(c->if_match),
        .if_none_match = field(c->if_none_match),
        .if_modified_since = field(c->if_modified_since),
        .if_unmodified_since = field(c->if_unmodified_since),
        .if_range = field(request_lines(r, r->headers_in, "If-Range")),
        .range = field(c->range ? c->range : request_lines(r, r->headers_in, "Range")),
        .accept_encoding = field(request_lines(r, r->headers_in, "Accept-Encoding")),
        .now = apr_time_sec(r->request_time),
    };
}

/* --- response --- */

enum coding request_coding_of_filter(const char *name)
{
    /* Asked of all filters of every request: most are told by their first letter. */
    const char first = span_lower(*name);

    if (first != 'b' && first != 'd')
        return CODING_IDENTITY;
    if (strncasecmp(name, "BYTYPE:", 7) == 0)
        name += 7;
    if (strcasecmp(name, "BROTLI_COMPRESS") == 0)
        return CODING_BR;
    return strcasecmp(name, "DEFLATE") == 0 ? CODING_GZIP : CODING_IDENTITY;
}

bool request_filters_known(const ap_filter_t *f)
{
    /* Of httpd's own modules; below PROTOCOL, where nobody changes content any more. */
    static const char *const known[] = {ETAG_FIN_NAME,       ETAG_WHOLE_NAME, "MOD_EXPIRES",     "FIXUP_HEADERS_OUT",
                                        "FIXUP_HEADERS_ERR", "BUFFER",        "MOD_SESSION_OUT", "CACHE_SAVE",
                                        "CACHE_SAVE_SUBREQ", "CACHE_OUT",     "SUBREQ_CORE"};

    for (; f && f->frec->ftype < AP_FTYPE_PROTOCOL; f = f->next) {
        size_t i = 0, n = sizeof known / sizeof *known;

        while (i < n && strcasecmp(f->frec->name, known[i]) != 0)
            i++;
        if (i == n && request_coding_of_filter(f->frec->name) == CODING_IDENTITY)
            return false;
    }
    return true;
}

void request_remove_filter(request_rec *r, const char *name)
{
    for (ap_filter_t *f = r->output_filters, *next; f; f = next) {
        next = f->next;
        if (strcasecmp(f->frec->name, name) == 0)
            ap_remove_output_filter(f);
    }
}

enum coding request_coding(request_rec *r)
{
    const char *accepted = NULL;

    /* The first filter that codes wins: it sets Content-Encoding, and the next one then steps aside. */
    for (const ap_filter_t *f = r->output_filters; f; f = f->next) {
        enum coding c = request_coding_of_filter(f->frec->name);
        if (c == CODING_IDENTITY)
            continue;
        if (!accepted && !(accepted = request_lines(r, r->headers_in, "Accept-Encoding")))
            return CODING_IDENTITY;
        if (coding_accepted(span_str(accepted), true, c))
            return c;
    }
    return CODING_IDENTITY;
}

const char *request_response_header(request_rec *r, const char *name)
{
    /* CGI leaves most of its headers in err_headers_out, proxies theirs in headers_out. */
    const char *out = request_lines(r, r->headers_out, name);
    const char *always = request_lines(r, r->err_headers_out, name);

    return out && always ? apr_pstrcat(r->pool, out, ", ", always, NULL) : out ? out : always;
}

bool request_streams(const request_rec *r)
{
    static const char *const types[] = {"text/event-stream",
                                        "multipart/x-mixed-replace",
                                        "application/grpc",
                                        "application/x-ndjson",
                                        "application/ndjson",
                                        "video/",
                                        "audio/"};
    for (size_t i = 0; r->content_type && i < sizeof types / sizeof *types; i++)
        if (strncasecmp(r->content_type, types[i], strlen(types[i])) == 0)
            return true;
    return false;
}

/* Content types that are handlers in disguise (AddType application/x-httpd-php). */
static bool type_is_handler(const char *type)
{
    return strstr(type, "x-httpd") || strstr(type, "x-server") || strstr(type, "x-type-map") ||
           strncmp(type, "httpd/", 6) == 0;
}

bool request_is_file(request_rec *r)
{
    const char *handler = r->handler;

    if (r->proxyreq || r->finfo.filetype != APR_REG || !r->filename || (r->path_info && *r->path_info))
        return false;
    if (!handler || AP_IS_DEFAULT_HANDLER_NAME(handler) || strcmp(handler, "default-handler") == 0)
        return true;
    /* Without SetHandler httpd names the handler after the content type, parameters cut off. */
    if (!r->content_type || type_is_handler(handler))
        return false;
    size_t n = strcspn(r->content_type, "; \t");
    return strlen(handler) == n && strncmp(handler, r->content_type, n) == 0;
}

bool request_redirects(const request_rec *r)
{
    return r->handler && (strcmp(r->handler, "redirect-handler") == 0 || strcmp(r->handler, "type-map") == 0 ||
                          strcmp(r->handler, "application/x-type-map") == 0);
}

bool request_opted_out(const request_rec *r)
{
    return apr_table_get(r->subprocess_env, "no-etag") != NULL;
}
