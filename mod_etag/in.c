/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETAG_IN stands before mod_expires, mod_deflate, mod_brotli, mod_headers and mod_cache, and after every
 * filter that changes content: it sees the identity bytes of what will be sent. Here the first brigade
 * is judged; body.c carries the rest.
 */
#include "mod_etag/in.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "mod_etag/body.h"
#include "mod_etag/coders.h"
#include "mod_etag/detect.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/generation.h"
#include "mod_etag/learn.h"
#include "mod_etag/modified.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"
#include "mod_etag/version.h"

/* ETagEngine On: the response may be changed. */
static bool in_acts(const struct in_context *in)
{
    return !in->req->detection;
}

/* Whether what this response teaches may be published, decided before other filters add their headers:
 * those run again on a replayed 304. */
static void begin_learning(struct in_context *in, request_rec *r)
{
    struct etag_request *ctx = in->req;

    ctx->learn = ctx->dir->early && ctx->keyed && ctx->snapshot.generation != 0 && !r->header_only && !ctx->content &&
                 learn_capsule(ctx, r);
}

/* --- headers of the response --- */

static void unset_etag(request_rec *r)
{
    apr_table_unset(r->headers_out, "ETag");
    apr_table_unset(r->err_headers_out, "ETag");
}

static void set_etag(struct etag_request *ctx, request_rec *r)
{
    ctx->own_tag = request_response_header(r, "ETag") != NULL;
    unset_etag(r);
    apr_table_setn(r->headers_out, "ETag", tag_text(ctx, r));
    /* Core and mod_include leave this note to have any ETag dropped by the last filter. */
    apr_table_unset(r->notes, "no-etag");
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
 * when the preconditions say so. True when it did; *status is then the filter's result. An If-Match that
 * cannot be judged, for want of a tag, gets the whole 200 and never a part: a 412 could be wrong. */
static bool precluded(ap_filter_t *f, struct in_context *in, struct precondition_date modified, apr_status_t *status)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    enum precondition_result result = tag_evaluate(ctx, r, modified);

    if (!ctx->tag.known && ctx->saved.if_match)
        return false;
    if (!in_acts(in)) {
        detect_would(ctx, r, result, "late");
        return false;
    }
    if (result == PRECONDITION_PROCEED) {
        if (ctx->part)
            request_restore_range(r, &ctx->saved);
        return false;
    }
    if (result == PRECONDITION_NOT_MODIFIED) {
        etag_verdict(r, "304", "late");
        r->status = HTTP_NOT_MODIFIED;
        r->status_line = NULL;
        *status = replace(f, in, NULL);
    } else {
        etag_verdict(r, "412", "late");
        unset_etag(r);
        /* A script's headers speak of the 200: a 412 with its Cache-Control could be stored and sent to others.
         * HTTP/1.1 drops them on an error bucket, mod_http2 does not. */
        apr_table_clear(r->err_headers_out);
        *status = replace(f, in, ap_bucket_error_create(HTTP_PRECONDITION_FAILED, NULL, r->pool, f->c->bucket_alloc));
        /* The error has been sent. To the handler, whose response was dropped, it is none: mod_proxy_fcgi would
         * log one and give its connection up. */
        if (*status == AP_FILTER_ERROR)
            *status = APR_SUCCESS;
    }
    return true;
}

bool in_tagged(ap_filter_t *f, struct in_context *in, const uint8_t content[DIGEST_SIZE], apr_status_t *status)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;

    if (!tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)content, DIGEST_SIZE), false))
        return false;
    etag_verdict(r, "tagged", "digest");
    set_etag(ctx, r);
    ap_set_accept_ranges(r);
    ctx->complete = true;
    return precluded(f, in, modified_of_response(ctx, r), status);
}

/* --- START --- */

static apr_status_t pass_file(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, int fd, apr_off_t size)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    uint8_t digest[DIGEST_SIZE];
    int64_t mtime = ENTRY_UNDATED;
    apr_status_t status;

    if (ctx->detection) {
        detect_file(ctx, r, fd, size);
        return ap_pass_brigade(f->next, bb);
    }
    if (!ctx->hold)
        ctx->hold = node_hold(r->pool, &ctx->budget_ns);
    ctx->tag.known = false;
    enum file_digest_result result = file_digest_get(ctx, r, fd, size, digest, &mtime);
    if (result == FILE_DIGEST_KNOWN)
        tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)digest, sizeof digest), false);
    if (ctx->file)
        modified_of_file(ctx, r, result == FILE_DIGEST_KNOWN ? digest : NULL, mtime);
    if (ctx->file)
        modified_set_header(ctx, r);
    if (ctx->tag.known)
        set_etag(ctx, r);
    else
        unset_etag(r); /* core's own differs from node to node */
    etag_verdict(r, ctx->tag.known ? "tagged" : "untagged",
                 ctx->tag.known                  ? "file"
                 : result == FILE_DIGEST_UNKNOWN ? "file being hashed"
                                                 : "file not hashed");
    if (precluded(f, in, modified_of_response(ctx, r), &status)) {
        apr_brigade_cleanup(bb);
        return status;
    }
    return ap_pass_brigade(f->next, bb);
}

static const char *source_of(const struct etag_request *ctx)
{
    switch (ctx->tag.kind) {
    case ENTRY_UPSTREAM:
        return "upstream";
    case ENTRY_GENERATION:
        return "generation";
    default:
        return "version";
    }
}

/* The tag is known from the headers alone (upstream, version, generation): nothing is held back. Learned once the
 * body turns out complete. */
static bool tagged_by_headers(ap_filter_t *f, struct in_context *in, apr_status_t *status)
{
    request_rec *r = f->r;

    if (!in_acts(in)) {
        detect_begin(in->req, r, source_of(in->req), NULL);
        in->state = IN_DETECT;
        return false;
    }
    etag_verdict(r, "tagged", source_of(in->req));
    set_etag(in->req, r);
    if (in->req->learn)
        in->state = IN_WATCH;
    return precluded(f, in, modified_of_response(in->req, r), status);
}

/* An application names its version for us, not for the client. */
static void strip_version(const struct etag_dir *dir, request_rec *r)
{
    if (dir->version_header && !dir->version_expr) {
        apr_table_unset(r->headers_out, dir->version_header);
        apr_table_unset(r->err_headers_out, dir->version_header);
    }
}

/* Where the digest is the source: the body is kept back, or let go. */
static enum in_state digest_state(struct in_context *in, request_rec *r)
{
    const char *length = request_response_header(r, "Content-Length");

    if (r->header_only) {
        if (in_acts(in))
            unset_etag(r); /* GET would carry another */
        return IN_PASS;
    }
    if (request_streams(r)) {
        etag_verdict(r, "untagged", "stream");
        return IN_PASS;
    }
    if (length && apr_atoi64(length) > in->req->dir->buffer_limit) {
        etag_verdict(r, "untagged", "longer than ETagBufferLimit");
        return IN_PASS;
    }
    in->digest = body_digest(r->pool);
    if (!in->digest)
        return IN_PASS;
    if (!in_acts(in)) {
        detect_begin(in->req, r, "digest", in->digest);
        return IN_DETECT;
    }
    in->begun = apr_time_now();
    return IN_HOLD;
}

/* What core says of the file is not true of the bytes that a filter has made of it. */
static void changed_file(struct in_context *in, request_rec *r)
{
    modified_of_changed_file(in->req, r);
    if (in_acts(in)) {
        unset_etag(r);
        modified_set_header(in->req, r);
    }
}

/* Decides; true when the response was already dealt with. */
static bool start(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, apr_status_t *status)
{
    struct etag_request *ctx = in->req;
    request_rec *r = f->r;
    apr_os_file_t fd;
    apr_off_t size;

    if (ctx->hidden) {
        request_restore_conditionals(r, &ctx->saved);
        ctx->hidden = false; /* who redirects from here on (mod_cache, ErrorDocument) has its reasons */
    }
    in->state = IN_PASS;
    if (ap_is_HTTP_ERROR(r->status) && r->prev && in_acts(in))
        unset_etag(r); /* the ETag of an ErrorDocument's file is not the error's */
    if (r->status != HTTP_OK || apr_table_get(r->headers_out, "Content-Range") ||
        apr_table_get(r->subprocess_env, "no-etag"))
        return false;
    ctx->coded_in = r->content_encoding ? r->content_encoding : request_response_header(r, "Content-Encoding");
    if (!request_filters_known(f->next)) {
        etag_verdict(r, "untagged", "unknown filter");
        if (ctx->file)
            changed_file(in, r);
        return false;
    }
    bool whole = body_whole_file(bb, &fd, &size);
    if (ctx->file && whole) {
        *status = pass_file(f, in, bb, fd, size);
        return true;
    }
    if (ctx->file)
        changed_file(in, r);
    begin_learning(in, r);
    for (size_t i = 0; i < ETAG_SOURCES && ctx->dir->source[i]; i++) {
        if (tag_from_headers(ctx, r, ctx->dir->source[i])) {
            if (ctx->tag.kind == ENTRY_VERSION && in_acts(in))
                strip_version(ctx->dir, r);
            return tagged_by_headers(f, in, status);
        }
        if (ctx->dir->source[i] == ETAG_SOURCE_VERSION && ctx->dir->version_expr) {
            if (version_tag(ctx, r))
                return tagged_by_headers(f, in, status);
            etag_verdict(r, "untagged", "version");
        }
        if (ctx->dir->source[i] == ETAG_SOURCE_GENERATION && in_acts(in)) {
            if (generation_tag(ctx, r))
                return tagged_by_headers(f, in, status);
            etag_verdict(r, "untagged", "generation");
        }
        if (ctx->dir->source[i] != ETAG_SOURCE_DIGEST)
            continue;
        if (whole) { /* a handler that sends a file of its choice */
            *status = pass_file(f, in, bb, fd, size);
            return true;
        }
        in->state = digest_state(in, r);
        return false;
    }
    return false;
}

/* A QUERY's result is a representation of its own (RFC 10008): compared with the tag that it carries, or with
 * none. Nothing else of it is ours. */
static bool start_query(ap_filter_t *f, struct in_context *in, apr_status_t *status)
{
    struct etag_request *ctx = in->req;

    in->state = IN_PASS;
    request_read_conditionals(f->r, &ctx->saved);
    return f->r->status == HTTP_OK && tag_from_headers(ctx, f->r, ETAG_SOURCE_UPSTREAM) &&
           precluded(f, in, (struct precondition_date){.is = PRECONDITION_UNDATED}, status);
}

static bool codes_whatever(const ap_filter_t *f)
{
    for (; f; f = f->next)
        if (request_coding_of_filter(f->frec->name) != CODING_IDENTITY && strncasecmp(f->frec->name, "BYTYPE:", 7) != 0)
            return true;
    return false;
}

apr_status_t etag_in_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    struct in_context *in = f->ctx;
    apr_status_t status;

    if (!in) {
        struct etag_request *ctx = etag_request(f->r);
        if (!ctx || APR_BRIGADE_EMPTY(bb))
            return ap_pass_brigade(f->next, bb);
        if (ctx->core_waits)
            f->r->no_local_copy = 0; /* mod_cache goes by it */
        in = f->ctx = apr_pcalloc(f->r->pool, sizeof *in);
        in->req = ctx;
        in->held = apr_brigade_create(f->r->pool, f->c->bucket_alloc);
        /* Now: they leave the chain when they meet a 304. */
        ctx->coder = coders_find(f->next);
        ctx->coded = codes_whatever(f->next);
        ctx->coding = request_coding(f->r);
        if (f->r->method_number == M_GET ? start(f, in, bb, &status) : start_query(f, in, &status))
            return in->state == IN_DROP && status == APR_SUCCESS ? body_drop(in, f->r, bb) : status;
        if (in->state == IN_PASS && !ctx->saved.if_match && !ctx->saved.if_unmodified_since)
            request_restore_range(f->r, &ctx->saved);
    }
    if (in->state == IN_HOLD) {
        if (body_hold(f, in, bb, &status))
            return APR_SUCCESS;
        if (status != APR_SUCCESS || APR_BRIGADE_EMPTY(bb))
            return status;
    }
    switch (in->state) {
    case IN_DETECT:
        return detect_pass(f, in->req->detection, bb);
    case IN_WATCH:
        return body_watch(f, in, bb);
    case IN_DROP:
        return body_drop(in, f->r, bb);
    default:
        return ap_pass_brigade(f->next, bb);
    }
}
