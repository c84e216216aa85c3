/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/finish.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "etagd/lib/httpdate.h"
#include "mod_etag/cache.h"
#include "mod_etag/coders.h"
#include "mod_etag/generation.h"
#include "mod_etag/learn.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/publish.h"
#include "mod_etag/tag.h"
#include "mod_etag/seal.h"
#include "mod_etag/version.h"

static void unset_both(request_rec *r, const char *name)
{
    apr_table_unset(r->headers_out, name);
    apr_table_unset(r->err_headers_out, name);
}

static bool varies_on_coding(request_rec *r)
{
    const char *vary = request_response_header(r, "Vary");
    return vary && (ap_find_token(r->pool, vary, "Accept-Encoding") || strcmp(vary, "*") == 0);
}

static void vary_on_coding(request_rec *r)
{
    if (!varies_on_coding(r))
        apr_table_mergen(r->headers_out, "Vary", "Accept-Encoding");
}

/* The 304 of a tag that matched repeats it byte for byte; any other 304 of ours names the tag of the
 * coding that the 200 would have had (RFC 9110 15.4.5). */
static const char *tag_of_304(request_rec *r, const struct etag_request *ctx, bool coded)
{
    if (ctx->matched.opaque.p)
        return apr_psprintf(r->pool, "%s\"%.*s\"", ctx->matched.weak ? "W/" : "", (int)ctx->matched.opaque.n,
                            ctx->matched.opaque.p);
    if (!coded || ctx->tag.kind == ENTRY_UPSTREAM)
        return tag_text(ctx, r);
    struct span suffix = coding_suffix(ctx->coding);
    return apr_psprintf(r->pool, "%s\"%s%.*s\"", ctx->tag.weak ? "W/" : "", ctx->tag.opaque, (int)suffix.n,
                        suffix.n ? suffix.p : "");
}

/* Two nodes, or two moments, may date the same bytes differently; the older date is as true. mod_cache takes
 * another date than its own for other content, and a page without one for fresh for CacheDefaultExpire. */
static void date_304(const struct etag_request *ctx, request_rec *r)
{
    const char *ours = request_response_header(r, "Last-Modified"), *theirs = ctx->saved.if_modified_since;
    int64_t now = apr_time_sec(r->request_time), modified, since;

    if (!ctx->matched.opaque.p || !theirs || !httpdate_parse(span_str(theirs), now, &since))
        return;
    /* A date that was named for the content is true for the cache as well: it stores it anew where its own is
     * another. A file without one is to have none. */
    if (ctx->modified.is == PRECONDITION_NAMED || (!ours && ctx->file))
        return;
    if (ours && (!httpdate_parse(span_str(ours), now, &modified) || since >= modified))
        return;
    unset_both(r, "Last-Modified");
    apr_table_setn(r->headers_out, "Last-Modified", theirs);
}

static void finish_304(request_rec *r, struct etag_request *ctx)
{
    static const char *const content[] = {"Content-Type",   "Content-Encoding", "Content-Language", "Content-Range",
                                          "Content-Length", "Content-MD5",      "Accept-Ranges",    "Trailer"};
    bool coded = !ctx->coded_in && (ctx->coded || coders_vary(ctx->coder, r->content_type));

    for (size_t i = 0; i < sizeof content / sizeof *content; i++)
        unset_both(r, content[i]);
    r->content_encoding = NULL;
    if (!ctx->tag.known)
        seal_answer(ctx, r);
    if (coded || ctx->matched_coding != CODING_IDENTITY)
        vary_on_coding(r);
    if (!ctx->tag.known)
        return; /* the backend's own */
    date_304(ctx, r);
    unset_both(r, "ETag");
    apr_table_setn(r->headers_out, "ETag", tag_of_304(r, ctx, coded));
    apr_table_unset(r->notes, "no-etag");
}

static void finish_200(request_rec *r, struct etag_request *ctx)
{
    const char *tag;

    if (!r->header_only) /* without a body the coders step aside */
        coders_saw(ctx->coder, r->content_type, varies_on_coding(r));
    if (ctx->coded_in)
        return;
    if (apr_table_get(r->headers_out, "Content-Encoding")) {
        seal_tag(ctx, r);
        tag = apr_table_get(r->headers_out, "ETag");
        /* Compressed bytes differ between builds and flushes: parts of them must never be joined. */
        apr_table_unset(r->headers_in, "Range");
        unset_both(r, "Accept-Ranges");
        apr_table_setn(r->headers_out, "Accept-Ranges", "none");
        if (tag && ctx->dir->coded_weak && ctx->tag.known && strncmp(tag, "W/", 2) != 0)
            apr_table_setn(r->headers_out, "ETag", apr_pstrcat(r->pool, "W/", tag, NULL));
    } else if (r->header_only && ctx->coding != CODING_IDENTITY &&
               (ctx->coded || coders_vary(ctx->coder, r->content_type))) {
        unset_both(r, "ETag"); /* of the identity, where GET carries that of a coding */
    }
}

/* RFC 9211; appended to whatever others have put there. */
static void cache_status(request_rec *r)
{
    const char *status = apr_table_get(r->notes, "etag-status"), *why = apr_table_get(r->notes, "etag-why");
    bool hit = status && strcmp(status, "304") == 0 && why && strcmp(why, "late") != 0;

    if (status)
        apr_table_mergen(
            r->headers_out, "Cache-Status",
            apr_psprintf(r->pool, "mod_etag; %s; detail=\"%s %s\"", hit ? "hit" : "fwd=miss", status, why ? why : ""));
}

static bool has_eos(const apr_bucket_brigade *bb)
{
    for (const apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b))
        if (APR_BUCKET_IS_EOS(b))
            return true;
    return false;
}

apr_status_t etag_fin_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    struct etag_request *ctx = etag_request(r);

    if (!ctx || ctx->detection) {
        if (ctx && ctx->learn && !APR_BRIGADE_EMPTY(bb)) {
            learn_headers(ctx, r);
            ctx->learn = version_stands(ctx, r);
        }
        ap_remove_output_filter(f);
        return ap_pass_brigade(f->next, bb);
    }
    if (!f->ctx && !APR_BRIGADE_EMPTY(bb)) {
        f->ctx = ctx;
        if (ctx->learn || ctx->generation.key || ctx->version.based)
            learn_headers(ctx, r);
        generation_finish(ctx, r);
        version_finish(ctx, r);
        if (r->status == HTTP_NOT_MODIFIED)
            finish_304(r, ctx);
        else if (r->status == HTTP_OK)
            finish_200(r, ctx);
        learn_strip_headers(ctx->dir, r);
        if (ctx->dir->last_modified == ETAG_LAST_MODIFIED_OFF)
            unset_both(r, "Last-Modified");
        if (ctx->dir->cache_status)
            cache_status(r);
        cache_advise(ctx, r);
    }
    /* Before the last bytes leave: who has read this response to its end finds it learned. */
    if (ctx->learn && ctx->complete && has_eos(bb))
        publish_learned(ctx, r);
    return ap_pass_brigade(f->next, bb);
}
