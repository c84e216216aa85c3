/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETAG_IN stands before mod_expires, mod_deflate, mod_brotli, mod_headers and mod_cache, and after every
 * filter that changes content: it sees the identity bytes of what will be sent.
 *
 *   START   the first brigade decides
 *   HOLD    the body is kept back while it is hashed, until its end or a bound
 *   STREAM  the body passes while it is hashed (or only watched): the tag serves the next request
 *   PASS    nothing more to do
 *   DROP    a 304 or 412 went out in the body's place; the rest is swallowed
 */
#include "mod_etag/in.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <http_connection.h>

#include "etagd/lib/httpdate.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/learn.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"

#define PASS_ON 65536 /* bytes collected in STREAM before they are passed on */

enum in_state { IN_START, IN_HOLD, IN_STREAM, IN_PASS, IN_DROP };

struct in_context {
    struct etag_request *req;
    enum in_state state;
    apr_bucket_brigade *held; /* HOLD: what is kept back; STREAM: what is about to be passed */
    apr_off_t held_bytes;
    apr_time_t begun;
    struct digest *digest; /* the body's own: other requests' filters may run on this thread between calls */
};

static apr_status_t free_digest(void *digest)
{
    digest_free(digest);
    return APR_SUCCESS;
}

static bool acts(const struct in_context *in)
{
    return in->req->dir->engine == ETAG_ENGINE_ON;
}

static bool learnable(const struct in_context *in)
{
    return acts(in) && in->req->dir->early && in->req->keyed && in->req->snapshot.generation != 0;
}

/* --- headers of the response --- */

static void unset_etag(request_rec *r)
{
    apr_table_unset(r->headers_out, "ETag");
    apr_table_unset(r->err_headers_out, "ETag");
}

static void set_etag(struct etag_request *ctx, request_rec *r)
{
    unset_etag(r);
    apr_table_setn(r->headers_out, "ETag", tag_text(ctx, r));
    /* Core and mod_include leave this note to have any ETag dropped by the last filter. */
    apr_table_unset(r->notes, "no-etag");
}

static int64_t last_modified(request_rec *r)
{
    int64_t t;
    const char *text = request_response_header(r, "Last-Modified");
    return text && httpdate_parse(span_str(text), apr_time_sec(r->request_time), &t) ? t : ENTRY_UNDATED;
}

/* Kinds of content whose first byte must not wait, whatever their length. */
static bool streams_by_type(const request_rec *r)
{
    static const char *const types[] = {"text/event-stream",    "multipart/x-mixed-replace", "application/grpc",
                                        "application/x-ndjson", "application/ndjson",        "video/",
                                        "audio/"};
    for (size_t i = 0; r->content_type && i < sizeof types / sizeof *types; i++)
        if (strncasecmp(r->content_type, types[i], strlen(types[i])) == 0)
            return true;
    return false;
}

/* --- 304 or 412 in place of the body --- */

static apr_status_t replace(ap_filter_t *f, struct in_context *in, apr_bucket *instead)
{
    apr_bucket_brigade *bb = apr_brigade_create(f->r->pool, f->c->bucket_alloc);

    in->state = IN_DROP;
    if (instead)
        APR_BRIGADE_INSERT_TAIL(bb, instead);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return ap_pass_brigade(f->next, bb);
}

/* Nothing of the 200 was sent yet and its tag is as known as it will be: answers 304 or 412 instead
 * when the preconditions say so. True when it did; *status is then the filter's result. */
static bool precluded(ap_filter_t *f, struct in_context *in, int64_t modified, apr_status_t *status)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    /* A handler that saw the dates has judged them by its own Last-Modified. */
    enum precondition_result result = tag_evaluate(ctx, r, modified, ctx->file || ctx->hidden);

    if (!acts(in) || result == PRECONDITION_PROCEED)
        return false;
    if (result == PRECONDITION_NOT_MODIFIED) {
        etag_verdict(r, "304", "late");
        r->status = HTTP_NOT_MODIFIED;
        r->status_line = NULL;
        *status = replace(f, in, NULL);
    } else {
        etag_verdict(r, "412", "late");
        unset_etag(r);
        *status = replace(f, in, ap_bucket_error_create(HTTP_PRECONDITION_FAILED, NULL, r->pool, f->c->bucket_alloc));
    }
    return true;
}

/* --- START --- */

/* The descriptor, when the brigade is one file from its first byte to its last, then EOS: a large file
 * may come as several buckets in order. */
static bool whole_file(apr_bucket_brigade *bb, apr_os_file_t *fd, apr_off_t *size)
{
    apr_file_t *file = NULL;
    apr_off_t end = 0;
    apr_bucket *b = APR_BRIGADE_FIRST(bb);

    for (; b != APR_BRIGADE_SENTINEL(bb) && APR_BUCKET_IS_FILE(b); b = APR_BUCKET_NEXT(b)) {
        struct apr_bucket_file *data = b->data;
        if ((file && data->fd != file) || b->start != end || b->length == (apr_size_t)-1)
            return false;
        file = data->fd;
        end += (apr_off_t)b->length;
    }
    if (!file || b == APR_BRIGADE_SENTINEL(bb) || !APR_BUCKET_IS_EOS(b))
        return false;
    *size = end;
    return apr_os_file_get(fd, file) == APR_SUCCESS;
}

static apr_status_t pass_file(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, int fd, apr_off_t size)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    uint8_t digest[DIGEST_SIZE];
    int64_t mtime = ENTRY_UNDATED;
    apr_status_t status;

    if (!ctx->hold)
        ctx->hold = node_hold(r->pool, &ctx->budget_ns);
    ctx->tag.known = false;
    enum file_digest_result result = file_digest_get(ctx, r, fd, size, digest, &mtime);
    if (result == FILE_DIGEST_KNOWN)
        tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)digest, sizeof digest), false);
    if (acts(in)) {
        if (ctx->tag.known)
            set_etag(ctx, r);
        else
            unset_etag(r); /* core's own differs from node to node */
    }
    etag_verdict(r, ctx->tag.known ? "tagged" : "untagged",
                 ctx->tag.known ? "file" : result == FILE_DIGEST_UNKNOWN ? "file being hashed" : "file not hashed");
    if (precluded(f, in, mtime, &status)) {
        apr_brigade_cleanup(bb);
        return status;
    }
    return ap_pass_brigade(f->next, bb);
}

/* The tag is known from the headers alone (upstream, version): nothing is held back. Learned once the
 * body turns out complete. */
static bool tagged_by_headers(ap_filter_t *f, struct in_context *in, apr_status_t *status)
{
    request_rec *r = f->r;

    etag_verdict(r, "tagged", in->req->tag.kind == ENTRY_UPSTREAM ? "upstream" : "version");
    if (!acts(in))
        return false;
    set_etag(in->req, r);
    if (learnable(in) && !r->header_only) {
        learn_capsule(in->req, r);
        in->req->learn = true;
        in->state = IN_STREAM;
    }
    return precluded(f, in, last_modified(r), status);
}

static bool from_upstream(struct in_context *in, request_rec *r)
{
    const char *text = request_response_header(r, "ETag");
    return text && !in->req->file && tag_from_upstream(in->req, r, text);
}

static bool from_version(struct in_context *in, request_rec *r)
{
    const char *name = in->req->dir->version_header;
    const char *text = name ? request_response_header(r, name) : NULL;

    if (!text || !*text)
        return false;
    text = apr_pstrdup(r->pool, text);
    if (acts(in)) {
        apr_table_unset(r->headers_out, name);
        apr_table_unset(r->err_headers_out, name);
    }
    return tag_from_content(in->req, r, ENTRY_VERSION, span_str(text), true);
}

/* Where the digest is the source: keep the body back, hash it in passing, or let it go. */
static enum in_state digest_state(struct in_context *in, request_rec *r)
{
    const char *length = request_response_header(r, "Content-Length");

    if (r->header_only || !acts(in))
        return IN_PASS;
    if (streams_by_type(r)) {
        etag_verdict(r, "untagged", "stream");
        return IN_PASS;
    }
    in->digest = digest_new();
    if (!in->digest || !digest_begin(in->digest))
        return IN_PASS;
    apr_pool_cleanup_register(r->pool, in->digest, free_digest, apr_pool_cleanup_null);
    if (length && apr_atoi64(length) > in->req->dir->buffer_limit) {
        etag_verdict(r, "untagged", "longer than ETagBufferLimit");
        return learnable(in) ? IN_STREAM : IN_PASS;
    }
    in->begun = apr_time_now();
    return IN_HOLD;
}

/* Decides; true when the response was already dealt with. */
static bool start(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, apr_status_t *status)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    apr_os_file_t fd;
    apr_off_t size;

    if (ctx->hidden)
        request_restore_conditionals(r, &ctx->saved);
    in->state = IN_PASS;
    if (ap_is_HTTP_ERROR(r->status) && r->prev && acts(in))
        unset_etag(r); /* the ETag of an ErrorDocument's file is not the error's */
    if (r->status != HTTP_OK || apr_table_get(r->headers_out, "Content-Range") ||
        apr_table_get(r->subprocess_env, "no-etag"))
        return false;
    if (whole_file(bb, &fd, &size)) {
        *status = pass_file(f, in, bb, fd, size);
        return true;
    }
    if (ctx->file && acts(in))
        unset_etag(r); /* core's: a filter has changed the file's bytes */
    ctx->coded_in = request_response_header(r, "Content-Encoding");
    for (size_t i = 0; i < ETAG_SOURCES && ctx->dir->source[i]; i++) {
        switch (ctx->dir->source[i]) {
        case ETAG_SOURCE_UPSTREAM:
            if (from_upstream(in, r))
                return tagged_by_headers(f, in, status);
            break;
        case ETAG_SOURCE_VERSION:
            if (from_version(in, r))
                return tagged_by_headers(f, in, status);
            break;
        case ETAG_SOURCE_DIGEST:
            in->state = digest_state(in, r);
            return false;
        default:
            break;
        }
    }
    return false;
}

/* --- HOLD --- */

static bool overdue(const struct in_context *in)
{
    return apr_time_now() - in->begun >= in->req->dir->buffer_time;
}

/* Lets go of what was kept back: this response gets no tag of ours. */
static apr_status_t release(ap_filter_t *f, struct in_context *in, const char *why)
{
    etag_verdict(f->r, "untagged", why);
    in->state = learnable(in) ? IN_STREAM : IN_PASS;
    return ap_pass_brigade(f->next, in->held);
}

/* Reads a bucket and hashes it. APR_EAGAIN: it would block (only with APR_NONBLOCK_READ). */
static apr_status_t take(struct in_context *in, apr_bucket *b, apr_read_type_e how)
{
    const char *data;
    apr_size_t n;
    apr_status_t rv = apr_bucket_read(b, &data, &n, how);

    if (rv != APR_SUCCESS)
        return rv;
    in->held_bytes += (apr_off_t)n;
    return !in->digest || digest_update(in->digest, data, n) ? APR_SUCCESS : APR_EGENERAL;
}

/* The whole body lies in in->held and EOS has come. */
static apr_status_t finish_held(ap_filter_t *f, struct in_context *in, apr_bucket *eos)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    uint8_t content[DIGEST_SIZE];
    apr_status_t status;

    in->state = IN_PASS;
    APR_BUCKET_REMOVE(eos);
    if (digest_final(in->digest, content) &&
        tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)content, sizeof content), false)) {
        etag_verdict(r, "tagged", "digest");
        set_etag(ctx, r);
        ap_set_accept_ranges(r);
        ctx->complete = true;
        ctx->learn = learnable(in);
        if (ctx->learn)
            learn_capsule(ctx, r);
        if (precluded(f, in, last_modified(r), &status)) {
            apr_brigade_cleanup(in->held);
            apr_bucket_destroy(eos);
            return status;
        }
    }
    APR_BRIGADE_INSERT_TAIL(in->held, eos);
    return ap_pass_brigade(f->next, in->held);
}

/* True while the body is still held; false when the state changed and *status says how it went. */
static bool hold(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, apr_status_t *status)
{
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);

        if (APR_BUCKET_IS_EOS(b)) {
            *status = finish_held(f, in, b);
            return false;
        }
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b)) {
            /* Half a body: its digest would be a lie. */
            etag_verdict(f->r, "untagged", "incomplete");
            in->state = IN_PASS;
            *status = ap_pass_brigade(f->next, in->held);
            return false;
        }
        if (APR_BUCKET_IS_FLUSH(b)) {
            /* Proxies flush whenever a read would block; that alone does not mean streaming. */
            apr_bucket_delete(b);
            if (overdue(in)) {
                APR_BRIGADE_INSERT_TAIL(in->held, apr_bucket_flush_create(f->c->bucket_alloc));
                *status = release(f, in, "longer than ETagBufferTime");
                return false;
            }
            continue;
        }
        if (!APR_BUCKET_IS_METADATA(b)) {
            apr_status_t rv = take(in, b, APR_NONBLOCK_READ);
            if (APR_STATUS_IS_EAGAIN(rv)) {
                if (overdue(in)) {
                    APR_BRIGADE_INSERT_TAIL(in->held, apr_bucket_flush_create(f->c->bucket_alloc));
                    *status = release(f, in, "longer than ETagBufferTime");
                    return false;
                }
                rv = take(in, b, APR_BLOCK_READ);
            }
            if (rv != APR_SUCCESS) {
                in->state = IN_PASS;
                *status = rv;
                return false;
            }
        }
        apr_bucket_setaside(b, f->r->pool);
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(in->held, b);
        if (in->held_bytes > in->req->dir->buffer_limit) {
            *status = release(f, in, "longer than ETagBufferLimit");
            return false;
        }
    }
    return true;
}

/* --- STREAM --- */

static void finish_stream(struct in_context *in, request_rec *r)
{
    struct etag_request *ctx = in->req;
    uint8_t content[DIGEST_SIZE];

    if (in->digest) {
        ctx->learn = digest_final(in->digest, content) &&
                     tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)content, sizeof content), false);
        ctx->streamed = true;
    }
    ctx->complete = true;
}

/* Passes bb on in pieces; what is read to be hashed is never collected beyond PASS_ON. */
static apr_status_t stream(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb)
{
    apr_status_t rv = APR_SUCCESS;

    in->held_bytes = 0;
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);

        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b)) {
            in->req->learn = false;
            in->state = IN_PASS;
            break;
        }
        if (APR_BUCKET_IS_EOS(b)) {
            finish_stream(in, f->r);
            in->state = IN_PASS;
            break;
        }
        if (!APR_BUCKET_IS_METADATA(b) && in->digest) {
            rv = take(in, b, APR_NONBLOCK_READ);
            if (APR_STATUS_IS_EAGAIN(rv)) {
                APR_BRIGADE_INSERT_TAIL(in->held, apr_bucket_flush_create(f->c->bucket_alloc));
                rv = ap_pass_brigade(f->next, in->held);
                if (rv == APR_SUCCESS)
                    rv = take(in, b, APR_BLOCK_READ);
            }
            if (rv != APR_SUCCESS) {
                in->req->learn = false;
                in->state = IN_PASS;
                return rv;
            }
        }
        APR_BUCKET_REMOVE(b);
        APR_BRIGADE_INSERT_TAIL(in->held, b);
        if (in->held_bytes > PASS_ON) {
            in->held_bytes = 0;
            if ((rv = ap_pass_brigade(f->next, in->held)) != APR_SUCCESS)
                return rv;
        }
    }
    APR_BRIGADE_CONCAT(in->held, bb);
    return ap_pass_brigade(f->next, in->held);
}

/* --- DROP --- */

/* A 304 went out while the handler goes on producing the 200. When that ends complete, its tag is
 * still worth learning. */
static apr_status_t drop(struct in_context *in, request_rec *r, apr_bucket_brigade *bb)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b))
            in->req->learn = false;
        if (APR_BUCKET_IS_EOS(b) && in->req->learn && !in->req->complete) {
            in->req->complete = true;
            learn_publish(in->req, r);
        }
    }
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}

apr_status_t etag_in_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    struct in_context *in = f->ctx;
    apr_status_t status;

    if (!in) {
        struct etag_request *ctx = etag_request(f->r);
        if (!ctx || APR_BRIGADE_EMPTY(bb))
            return ap_pass_brigade(f->next, bb);
        in = f->ctx = apr_pcalloc(f->r->pool, sizeof *in);
        in->req = ctx;
        in->held = apr_brigade_create(f->r->pool, f->c->bucket_alloc);
        if (start(f, in, bb, &status))
            return in->state == IN_DROP && status == APR_SUCCESS ? drop(in, f->r, bb) : status;
    }
    if (in->state == IN_HOLD) {
        if (hold(f, in, bb, &status))
            return APR_SUCCESS;
        if (status != APR_SUCCESS || APR_BRIGADE_EMPTY(bb))
            return status;
    }
    switch (in->state) {
    case IN_STREAM:
        return stream(f, in, bb);
    case IN_DROP:
        return drop(in, f->r, bb);
    default:
        return ap_pass_brigade(f->next, bb);
    }
}
