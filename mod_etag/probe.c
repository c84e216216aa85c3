/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/probe.h"

#include <apr_strings.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>

#include "mod_etag/body.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"

#define PROBE_KEY "etag-probe" /* of the subrequest's pool: a nested subrequest has another one */

struct probe {
    struct etag_request *ctx;
    struct digest *digest;
    bool begun, hashing, complete, broken;
};

static ap_filter_rec_t *probe_handle;

static struct probe *probe_of(request_rec *sub)
{
    void *found = NULL;
    return apr_pool_userdata_get(&found, PROBE_KEY, sub->pool) == APR_SUCCESS ? found : NULL;
}

static apr_status_t free_digest(void *digest)
{
    digest_free(digest);
    return APR_SUCCESS;
}

static bool begin_hashing(struct probe *p, request_rec *sub)
{
    p->digest = digest_new();
    if (!p->digest)
        return false;
    apr_pool_cleanup_register(sub->pool, p->digest, free_digest, apr_pool_cleanup_null);
    return digest_begin(p->digest);
}

/* The same order of sources as for a response (in.c). */
static void begin(struct probe *p, request_rec *sub, apr_bucket_brigade *bb)
{
    struct etag_request *ctx = p->ctx;
    uint8_t content[DIGEST_SIZE];
    apr_os_file_t fd;
    apr_off_t size;
    int64_t mtime;

    ctx->coded_in = sub->content_encoding ? sub->content_encoding : request_response_header(sub, "Content-Encoding");
    for (size_t i = 0; i < ETAG_SOURCES && ctx->dir->source[i]; i++) {
        if (tag_from_headers(ctx, sub, ctx->dir->source[i]))
            return;
        if (ctx->dir->source[i] != ETAG_SOURCE_DIGEST)
            continue;
        if (body_whole_file(bb, &fd, &size) &&
            file_digest_get(ctx, sub, fd, size, content, &mtime) == FILE_DIGEST_KNOWN) {
            tag_from_content(ctx, sub, ENTRY_DIGEST, span_of((const char *)content, sizeof content), false);
            return;
        }
        p->hashing = begin_hashing(p, sub);
        return;
    }
}

static void finish(struct probe *p, request_rec *sub)
{
    uint8_t content[DIGEST_SIZE];

    p->complete = true;
    if (p->hashing && digest_final(p->digest, content))
        tag_from_content(p->ctx, sub, ENTRY_DIGEST, span_of((const char *)content, sizeof content), false);
}

static apr_status_t probe_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    struct probe *p = f->ctx;
    request_rec *sub = f->r;
    const char *data;
    apr_size_t n;

    if (!p->begun && sub->status == HTTP_OK && !APR_BRIGADE_EMPTY(bb)) {
        p->begun = true;
        begin(p, sub, bb);
    }
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BRIGADE_FIRST(bb)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b))
            p->broken = true;
        else if (APR_BUCKET_IS_EOS(b))
            finish(p, sub);
        else if (!APR_BUCKET_IS_METADATA(b) && p->hashing &&
                 (apr_bucket_read(b, &data, &n, APR_BLOCK_READ) != APR_SUCCESS || !digest_update(p->digest, data, n)))
            p->broken = true;
        apr_bucket_delete(b);
    }
    return APR_SUCCESS;
}

void probe_register(void)
{
    probe_handle = ap_register_output_filter(ETAG_PROBE_NAME, probe_filter, NULL, AP_FTYPE_CONTENT_SET - 3);
}

void probe_insert(request_rec *sub)
{
    struct probe *p = probe_of(sub);
    if (p)
        ap_add_output_filter_handle(probe_handle, p, sub, sub->connection);
}

void probe_is_file(request_rec *sub)
{
    struct probe *p = probe_of(sub);
    if (p)
        p->ctx->file = true;
}

/* A plain GET: what it would answer without the write's conditions, ranges and content. */
static void make_plain(request_rec *sub)
{
    static const char *const dropped[] = {
        "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
        "Range",    "Expect",        "Content-Length",    "Transfer-Encoding",   "Content-Type"};

    sub->headers_in = apr_table_copy(sub->pool, sub->headers_in);
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        apr_table_unset(sub->headers_in, dropped[i]);
}

enum probe_result probe_current(struct etag_request *ctx, request_rec *r, int *status)
{
    request_rec *sub = ap_sub_req_method_uri("GET", r->unparsed_uri, r, NULL);
    struct probe *p = apr_pcalloc(sub->pool, sizeof *p);

    p->ctx = ctx;
    ctx->tag.known = false;
    ctx->keyed = request_key(r, ctx->dir, &ctx->key);
    if (!ctx->hold)
        ctx->hold = node_hold_files(r->pool);
    *status = sub->status;
    if (sub->status == HTTP_OK) {
        apr_pool_userdata_setn(p, PROBE_KEY, NULL, sub->pool);
        make_plain(sub);
        int rv = ap_run_sub_req(sub);
        *status = ap_is_HTTP_ERROR(rv) ? rv : sub->status;
    }
    /* The subrequest's pool stays: the tag's text lives there, and r->pool ends both. */
    if (*status == HTTP_NOT_FOUND || *status == HTTP_GONE)
        return PROBE_ABSENT;
    return *status == HTTP_OK && p->complete && !p->broken && ctx->tag.known ? PROBE_TAGGED : PROBE_UNKNOWN;
}
