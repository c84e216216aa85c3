/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/tag.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "mod_etag/hash.h"

static const struct span *secrets_of(request_rec *r, int *n)
{
    const struct etag_server *server = etag_server_of(r->server);
    *n = server->secrets ? server->secrets->nelts : 0;
    return *n ? (const struct span *)server->secrets->elts : NULL;
}

/* The opaque tag as the client sees it: signed with one of the secrets where there are any. */
static const char *opaque_of(struct etag_request *ctx, request_rec *r, const uint8_t *base, int secret)
{
    int n;
    const struct span *secrets = secrets_of(r, &n);
    uint8_t raw[DIGEST_BASE_SIZE];

    memcpy(raw, base, sizeof raw);
    if (n) {
        /* Equal bytes under two keys must not show as equal: no key, no tag. */
        if (!ctx->keyed)
            ctx->keyed = request_key(r, ctx->dir, &ctx->key);
        /* No variant: which names select it is not known before the response, and grows with every Vary. */
        if (!ctx->keyed ||
            !digest_sign(secrets[secret], base, span_of(ctx->key.text, ctx->key.n), (struct span){NULL, 0}, raw))
            return NULL;
    }
    char *text = apr_palloc(r->pool, ENTITY_TAG_OURS_LENGTH + 1);
    digest_opaque((char)ctx->tag.kind, raw, text);
    return text;
}

static bool set_based(struct etag_request *ctx, request_rec *r, enum entry_kind kind, bool weak)
{
    ctx->tag.kind = kind;
    ctx->tag.weak = weak;
    ctx->tag.opaque = opaque_of(ctx, r, ctx->tag.base, 0);
    ctx->tag.known = ctx->tag.opaque != NULL;
    return ctx->tag.known;
}

static const char *languages(request_rec *r)
{
    return r->content_languages && r->content_languages->nelts ? apr_array_pstrcat(r->pool, r->content_languages, ',')
                                                               : request_response_header(r, "Content-Language");
}

bool tag_base(const struct etag_request *ctx, request_rec *r, enum entry_kind kind, struct span content,
              uint8_t base[DIGEST_BASE_SIZE])
{
    struct digest *d = hash_thread();
    struct digest_recipe recipe = {
        .recipe = (char)kind,
        .content = content,
        .content_type = span_str(r->content_type ? ap_make_content_type(r, r->content_type) : NULL),
        .content_language = span_str(languages(r)),
        .content_coding = span_str(ctx->coded_in),
        .salt = span_str(ctx->dir->salt),
    };
    return d && digest_base(d, &recipe, base);
}

bool tag_from_content(struct etag_request *ctx, request_rec *r, enum entry_kind kind, struct span content, bool weak)
{
    return tag_base(ctx, r, kind, content, ctx->tag.base) && set_based(ctx, r, kind, weak);
}

bool tag_from_version(struct etag_request *ctx, request_rec *r, struct span content)
{
    struct digest *d = hash_thread();
    struct digest_recipe recipe = {.recipe = (char)ENTRY_VERSION, .content = content};

    return d && digest_base(d, &recipe, ctx->tag.base) && set_based(ctx, r, ENTRY_VERSION, true);
}

bool tag_from_entry(struct etag_request *ctx, request_rec *r, const struct entry *e)
{
    switch (e->kind) {
    case ENTRY_DIGEST:
    case ENTRY_VERSION:
    case ENTRY_GENERATION:
        if (e->tag.n != DIGEST_BASE_SIZE)
            return false;
        memcpy(ctx->tag.base, e->tag.p, DIGEST_BASE_SIZE);
        return set_based(ctx, r, e->kind, (e->flags & ENTRY_WEAK) != 0);
    case ENTRY_UPSTREAM:
        return tag_from_upstream(ctx, r, apr_pstrmemdup(r->pool, e->tag.p, e->tag.n));
    default:
        return false;
    }
}

bool tag_from_upstream(struct etag_request *ctx, request_rec *r, const char *text)
{
    struct entity_tag tag;

    if (!entity_tag_parse(span_str(text), &tag) &&
        !entity_tag_parse(span_str(apr_pstrcat(r->pool, text, "\"", NULL)), &tag))
        return false;
    ctx->tag.kind = ENTRY_UPSTREAM;
    ctx->tag.weak = tag.weak;
    ctx->tag.opaque = apr_pstrmemdup(r->pool, tag.opaque.p, tag.opaque.n);
    ctx->tag.known = true;
    return true;
}

bool tag_from_headers(struct etag_request *ctx, request_rec *r, enum etag_source source)
{
    const struct etag_dir *dir = ctx->dir;
    const char *text;

    switch (source) {
    case ETAG_SOURCE_UPSTREAM:
        text = request_response_header(r, "ETag");
        return text && !ctx->file && tag_from_upstream(ctx, r, text);
    case ETAG_SOURCE_VERSION:
        text = dir->version_header ? request_response_header(r, dir->version_header) : NULL;
        return text && *text && tag_from_content(ctx, r, ENTRY_VERSION, span_str(text), true);
    default:
        return false;
    }
}

const char *tag_text(const struct etag_request *ctx, request_rec *r)
{
    return apr_pstrcat(r->pool, ctx->tag.weak ? "W/\"" : "\"", ctx->tag.opaque, "\"", NULL);
}

/* Calls judge with the tag as each secret signs it; the newest first, until judge is satisfied. */
static bool under_any_secret(struct etag_request *ctx, request_rec *r, struct precondition_representation *rep,
                             const struct precondition_request *req,
                             bool (*judge)(void *arg, const struct precondition_request *req,
                                           const struct precondition_representation *rep),
                             void *arg)
{
    int secrets;

    if (judge(arg, req, rep))
        return true;
    secrets_of(r, &secrets);
    for (int i = 1; ctx->tag.known && ctx->tag.kind != ENTRY_UPSTREAM && i < secrets; i++) {
        const char *older = opaque_of(ctx, r, ctx->tag.base, i);
        if (older) {
            rep->tag.opaque = span_str(older);
            if (judge(arg, req, rep))
                return true;
        }
    }
    return false;
}

static struct precondition_representation representation(const struct etag_request *ctx, bool exists)
{
    return (struct precondition_representation){
        .exists = exists,
        .tagged = exists && ctx->tag.known,
        .tag = {.opaque = span_str(ctx->tag.opaque), .weak = ctx->tag.weak},
        /* The application may stand behind mod_etag itself. */
        .coded_variants = ctx->tag.kind != ENTRY_UPSTREAM || entity_tag_is_ours(span_str(ctx->tag.opaque)),
    };
}

/* 304 before 200 before 412: the secret under which a GET fares best is the one its sender meant. */
static bool judge_best(void *arg, const struct precondition_request *req, const struct precondition_representation *rep)
{
    struct precondition_outcome *best = arg, outcome = precondition_evaluate(req, rep);

    if (outcome.result == PRECONDITION_NOT_MODIFIED || best->result == PRECONDITION_FAILED)
        *best = outcome;
    return best->result == PRECONDITION_NOT_MODIFIED;
}

enum precondition_result tag_evaluate(struct etag_request *ctx, request_rec *r, struct precondition_date modified)
{
    struct precondition_request req;
    struct precondition_outcome best = {.result = PRECONDITION_FAILED};
    struct precondition_representation rep = representation(ctx, true);

    rep.coding = request_coding(r);
    rep.modified = modified;
    request_precondition(r, &ctx->saved, &req);
    under_any_secret(ctx, r, &rep, &req, judge_best, &best);
    ctx->matched = best.matched;
    ctx->matched_coding = best.matched_coding;
    ctx->part = best.range;
    return best.result;
}

static bool judge_holds(void *wanted, const struct precondition_request *req,
                        const struct precondition_representation *rep)
{
    return precondition_evaluate(req, rep).result == *(const enum precondition_result *)wanted;
}

/* What a write is judged against: the base, also where the mod_etag behind us has coded the body. */
static struct precondition_representation written(const struct etag_request *ctx, bool exists)
{
    struct precondition_representation rep = representation(ctx, exists);
    struct entity_tag base;
    enum coding coding;

    if (rep.tagged && !rep.coded_variants && coding_split(&rep.tag, &base, &coding)) {
        rep.tag = base;
        rep.coded_variants = true;
    }
    return rep;
}

bool tag_dates_write(const struct etag_request *ctx, request_rec *r)
{
    struct precondition_representation rep = {.exists = true, .modified = ctx->modified};
    struct precondition_request req;

    request_precondition(r, &ctx->saved, &req);
    req = (struct precondition_request){
        .method = PRECONDITION_UNSAFE, .if_unmodified_since = req.if_unmodified_since, .now = req.now};
    return precondition_evaluate(&req, &rep).result == PRECONDITION_PROCEED;
}

bool tag_permits_write(struct etag_request *ctx, request_rec *r, bool exists)
{
    enum precondition_result proceed = PRECONDITION_PROCEED, failed = PRECONDITION_FAILED;
    struct precondition_representation rep = written(ctx, exists);
    struct precondition_request req, one;

    request_precondition(r, &ctx->saved, &req);
    /* Each field for itself: If-Match must hold under some secret, If-None-Match must fail under none. */
    one = (struct precondition_request){.method = PRECONDITION_UNSAFE, .if_match = req.if_match, .now = req.now};
    if (one.if_match.present && !under_any_secret(ctx, r, &rep, &one, judge_holds, &proceed))
        return false;
    rep = written(ctx, exists);
    one = (struct precondition_request){
        .method = PRECONDITION_UNSAFE, .if_none_match = req.if_none_match, .now = req.now};
    return !one.if_none_match.present || !under_any_secret(ctx, r, &rep, &one, judge_holds, &failed);
}
