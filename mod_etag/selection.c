/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/selection.h"

#include <apr_strings.h>

#include "etagd/lib/detection.h"
#include "mod_etag/learn.h"
#include "mod_etag/node.h"

/* The names that select the variant: this response's, and what others of the URL are known to have been selected by. */
static const char *selecting_names(struct etag_request *ctx, request_rec *r)
{
    const struct table *t = ctx->hold ? node_table(ctx->hold) : NULL;
    const char *known = "";
    struct table_copy copy;

    if (t && table_lookup(t, table_identify(t, span_of(ctx->key.text, ctx->key.n)), &copy) == TABLE_HIT &&
        copy.entry.kind == ENTRY_NAMES)
        known = apr_pstrmemdup(r->pool, copy.entry.tag.p, copy.entry.tag.n);
    return request_names(r, ctx->dir, known);
}

bool selection_of(struct etag_request *ctx, request_rec *r, struct etag_selection *out)
{
    const char *names = selecting_names(ctx, r);

    if (learn_refusal(ctx, r, names))
        return false;
    *out = (struct etag_selection){.names = names, .variant = request_variant(r, ctx->dir, names)};
    /* The tag is to be the one that the engine, On, would have made. */
    if (ctx->detection && span_starts(span_str(out->variant), SPAN_LITERAL(DETECTION_VARIANT)))
        out->variant += strlen(DETECTION_VARIANT);
    return out->variant[0] != '!'; /* no digest could be made: such a variant is never met again */
}

/* The ETag that is on the response, its opaque part exchanged and the suffix of a coding kept. */
static void exchange(request_rec *r, const char *old, const struct etag_request *ctx)
{
    const char *tag = apr_table_get(r->headers_out, "ETag"), *at = tag ? strstr(tag, old) : NULL;

    if (at)
        apr_table_setn(r->headers_out, "ETag",
                       apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, tag, (apr_size_t)(at - tag)), ctx->tag.opaque,
                                   at + strlen(old), NULL));
}

void selection_changed(struct etag_request *ctx, request_rec *r, bool (*make)(struct etag_request *ctx, request_rec *r),
                       const char *why)
{
    const char *old = ctx->tag.opaque;

    if (r->status == HTTP_OK && make && make(ctx, r)) {
        exchange(r, old, ctx);
        return;
    }
    ctx->learn = false;
    if (r->status != HTTP_OK)
        return; /* the 304 repeats what the client has */
    ctx->tag.known = false;
    apr_table_unset(r->headers_out, "ETag");
    etag_verdict(r, "untagged", why);
}
