/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/cache.h"

#include <apr_date.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include "mod_etag/mod_etag.h"

#define ASKED_KEY "etag-asked" /* struct asked, of the pool that a chain of redirects shares */

static ap_filter_rec_t *whole_handle;

/* Written in post_config, in the parent. */
static bool beside_mod_cache; /* mod_cache is loaded, and the engine is On somewhere */
static bool stores_anything; /* CacheIgnoreNoLastMod: what says nothing of its freshness may be stored */
static bool loses_bodies; /* mod_cache_socache stores, which forgets the body when a 304 refreshes an entry */

void cache_post_config(void)
{
    beside_mod_cache = ap_find_linked_module("mod_cache.c") && etag_configured("ETagEngine", "On");
    loses_bodies = beside_mod_cache && etag_configured("CacheEnable", "socache");
    stores_anything = etag_configured("CacheIgnoreNoLastMod", "On");
}

/* --- whose conditions --- */

/* The values as the client sent them; mod_cache puts its own in the same place. */
struct asked {
    const char *if_none_match, *if_modified_since;
};

static int note_asked(request_rec *r)
{
    struct asked *asked;

    if (beside_mod_cache && r->method_number == M_GET) {
        asked = apr_palloc(r->pool, sizeof *asked);
        asked->if_none_match = apr_table_get(r->headers_in, "If-None-Match");
        asked->if_modified_since = apr_table_get(r->headers_in, "If-Modified-Since");
        apr_pool_userdata_setn(asked, ASKED_KEY, NULL, r->pool);
    }
    return DECLINED;
}

static const struct asked *asked_of(request_rec *r)
{
    void *asked = NULL;

    apr_pool_userdata_get(&asked, ASKED_KEY, r->pool);
    return asked;
}

static bool asked_by_client(request_rec *r, const char *if_none_match)
{
    const struct asked *asked = asked_of(r);

    return asked && asked->if_none_match && asked->if_none_match == if_none_match;
}

/* What the client did not send mod_cache did. */
static void drop_foreign(request_rec *r)
{
    const struct asked *asked = asked_of(r);

    if (asked && !asked->if_none_match)
        apr_table_unset(r->headers_in, "If-None-Match");
    if (asked && !asked->if_modified_since)
        apr_table_unset(r->headers_in, "If-Modified-Since");
}

void cache_forget_foreign(request_rec *r, struct etag_conditionals *saved)
{
    const struct asked *asked = asked_of(r);

    if (asked && !asked->if_none_match)
        saved->if_none_match = NULL;
    if (asked && !asked->if_modified_since)
        saved->if_modified_since = NULL;
}

static bool cache_listens(const request_rec *r)
{
    for (const ap_filter_t *f = r->output_filters; f; f = f->next)
        if (strcasecmp(f->frec->name, "CACHE_SAVE") == 0)
            return true;
    return false;
}

void cache_drop_conditionals(request_rec *r)
{
    const char *match;

    if (!beside_mod_cache)
        return;
    match = apr_table_get(r->headers_in, "If-None-Match");
    if (loses_bodies && match && !asked_by_client(r, match)) {
        apr_table_unset(r->headers_in, "If-None-Match");
        apr_table_unset(r->headers_in, "If-Modified-Since");
    } else if (!cache_listens(r)) {
        drop_foreign(r);
    }
}

/* --- before and after mod_cache --- */

/* mod_cache invalidates what PUT, POST and DELETE change, and knows no PATCH: it is shown as PUT for the
 * length of mod_cache's hook. r->method keeps the word. */
static void show_patch(request_rec *r)
{
    if (beside_mod_cache && r->method_number == M_PATCH)
        r->method_number = M_PUT;
}

static int after_cache(request_rec *r)
{
    if (r->method_number == M_PUT && strcmp(r->method, "PATCH") == 0)
        r->method_number = M_PATCH;
    return DECLINED;
}

/* An internal redirect has lost the filter that mod_cache's conditions were for. */
static void drop_after_redirect(request_rec *r)
{
    if (r->prev && etag_dir_of(r->prev)->engine == ETAG_ENGINE_ON)
        drop_foreign(r);
}

static int before_cache(request_rec *r)
{
    drop_after_redirect(r);
    if (etag_dir_of(r)->engine == ETAG_ENGINE_ON)
        show_patch(r);
    return DECLINED;
}

/* The location is not known yet: cache_insert takes back what is too much. */
static int before_quick_cache(request_rec *r, int lookup)
{
    (void)lookup;
    drop_after_redirect(r);
    show_patch(r);
    return DECLINED;
}

static int after_quick_cache(request_rec *r, int lookup)
{
    (void)lookup;
    return after_cache(r);
}

/* --- ranges --- */

/* Between mod_cache and the byte-range filter. mod_cache puts the client's Range back after ETAG_FIN has taken
 * it away, and serves stored bodies without ETAG_FIN. */
static apr_status_t whole_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    const struct etag_request *ctx = etag_request(r);
    const char *accepts = request_response_header(r, "Accept-Ranges");
    bool unjudged = ctx && ctx->saved.range;

    if (unjudged || (accepts && strcmp(accepts, "none") == 0 && request_response_header(r, "Content-Encoding")))
        apr_table_unset(r->headers_in, "Range");
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

/* mod_cache in quick mode serves what it has before the location is known: it may be one where the engine is On. */
static bool may_be_ours(request_rec *r)
{
    const int engine = etag_dir_of(r)->engine;

    return engine == ETAG_ENGINE_ON || (engine == ETAG_ENGINE_OFF && !r->filename);
}

void cache_insert(request_rec *r)
{
    if (!beside_mod_cache)
        return;
    if (r->method_number == M_GET && may_be_ours(r))
        ap_add_output_filter_handle(whole_handle, NULL, r, r->connection);
    else if (r->method_number == M_PATCH && etag_dir_of(r)->engine != ETAG_ENGINE_ON)
        request_remove_filter(r, "CACHE_INVALIDATE");
}

/* --- what may be stored and freshened --- */

/* mod_cache's grammar of Cache-Control: directives end at a comma or a space, but not within quotes. */
static const char *directive_end(const char *at)
{
    for (bool quoted = false; *at && (quoted || !strchr(", ", *at)); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted && *at == '\\' && at[1])
            at++;
    }
    return at;
}

/* max-age or s-maxage with a number that mod_cache takes for one. */
static bool is_lifetime(const char *directive, const char *end)
{
    const char *number = directive;
    char *stop = NULL;
    apr_off_t seconds;

    if (strncasecmp(directive, "max-age=", 8) == 0)
        number += 8;
    else if (strncasecmp(directive, "s-maxage=", 9) == 0)
        number += 9;
    return number > directive && apr_strtoff(&seconds, number, &stop, 10) == APR_SUCCESS && stop == end &&
           stop > number;
}

static bool has_lifetime(const char *control)
{
    for (const char *end; control && *control; control = end + strspn(end, ", ")) {
        end = directive_end(control);
        if (is_lifetime(control, end))
            return true;
    }
    return false;
}

static bool has_date(request_rec *r)
{
    const char *modified = request_response_header(r, "Last-Modified");

    return modified && apr_date_parse_http(modified) != APR_DATE_BAD;
}

/* Whether mod_cache could store it without our tag: a generated page with neither date nor lifetime would be
 * kept for CacheDefaultExpire, an hour, where stock httpd keeps it not at all; a file whose date we took away as
 * well, where stock httpd keeps it for a tenth of its age. */
static bool storable(const struct etag_request *ctx, request_rec *r)
{
    const bool by_tag = !ctx->file && (!ctx->tag.known || ctx->own_tag || ctx->tag.kind == ENTRY_UPSTREAM);

    return stores_anything || by_tag || has_date(r) || request_response_header(r, "Expires") ||
           has_lifetime(request_response_header(r, "Cache-Control"));
}

static bool may_freshen(const struct etag_request *ctx, request_rec *r)
{
    return !loses_bodies && !asked_by_client(r, ctx->saved.if_none_match);
}

void cache_advise(const struct etag_request *ctx, request_rec *r)
{
    if (beside_mod_cache &&
        ((r->status == HTTP_OK && !storable(ctx, r)) || (r->status == HTTP_NOT_MODIFIED && !may_freshen(ctx, r))))
        apr_table_setn(r->subprocess_env, "no-cache", "1");
}

void cache_register(void)
{
    static const char *const cache[] = {"mod_cache.c", NULL};

    whole_handle = ap_register_output_filter(ETAG_WHOLE_NAME, whole_filter, NULL, AP_FTYPE_CONTENT_SET + 2);
    ap_hook_post_read_request(note_asked, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_quick_handler(before_quick_cache, NULL, cache, APR_HOOK_FIRST);
    ap_hook_quick_handler(after_quick_cache, cache, NULL, APR_HOOK_FIRST);
    ap_hook_handler(before_cache, NULL, cache, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(after_cache, cache, NULL, APR_HOOK_REALLY_FIRST);
}
