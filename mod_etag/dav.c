/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/dav.h"

#include <apr_strings.h>
#include <apr_uri.h>
#include <http_protocol.h>
#include <http_request.h>

#include "mod_etag/file_digest.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"

/* The file that a list is about, as GET would tag it and as mod_dav does. */
struct current {
    const char *url; /* path, as the client sent it */
    struct etag_request *ctx; /* apart from the request's own; NULL: GET's tag cannot be told */
    bool absent; /* there is nothing at url: no tag is current */
    const char *dav; /* what mod_dav compares with, "" when FileETag is None; NULL: not looked at yet */
};

/* --- the current tags --- */

static const char *dav_tag(request_rec *r, request_rec *get)
{
    etag_rec rec = {.request_time = r->request_time, .finfo = &get->finfo, .pathname = get->filename};

    return ap_make_etag_ex(get, &rec);
}

static bool digest_file(struct etag_request *ctx, request_rec *r, uint8_t digest[DIGEST_SIZE])
{
    apr_file_t *file;
    apr_os_file_t fd;
    int64_t mtime;
    bool known;

    if (apr_file_open(&file, r->filename, APR_READ, APR_OS_DEFAULT, r->pool) != APR_SUCCESS)
        return false;
    known = apr_os_file_get(&fd, file) == APR_SUCCESS &&
            file_digest_get(ctx, r, fd, r->finfo.size, digest, &mtime) == FILE_DIGEST_KNOWN;
    apr_file_close(file);
    return known;
}

static bool tag_file(struct etag_request *ctx, request_rec *get)
{
    uint8_t digest[DIGEST_SIZE];

    return digest_file(ctx, get, digest) &&
           tag_from_content(ctx, get, ENTRY_DIGEST, span_of((const char *)digest, sizeof digest), false);
}

static void find_current(struct current *current, request_rec *r)
{
    /* Type and language are those of a GET; one that a handler answers has another body, and another tag. The
     * subrequest stays until r ends: the tag's text lives in its pool. */
    request_rec *get = ap_sub_req_method_uri("GET", current->url, r, NULL);
    struct etag_request *ctx = apr_pcalloc(r->pool, sizeof *ctx);

    current->dav = "";
    current->absent = get->status == HTTP_OK && get->finfo.filetype == APR_NOFILE;
    if (get->status != HTTP_OK || !request_is_file(get))
        return;
    /* A signature is over the URL: the subrequest has the host, but not the port. */
    get->parsed_uri.port = request_first(r)->parsed_uri.port;
    get->parsed_uri.port_str = request_first(r)->parsed_uri.port_str;
    ctx->dir = etag_dir_of(get);
    ctx->budget_ns = (int64_t)etag_server_of(r->server)->timeout * 1000;
    ctx->hold = node_hold_files(r->pool);
    ctx->coded_in = get->content_encoding;
    current->dav = dav_tag(r, get);
    if (tag_file(ctx, get))
        current->ctx = ctx;
}

/* --- the field --- */

static bool is_ours(struct span text)
{
    struct entity_tag tag, base;
    enum coding coding;

    return entity_tag_parse(text, &tag) && coding_split(&tag, &base, &coding);
}

/* Of a tagged list's URL mod_dav looks at the path alone. NULL: not a URL. */
static const char *path_of(request_rec *r, struct span text)
{
    apr_uri_t uri;

    return apr_uri_parse(r->pool, apr_pstrmemdup(r->pool, text.p, text.n), &uri) == APR_SUCCESS ? uri.path : NULL;
}

/* What to show mod_dav for a tag of ours that the client named. False: it would find *shown not current, and we do
 * not know that it is not. */
static bool translate(struct current *current, request_rec *r, struct span named, struct span *shown)
{
    *shown = named;
    if (!current->dav && current->url)
        find_current(current, r);
    if (!current->ctx)
        return current->absent;
    current->ctx->saved = (struct etag_conditionals){.if_match = apr_pstrmemdup(r->pool, named.p, named.n)};
    if (!tag_permits_write(current->ctx, r, true))
        return true;
    if (!*current->dav)
        return false;
    *shown = span_str(current->dav);
    return true;
}

/* Whether "Not" stands before the tag that opens at p. */
static bool negated(const char *field, const char *p)
{
    while (p > field && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    return p - field >= 3 && strncasecmp(p - 3, "Not", 3) == 0;
}

/* Copies the field, its entity-tags translated. A field that does not close what it opens is left to mod_dav to
 * refuse. NULL: mod_dav would take a condition for true that may be false. */
static const char *rewrite(request_rec *r, const char *field)
{
    apr_array_header_t *pieces = apr_array_make(r->pool, 8, sizeof(const char *));
    struct span target = request_target(r).path;
    struct current current = {.url = apr_pstrmemdup(r->pool, target.p, target.n)};
    bool in_list = false;
    const char *from = field, *p = field + strcspn(field, "<[()");

    for (; *p; p += strcspn(p, "<[()")) {
        char opened = *p++;
        size_t n = opened == '<' ? strcspn(p, ">") : opened == '[' ? strcspn(p, "]") : 0;
        struct span inside = span_of(p, n);

        if (opened == '(' || opened == ')')
            in_list = opened == '(';
        else if (opened == '<' && !in_list)
            current = (struct current){.url = path_of(r, inside)};
        else if (opened == '[' && in_list && is_ours(inside)) {
            struct span shown;

            if (!translate(&current, r, inside, &shown) && negated(field, p - 1))
                return NULL;
            APR_ARRAY_PUSH(pieces, const char *) = apr_pstrmemdup(r->pool, from, (apr_size_t)(p - from));
            APR_ARRAY_PUSH(pieces, const char *) = apr_pstrmemdup(r->pool, shown.p, shown.n);
            from = p + n;
        }
        p += n;
    }
    APR_ARRAY_PUSH(pieces, const char *) = from;
    return apr_array_pstrcat(r->pool, pieces, 0);
}

int etag_dav_if(request_rec *r)
{
    const struct etag_request *ctx;
    const char *field, *shown;

    if (!r->handler || strcmp(r->handler, "dav-handler") != 0 || !(ctx = etag_request(r)) ||
        ctx->dir->engine != ETAG_ENGINE_ON || !(field = apr_table_get(r->headers_in, "If")))
        return DECLINED;
    shown = rewrite(r, field);
    if (!shown) {
        etag_verdict(r, "412", "write");
        return HTTP_PRECONDITION_FAILED;
    }
    apr_table_setn(r->headers_in, "If", shown);
    return DECLINED;
}
