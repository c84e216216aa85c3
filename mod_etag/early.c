/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/early.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include "mod_etag/cache.h"
#include "mod_etag/detect.h"
#include "mod_etag/field.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/generation.h"
#include "mod_etag/learn.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/modified.h"
#include "mod_etag/node.h"
#include "mod_etag/probe.h"
#include "mod_etag/seal.h"
#include "mod_etag/tag.h"
#include "mod_etag/version.h"

static bool conditional(const struct etag_conditionals *c)
{
    return c->if_match || c->if_none_match || c->if_modified_since || c->if_unmodified_since;
}

static void hide(struct etag_request *ctx, request_rec *r)
{
    if (ctx->hidden || ctx->dir->engine != ETAG_ENGINE_ON)
        return;
    request_hide_conditionals(r, &ctx->saved);
    ctx->hidden = ctx->judges = true;
}

/* 304 through the filters: they add their headers, mod_cache refreshes its entry, ETAG_FIN puts the
 * final tag. */
static int emit_not_modified(struct etag_request *ctx, request_rec *r)
{
    int rv = ap_discard_request_body(r);
    if (rv != OK)
        return rv;
    if (ctx->file) /* a cache behind reckons freshness from it, as core leads it to expect */
        modified_set_header(ctx, r);
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    learn_replay(r, ctx->capsule, ctx->capsule_n);
    apr_table_setn(r->headers_out, "ETag", tag_text(ctx, r));
    r->status = HTTP_NOT_MODIFIED;
    r->status_line = NULL;
    cache_advise(ctx, r); /* SetOutputFilter CACHE may put mod_cache before ETAG_FIN */
    return ap_pass_brigade_fchk(r, bb, "ETag: early 304");
}

/* What a lookup that proved the current tag means for the request. DECLINED: go on to the handler. */
static int answer(struct etag_request *ctx, request_rec *r, struct precondition_date modified, const char *what)
{
    enum precondition_result result = tag_evaluate(ctx, r, modified);

    if (ctx->detection) {
        detect_would(ctx, r, result, what);
        return DECLINED;
    }
    if (result == PRECONDITION_NOT_MODIFIED) {
        etag_verdict(r, "304", what);
        return emit_not_modified(ctx, r);
    }
    if (result == PRECONDITION_FAILED) {
        etag_verdict(r, "412", what);
        return HTTP_PRECONDITION_FAILED;
    }
    return DECLINED;
}

/* Before anything of the response is generated: what is invalidated from here on voids it. Returns why its tag
 * cannot be shared, or NULL. */
static const char *take_position(struct etag_request *ctx, request_rec *r)
{
    ctx->keyed = request_key(r, ctx->dir, &ctx->key);
    if (!ctx->keyed)
        return "no key";
    ctx->hold = ctx->hold ? ctx->hold : node_hold(r->pool, &ctx->budget_ns);
    ctx->content = request_has_content(r); /* before the handler reads it */
    if (ctx->hold)
        ctx->snapshot = table_snapshot(node_table(ctx->hold));
    if (version_wanted(ctx->dir))
        version_evaluate(ctx, r);
    return ctx->hold ? NULL : "no table";
}

/* --- files --- */

/* A filter before ETAG_IN, or one behind it that we do not know, may change the bytes: then the file's
 * digest is not the response's. */
static bool changed_by_filters(const request_rec *r)
{
    const ap_filter_t *first = r->output_filters;
    return !first || strcasecmp(first->frec->name, ETAG_IN_NAME) != 0 || !request_filters_known(first->next);
}

/* Every other handler has declined; these are core's own conditions for serving the file. */
static bool core_serves(const request_rec *r)
{
    return r->finfo.filetype == APR_REG && r->filename &&
           (r->used_path_info == AP_REQ_ACCEPT_PATH_INFO || !r->path_info || !*r->path_info);
}

int etag_early_file(request_rec *r)
{
    struct etag_request *ctx = etag_request(r);

    if (r->main && core_serves(r))
        probe_is_file(r);
    if (!ctx || r->method_number != M_GET || r->status != HTTP_OK || !core_serves(r) || request_opted_out(r))
        return DECLINED;
    ctx->file = true;
    ctx->coded_in = r->content_encoding;
    if (ctx->dir->engine == ETAG_ENGINE_ON)
        cache_drop_conditionals(r);
    if (!ctx->hidden)
        request_read_conditionals(r, &ctx->saved);
    /* A page that a filter makes of the file, as mod_include does. */
    if ((generation_wanted(ctx->dir) || version_wanted(ctx->dir)) && changed_by_filters(r))
        take_position(ctx, r);
    if (!conditional(&ctx->saved))
        return DECLINED;

    uint8_t digest[DIGEST_SIZE];
    int64_t mtime = ENTRY_UNDATED;
    if (!changed_by_filters(r)) {
        ctx->hold = ctx->hold ? ctx->hold : node_hold(r->pool, &ctx->budget_ns);
        if (file_digest_peek(ctx, r, r->filename, digest, &mtime) == FILE_DIGEST_KNOWN &&
            tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)digest, sizeof digest), false)) {
            modified_of_file(ctx, r, modified_asked(&ctx->saved) ? digest : NULL, mtime);
            int rv = answer(ctx, r, ctx->modified, "file");
            if (rv != DECLINED)
                return rv;
        }
    }
    hide(ctx, r);
    return DECLINED;
}

/* --- generated content --- */

bool early_learned(struct etag_request *ctx, request_rec *r, const char **why)
{
    struct table_copy copy;
    enum table_result result;

    *why = "unknown";
    if (learn_known(ctx, r, span_of(ctx->key.text, ctx->key.n), &copy) != TABLE_HIT || copy.entry.kind != ENTRY_NAMES)
        return false;
    ctx->names = apr_pstrmemdup(r->pool, copy.entry.tag.p, copy.entry.tag.n);
    *why = "credentials";
    if (request_has_credentials(r, ctx->dir, ctx->names))
        return false;
    ctx->variant = request_variant(r, ctx->dir, ctx->names);
    const char *key = apr_pstrcat(r->pool, ctx->key.text, "#", ctx->variant, NULL);
    result = learn_known(ctx, r, span_str(key), &copy);
    *why = result == TABLE_CONFLICT ? "conflict" : "variant unknown";
    if (result != TABLE_HIT || copy.entry.kind == ENTRY_NAMES)
        return false;
    *why = "version unknown";
    if (copy.entry.kind == ENTRY_VERSION_BASE && !ctx->version.text)
        return false;
    *why = "damaged";
    return table_capsule(node_table(ctx->hold), &copy, ctx->capsule, &ctx->capsule_n) &&
           (copy.entry.kind == ENTRY_VERSION_BASE ? version_from_entry(ctx, r, &copy.entry)
                                                  : tag_from_entry(ctx, r, &copy.entry));
}

static int early_from_store(struct etag_request *ctx, request_rec *r)
{
    const char *why = take_position(ctx, r);

    if (why) {
        etag_verdict(r, "miss", why);
        return DECLINED;
    }
    if (!ctx->saved.if_none_match && !ctx->saved.if_match)
        return DECLINED;
    /* A record knows no date; If-Unmodified-Since goes before If-None-Match (RFC 9110 13.2.2). */
    if (!request_may_be_early(r) || (ctx->saved.if_unmodified_since && !ctx->saved.if_match)) {
        etag_verdict(r, "bypass", "request");
        return DECLINED;
    }
    if (!early_learned(ctx, r, &why)) {
        etag_verdict(r, "miss", why);
        return DECLINED;
    }
    int rv = answer(ctx, r, (struct precondition_date){.is = PRECONDITION_UNDATED}, "learned");
    /* Going on to the handler: its response speaks for itself. */
    ctx->tag.known = false;
    ctx->capsule_n = 0;
    return rv;
}

/* Whether the handler must not see the conditionals: it could only compare with a tag that ours
 * replaces. A list without a tag of ours is the application's own business where upstream is a source. */
static bool ours_to_judge(const struct etag_request *ctx)
{
    const char *lists[] = {ctx->saved.if_none_match, ctx->saved.if_match};
    bool upstream = false;

    for (size_t i = 0; i < ETAG_SOURCES && ctx->dir->source[i]; i++)
        upstream |= ctx->dir->source[i] == ETAG_SOURCE_UPSTREAM;
    for (size_t i = 0; i < 2; i++) {
        if (!lists[i])
            continue;
        if (!upstream || entity_tag_list_is_any(span_str(lists[i])) || field_names_ours(lists[i]))
            return true;
    }
    return false;
}

int etag_early_generated(request_rec *r)
{
    struct etag_request *ctx = etag_request(r);
    if (!ctx || r->method_number != M_GET || r->status != HTTP_OK || request_redirects(r) || request_is_file(r) ||
        request_opted_out(r))
        return DECLINED;
    if (ctx->dir->engine == ETAG_ENGINE_ON)
        cache_drop_conditionals(r);
    request_read_conditionals(r, &ctx->saved);
    if (ctx->dir->early) {
        int rv = early_from_store(ctx, r);
        if (rv != DECLINED)
            return rv;
    } else if (generation_wanted(ctx->dir) || version_wanted(ctx->dir)) {
        take_position(ctx, r);
    }
    if (ours_to_judge(ctx))
        hide(ctx, r);
    else if (ctx->dir->engine == ETAG_ENGINE_ON)
        ctx->opened = seal_open_conditionals(r);
    /* Core would evaluate what a script leaves open, before our tag is known and by rules of its own (a list
     * like a header's, a date like any text): ETAG_IN does it. */
    if (ctx->dir->engine == ETAG_ENGINE_ON && !r->no_local_copy)
        r->no_local_copy = ctx->core_waits = 1;
    return DECLINED;
}
