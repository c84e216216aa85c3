/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/version.h"

#include <apr_strings.h>

#include "etagd/lib/version.h"
#include "mod_etag/learn.h"
#include "mod_etag/selection.h"
#include "mod_etag/tag.h"

#define FUNCTION "etag_version"

/* --- etag_version('NAME') --- */

/* NULL: unknown. */
static const char *value_of(struct etag_request *ctx, request_rec *r, struct span name)
{
    char key[VERSION_KEY_SIZE];
    struct table_copy copy;

    if (!ctx->hold || !version_is_name(name) || learn_known(ctx, r, version_key(key, name), &copy) != TABLE_HIT ||
        copy.entry.kind != ENTRY_VERSION_VALUE)
        return NULL;
    return apr_pstrmemdup(r->pool, copy.entry.tag.p, copy.entry.tag.n);
}

/* Elsewhere than in ETagVersion it is the empty text: nobody would heed there that it is unknown. */
static const char *etag_version(ap_expr_eval_ctx_t *eval, const void *data, const char *arg)
{
    struct etag_request *ctx = eval->r ? ap_get_module_config(eval->r->request_config, &etag_module) : NULL;
    const char *value;

    (void)data;
    if (!ctx || !ctx->version.evaluating)
        return "";
    value = value_of(ctx, eval->r, span_str(arg));
    ctx->version.unknown |= !value;
    return value ? value : "";
}

static int look_up_function(ap_expr_lookup_parms *parms)
{
    if (parms->type != AP_EXPR_FUNC_STRING || strcasecmp(parms->name, FUNCTION) != 0)
        return DECLINED;
    *parms->func = (const void *)etag_version;
    *parms->data = NULL;
    return OK;
}

void version_register(void)
{
    ap_hook_expr_lookup(look_up_function, NULL, NULL, APR_HOOK_MIDDLE);
}

/* --- the expression --- */

const char *version_expression(apr_pool_t *p, const char *text, const char **error)
{
    const char *const call = FUNCTION "('", *at, *end, *out = "";

    while ((at = strstr(text, call))) {
        const char *name = at + strlen(call);

        end = strstr(name, "')");
        if (!end || !version_is_name(span_of(name, (size_t)(end - name)))) {
            *error = apr_psprintf(p, "\"%s\" names no version: letters, digits and ._:/@+- are wanted", at);
            return NULL;
        }
        out = apr_psprintf(p, "%s%.*s%%{" FUNCTION ":%.*s}", out, (int)(at - text), text, (int)(end - name), name);
        text = end + 2;
    }
    return apr_pstrcat(p, out, text, NULL);
}

bool version_wanted(const struct etag_dir *dir)
{
    return dir->version_expr && memchr(dir->source, ETAG_SOURCE_VERSION, sizeof dir->source);
}

void version_evaluate(struct etag_request *ctx, request_rec *r)
{
    const char *error = NULL, *text;

    ctx->version = (struct etag_version){.evaluating = true};
    text = ap_expr_str_exec(r, ctx->dir->version_expr, &error);
    ctx->version.evaluating = false;
    if (!error && text && *text && !ctx->version.unknown)
        ctx->version.text = apr_pstrdup(r->pool, text);
}

/* --- the tag --- */

/* From ctx->version.base. */
static bool add_version(struct etag_request *ctx, request_rec *r)
{
    const size_t n = strlen(ctx->version.text);
    char *content = apr_palloc(r->pool, DIGEST_BASE_SIZE + n);

    memcpy(content, ctx->version.base, DIGEST_BASE_SIZE);
    memcpy(content + DIGEST_BASE_SIZE, ctx->version.text, n);
    return tag_from_version(ctx, r, span_of(content, DIGEST_BASE_SIZE + n));
}

static bool make(struct etag_request *ctx, request_rec *r)
{
    struct etag_version *v = &ctx->version;

    v->based = selection_of(ctx, r, &v->selection) &&
               tag_base(ctx, r, ENTRY_VERSION, span_str(v->selection.variant), v->base) && add_version(ctx, r);
    return v->based;
}

bool version_tag(struct etag_request *ctx, request_rec *r)
{
    if (!ctx->version.text || !ctx->keyed || ctx->content)
        return false;
    learn_headers(ctx, r);
    return make(ctx, r);
}

bool version_from_entry(struct etag_request *ctx, request_rec *r, const struct entry *e)
{
    if (!ctx->version.text)
        return false;
    memcpy(ctx->version.base, e->tag.p, DIGEST_BASE_SIZE);
    return add_version(ctx, r);
}

static bool stands(const struct etag_request *ctx, const struct etag_selection *now)
{
    return strcmp(now->names, ctx->version.selection.names) == 0 &&
           strcmp(now->variant, ctx->version.selection.variant) == 0;
}

bool version_stands(struct etag_request *ctx, request_rec *r)
{
    struct etag_selection now;
    return !ctx->version.based || (selection_of(ctx, r, &now) && stands(ctx, &now));
}

void version_finish(struct etag_request *ctx, request_rec *r)
{
    struct etag_selection now;

    if (!ctx->version.based || !ctx->tag.known)
        return;
    bool selected = selection_of(ctx, r, &now);
    if (!selected || !stands(ctx, &now))
        selection_changed(ctx, r, selected ? make : NULL, "version");
}
