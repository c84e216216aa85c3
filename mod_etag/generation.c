/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/generation.h"

#include <apr_strings.h>

#include "etagd/lib/name.h"
#include "mod_etag/hash.h"
#include "mod_etag/learn.h"
#include "mod_etag/node.h"
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

/* The names that select the variant: this response's, and what others of the URL are known to have been selected by. */
static const char *selecting_names(struct etag_request *ctx, request_rec *r)
{
    const struct table *t = node_table(ctx->hold);
    const char *known = "";
    struct table_copy copy;

    if (table_lookup(t, table_identify(t, span_of(ctx->key.text, ctx->key.n)), &copy) == TABLE_HIT &&
        copy.entry.kind == ENTRY_NAMES)
        known = apr_pstrmemdup(r->pool, copy.entry.tag.p, copy.entry.tag.n);
    return request_names(r, ctx->dir, known);
}

/* Under which key the name lies and for which variant it stands; false: this response carries none. */
static bool identify(struct etag_request *ctx, request_rec *r, struct etag_generation *out)
{
    const char *names = selecting_names(ctx, r);
    struct digest *d = hash_thread();
    char variant[NAME_VARIANT_SIZE];

    *out = (struct etag_generation){0};
    if (learn_refusal(ctx, r, names) || !d ||
        !name_variant(d, NAME_GENERATION, flags_of(ctx), ctx->tags->at, ctx->tags->n, ctx->groups->at, ctx->groups->n,
                      variant))
        return false;
    out->key = apr_pstrcat(r->pool, ctx->key.text, "#", variant, NULL);
    out->variant = request_variant(r, ctx->dir, names);
    return out->variant[0] != '!'; /* no digest could be made: such a variant is never met again */
}

static bool make(struct etag_request *ctx, request_rec *r, const struct etag_generation *as)
{
    ctx->generation = *as;
    const char *name = name_of(ctx, r, as->key);
    return name &&
           tag_from_content(ctx, r, ENTRY_GENERATION, span_str(apr_pstrcat(r->pool, name, as->variant, NULL)), true);
}

bool generation_tag(struct etag_request *ctx, request_rec *r)
{
    struct etag_generation as;

    if (!ctx->keyed || !ctx->hold || ctx->snapshot.generation == 0 || ctx->content)
        return false;
    learn_headers(ctx, r);
    return identify(ctx, r, &as) && make(ctx, r, &as);
}

/* --- final headers --- */

/* The ETag that is on the response, its opaque part exchanged and the suffix of a coding kept. */
static void exchange(request_rec *r, const char *old, const struct etag_request *ctx)
{
    const char *tag = apr_table_get(r->headers_out, "ETag"), *at = tag ? strstr(tag, old) : NULL;

    if (at)
        apr_table_setn(r->headers_out, "ETag",
                       apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, tag, (apr_size_t)(at - tag)), ctx->tag.opaque,
                                   at + strlen(old), NULL));
}

void generation_finish(struct etag_request *ctx, request_rec *r)
{
    struct etag_generation now;
    const char *old = ctx->tag.opaque;

    if (!ctx->generation.key || !ctx->tag.known)
        return;
    bool named = identify(ctx, r, &now);
    if (named && strcmp(now.key, ctx->generation.key) == 0 && strcmp(now.variant, ctx->generation.variant) == 0)
        return;
    if (r->status == HTTP_OK && named && make(ctx, r, &now)) {
        exchange(r, old, ctx);
        return;
    }
    ctx->learn = false;
    if (r->status != HTTP_OK)
        return; /* the 304 repeats what the client has */
    ctx->tag.known = false;
    apr_table_unset(r->headers_out, "ETag");
    etag_verdict(r, "untagged", "generation");
}
