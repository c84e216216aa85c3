/* SPDX-License-Identifier: Apache-2.0 */
/* The module record and its hooks; nothing is decided here. */
#include "mod_etag/mod_etag.h"

#include <ap_mmn.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>

#include "mod_etag/await.h"
#include "mod_etag/cache.h"
#include "mod_etag/coders.h"
#include "mod_etag/dav.h"
#include "mod_etag/detect.h"
#include "mod_etag/early.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/finish.h"
#include "mod_etag/generation.h"
#include "mod_etag/in.h"
#include "mod_etag/node.h"
#include "mod_etag/probe.h"
#include "mod_etag/publish.h"
#include "mod_etag/same_name.h"
#include "mod_etag/version.h"
#include "mod_etag/write.h"

static ap_filter_rec_t *in_handle, *fin_handle, *write_handle;

static struct etag_request *context_of(const request_rec *r)
{
    return ap_get_module_config(r->request_config, &etag_module);
}

/* A script that redirects internally has r->method overwritten; what the client asked stands in the request
 * line. A POST that ends at a file gets neither a GET's tag nor its 304. */
static bool became_get(const request_rec *r)
{
    const char *line = request_first(r)->the_request;

    return r->prev && r->method_number == M_GET && line && strncmp(line, "GET ", 4) != 0 &&
           strncmp(line, "HEAD ", 5) != 0;
}

struct etag_request *etag_request(request_rec *r)
{
    /* A forward proxy's answers are other people's representations. */
    if (r->main || r->proxyreq == PROXYREQ_PROXY || became_get(r))
        return NULL;
    struct etag_request *ctx = context_of(r);
    if (ctx)
        return ctx;
    const struct etag_dir *dir = etag_dir_of(r);
    if (dir->engine == ETAG_ENGINE_OFF)
        return NULL;
    ctx = apr_pcalloc(r->pool, sizeof(*ctx));
    ctx->dir = dir;
    if (dir->engine == ETAG_ENGINE_ON)
        ctx->budget_ns = (int64_t)etag_server_of(r->server)->timeout * 1000;
    else
        ctx->detection = detect_new(r, dir); /* and no time for etagd before the response has passed */
    ap_set_module_config(r->request_config, &etag_module, ctx);
    return ctx;
}

void etag_verdict(request_rec *r, const char *status, const char *why)
{
    apr_table_setn(r->notes, "etag-status", status);
    apr_table_setn(r->notes, "etag-why", why);
    if (etag_dir_of(r)->engine != ETAG_ENGINE_ON)
        return; /* a script may show its environment */
    apr_table_setn(r->subprocess_env, "etag-status", status);
    apr_table_setn(r->subprocess_env, "etag-why", why);
}

/* An internal redirect shares headers_in with the request it came from: what was hidden or replaced for that
 * one's handler is the client's word and must be there for this one. */
static void restore_for_redirect(request_rec *r)
{
    for (request_rec *p = r->prev; p; p = p->prev) {
        struct etag_request *ctx = context_of(p);
        if (ctx && (ctx->hidden || ctx->opened)) {
            cache_forget_foreign(p, &ctx->saved);
            request_restore_conditionals(p, &ctx->saved);
            request_restore_range(p, &ctx->saved);
            ctx->hidden = ctx->opened = false;
        }
        if (ctx && ctx->core_waits && r->status == HTTP_OK) /* else an ErrorDocument, for which core sets it too */
            r->no_local_copy = 0;
    }
}

static void insert_in(request_rec *r)
{
    if (r->main)
        probe_insert(r);
    else
        cache_insert(r);
    restore_for_redirect(r);
    struct etag_request *ctx = etag_request(r);
    if (!ctx)
        return;
    if ((r->method_number != M_GET || r->header_only) && ctx->dir->engine == ETAG_ENGINE_ON)
        request_remove_filter(r, "BYTERANGE"); /* RFC 9110 14.2: a Range is for GET; it cuts whatever passes */
    if (r->method_number == M_GET || request_is_query(r))
        ap_add_output_filter_handle(in_handle, NULL, r, r->connection);
    else if (request_is_unsafe(r) && (ctx->dir->early || generation_wanted(ctx->dir))) {
        if (ctx->detection)
            ctx->detection->wrote = true;
        else
            ap_add_output_filter_handle(write_handle, ctx, r, r->connection);
    }
}

/* After mod_deflate, mod_brotli and mod_headers have inserted theirs: equal types keep this order. */
static void insert_fin(request_rec *r)
{
    struct etag_request *ctx = etag_request(r);
    if (ctx && (r->method_number == M_GET || request_is_query(r)))
        ap_add_output_filter_handle(fin_handle, NULL, r, r->connection);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    (void)ptemp;
    /* The configuration is read twice at start; the first pass only checks it. */
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    ap_add_version_component(pconf, "mod_etag/0.1");
    etag_config_warn(pconf, s);
    cache_post_config();
    coders_post_config(pconf);
    same_name_post_config(pconf, s, etag_engine_configured());
    file_digest_post_config(pconf, s);
    publish_post_config(pconf, s);
    return node_post_config(pconf, s) == APR_SUCCESS ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    node_child_init(p, s);
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    static const char *const after_cache[] = {"mod_cache.c", NULL};

    in_handle = ap_register_output_filter(ETAG_IN_NAME, etag_in_filter, NULL, AP_FTYPE_CONTENT_SET - 3);
    fin_handle = ap_register_output_filter(ETAG_FIN_NAME, etag_fin_filter, NULL, AP_FTYPE_CONTENT_SET);
    write_handle = ap_register_output_filter(ETAG_WRITE_NAME, etag_write_filter, NULL, AP_FTYPE_PROTOCOL);

    cache_register();
    probe_register();
    await_register_hooks();
    version_register();
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_filter(insert_in, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_filter(insert_fin, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_handler(etag_early_generated, after_cache, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(etag_dav_if, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(etag_early_write, after_cache, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_log_transaction(detect_finish, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(etag_early_file, NULL, NULL, APR_HOOK_REALLY_LAST - 1);
}

AP_DECLARE_MODULE(etag) = {
    STANDARD20_MODULE_STUFF,
    etag_dir_create,
    etag_dir_merge,
    etag_server_create,
    etag_server_merge,
    etag_commands,
    register_hooks,
    /* A virtual host without a directive of ours would share the main server's record, ETagBaseURL included. */
    AP_MODULE_FLAG_ALWAYS_MERGE,
};
