/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/generation.h"

#include <apr_strings.h>

#include "etagd/lib/name.h"
#include "mod_etag/hash.h"
#include "mod_etag/learn.h"
#include "mod_etag/node.h"
#include "mod_etag/selection.h"
#include "mod_etag/tag.h"

#define NAME_LENGTH 22 /* 16 bytes in base64url */

bool generation_wanted(const struct etag_dir *dir)
{
    return memchr(dir->source, ETAG_SOURCE_GENERATION, sizeof dir->source) != NULL;
}

static unsigned flags_of(const struct etag_request *ctx)
{
    return ctx->dir->ignore_query.kind != ETAG_NAMES_NONE ? ENTRY_ANY_QUERY : 0;
}

/* --- the name --- */

/* From the table: only if it was given no later than this response was begun. */
static const char *known_name(struct etag_request *ctx, request_rec *r, const char *key)
{
    const struct table *t = node_table(ctx->hold);
    struct table_copy copy;
    char text[NAME_LENGTH + 1];
    enum table_result result = table_lookup(t, table_identify(t, span_str(key)), &copy);

    if (result == TABLE_VOID)
        node_void(ctx->hold);
    if (result != TABLE_HIT || copy.entry.kind != ENTRY_GENERATION || copy.seq > ctx->snapshot.seq)
        return NULL;
    ctx->generation.life_ms = table_life_left(t, &copy);
    digest_base64url((const uint8_t *)copy.entry.tag.p, copy.entry.tag.n, text);
    return apr_pstrmemdup(r->pool, text, NAME_LENGTH);
}

static const char *asked_name(struct etag_request *ctx, request_rec *r)
{
    struct span argv[9 + 2 * LABELS_MAX];
    int n = 0;

    argv[n++] = SPAN_LITERAL("ETAG");
    argv[n++] = SPAN_LITERAL("NAME");
    argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)ctx->snapshot.generation));
    argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)ctx->snapshot.seq));
    argv[n++] = span_of(ctx->key.text, ctx->key.n);
    argv[n++] = SPAN_LITERAL("g");
    argv[n++] =
        span_str(apr_psprintf(r->pool, "%u:%" APR_INT64_T_FMT, flags_of(ctx), (apr_int64_t)(ctx->dir->ttl / 1000)));
    n = learn_add_labels(argv, n, r->pool, ctx->tags);
    n = learn_add_labels(argv, n, r->pool, ctx->groups);
    const struct redisReply *reply = node_call(r->pool, n, argv, -1, &ctx->budget_ns);
    const char *name;
    return reply && node_reply_text(reply, &name) && strlen(name) == NAME_LENGTH ? name : NULL;
}

/* What etagd answers lies in the table as well. How long it has to live is known from there; where it is not, the
 * response may carry it, but is not learned. */
static const char *name_of(struct etag_request *ctx, request_rec *r, const char *key)
{
    const char *name = known_name(ctx, r, key);

    if (name)
        return name;
    ctx->generation.life_ms = 0;
    name = asked_name(ctx, r);
    if (name) {
        const char *again = known_name(ctx, r, key);
        if (!again || strcmp(again, name) != 0)
            ctx->generation.life_ms = 0;
    }
    return name;
}

/* --- the tag --- */

/* Under which key the name lies and for which variant it stands; false: this response carries none. */
static bool identify(struct etag_request *ctx, request_rec *r, struct etag_generation *out)
{
    struct digest *d = hash_thread();
    char variant[NAME_VARIANT_SIZE];

    *out = (struct etag_generation){0};
    if (!d || !selection_of(ctx, r, &out->selection) ||
        !name_variant(d, NAME_GENERATION, flags_of(ctx), ctx->tags->at, ctx->tags->n, ctx->groups->at, ctx->groups->n,
                      variant))
        return false;
    out->key = apr_pstrcat(r->pool, ctx->key.text, "#", variant, NULL);
    return true;
}

static bool make(struct etag_request *ctx, request_rec *r)
{
    struct etag_generation as;

    if (!identify(ctx, r, &as))
        return false;
    ctx->generation = as;
    const char *name = name_of(ctx, r, as.key);
    return name && tag_from_content(ctx, r, ENTRY_GENERATION,
                                    span_str(apr_pstrcat(r->pool, name, as.selection.variant, NULL)), true);
}

bool generation_tag(struct etag_request *ctx, request_rec *r)
{
    if (!ctx->keyed || !ctx->hold || ctx->snapshot.generation == 0 || ctx->content)
        return false;
    learn_headers(ctx, r);
    return make(ctx, r);
}

void generation_finish(struct etag_request *ctx, request_rec *r)
{
    const struct etag_generation *as = &ctx->generation;
    struct etag_generation now;

    if (!as->key || !ctx->tag.known)
        return;
    bool named = identify(ctx, r, &now);
    if (named && strcmp(now.key, as->key) == 0 && strcmp(now.selection.variant, as->selection.variant) == 0)
        return;
    selection_changed(ctx, r, named ? make : NULL, "generation");
}
