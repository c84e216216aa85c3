/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/publish.h"

#include <apr_strings.h>

#include "etagd/lib/flight.h"
#include "etagd/lib/scope.h"
#include "mod_etag/hash.h"
#include "mod_etag/learn.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"

APLOG_USE_MODULE(etag);

#define POSITION_END 4 /* of the arguments: what follows the position is what is said */
#define PATIENCE_NS INT64_C(1000000000) /* beyond ETagTimeout: then who claimed a publication is gone */

struct coverage {
    const struct table *table;
    const struct table_copy *copy;
    bool whole;
};

static void check_scope(void *arg, struct span scope)
{
    struct coverage *c = arg;

    /* The others follow from the key, and name its host as etagd does (etagd/hosts.h). */
    if (scope.p[0] != 'T' && scope.p[0] != 'G')
        return;
    c->whole = c->whole && table_has_scope(c->table, c->copy, scope);
}

/* Whether what invalidates this response voids the record as well: a page may get another tag and keep its
 * body. */
static bool covers(const struct etag_request *ctx, const struct table *t, const struct table_copy *copy)
{
    struct coverage c = {.table = t, .copy = copy, .whole = true};

    return scope_each_of_key(span_of(ctx->key.text, ctx->key.n), ctx->tags->at, ctx->tags->n, ctx->groups->at,
                             ctx->groups->n, check_scope, &c) &&
           c.whole;
}

/* A 304 repeats the headers of the newest 200. */
static bool same_capsule(const struct etag_request *ctx, const struct table *t, const struct table_copy *copy)
{
    char capsule[CAPSULE_MAX];
    size_t n;

    return table_capsule(t, copy, capsule, &n) && span_eq(span_of(capsule, n), span_of(ctx->capsule, ctx->capsule_n));
}

/* What is to be said of a variant. */
struct saying {
    const char *names; /* that select it */
    const char *key; /* of the variant */
    struct span value; /* encoded entry */
};

/* Whether the table already says exactly this, or that this and other tags are in conflict: then there is
 * nothing to publish. */
static bool known_already(struct etag_request *ctx, const struct saying *as)
{
    const struct table *t = node_table(ctx->hold);
    enum table_result result;
    struct table_copy copy;
    uint8_t encoded[ENTRY_SIZE];
    size_t n;

    if (table_lookup(t, table_identify(t, span_of(ctx->key.text, ctx->key.n)), &copy) != TABLE_HIT ||
        copy.entry.kind != ENTRY_NAMES || !span_eq(copy.entry.tag, span_str(as->names)))
        return false;
    result = table_lookup(t, table_identify(t, span_str(as->key)), &copy);
    if (result != TABLE_HIT && result != TABLE_CONFLICT)
        return false;
    copy.entry.flags &= ~ENTRY_CONFLICT;
    n = entry_encode(encoded, sizeof encoded, &copy.entry);
    return span_eq(span_of((const char *)encoded, n), as->value) &&
           (result == TABLE_CONFLICT || (covers(ctx, t, &copy) && same_capsule(ctx, t, &copy)));
}

/* A tag made from a name ends with it: another one of the same generation would contradict it. */
static uint64_t life_of(const struct etag_request *ctx)
{
    const uint64_t trust_ms = (uint64_t)ctx->control.trust / 1000;
    return ctx->generation.key && ctx->generation.life_ms < trust_ms ? ctx->generation.life_ms : trust_ms;
}

/* --- one at a time --- */

static struct flights *flights; /* of publications; NULL: no memory to share */

static apr_status_t free_flights(void *unused)
{
    (void)unused;
    flights_free(flights);
    flights = NULL;
    return APR_SUCCESS;
}

void publish_post_config(apr_pool_t *p, server_rec *s)
{
    flights = flights_new();
    if (!flights)
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "mod_etag: no memory to share: equal responses of a moment are published one by one");
    apr_pool_cleanup_register(p, NULL, free_flights, apr_pool_cleanup_null);
}

/* Whether this one is to say it. In doubt not: a publication that is missing costs a miss. */
static bool claim(const struct span *said, int n, int64_t budget_ns, struct flight *mine)
{
    struct digest *d = hash_thread();
    uint8_t id[DIGEST_SIZE], unused[DIGEST_SIZE];
    bool ok = d && digest_begin(d);

    for (int i = 0; i < n; i++)
        ok = ok && digest_field(d, said[i]);
    return ok && digest_final(d, id) &&
           flights_begin(flights, id, budget_ns + PATIENCE_NS, 0, mine, unused) == FLIGHT_MINE;
}

/* --- handing over --- */

/* What comes of one ETAG PUT, unless somebody else has just said the same. */
static struct redisReply *say(struct etag_request *ctx, request_rec *r, const struct span *argv, int n,
                              const struct saying *as)
{
    struct redisReply *reply = NULL;
    struct flight mine;

    if (flights && !claim(argv + POSITION_END, n - POSITION_END, ctx->budget_ns, &mine))
        return NULL;
    /* Who said it before may have ended meanwhile. */
    if (!known_already(ctx, as))
        reply = node_call(r->pool, n, argv, -1, &ctx->budget_ns);
    if (flights)
        flights_land(flights, &mine, NULL);
    return reply;
}

/* One ETAG PUT. NULL: done with; else the union of names to try again with. */
static const char *put(struct etag_request *ctx, request_rec *r, const char *names, struct span value)
{
    const char *variant = request_variant(r, ctx->dir, names), *rest = NULL;
    const struct saying as = {names, apr_pstrcat(r->pool, ctx->key.text, "#", variant, NULL), value};
    struct span argv[13 + 2 * LABELS_MAX];
    int n = 0;

    if (known_already(ctx, &as))
        return NULL;
    argv[n++] = SPAN_LITERAL("ETAG");
    argv[n++] = SPAN_LITERAL("PUT");
    argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)ctx->snapshot.generation));
    argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)ctx->snapshot.seq));
    argv[n++] = span_of(ctx->key.text, ctx->key.n);
    argv[n++] = span_str(variant);
    argv[n++] = span_str(names);
    argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)life_of(ctx)));
    argv[n++] = value;
    argv[n++] = span_of(ctx->capsule, ctx->capsule_n);
    n = learn_add_labels(argv, n, r->pool, ctx->tags);
    n = learn_add_labels(argv, n, r->pool, ctx->groups);
    struct redisReply *reply = say(ctx, r, argv, n, &as);
    return reply && node_reply_error(reply, "NAMES", &rest) ? rest : NULL;
}

void publish_learned(struct etag_request *ctx, request_rec *r)
{
    const char *names = request_names(r, ctx->dir, ""), *why = learn_refusal(ctx, r, names);
    const struct etag_selection *as = ctx->version.based    ? &ctx->version.selection
                                      : ctx->generation.key ? &ctx->generation.selection
                                                            : NULL;
    uint8_t value[ENTRY_SIZE];

    ctx->learn = false;
    if (why) {
        apr_table_setn(r->notes, "etag-not-learned", why);
        return;
    }
    const char *upstream = ctx->tag.kind == ENTRY_UPSTREAM ? tag_text(ctx, r) : NULL;
    const uint8_t *base = ctx->version.based ? ctx->version.base : ctx->tag.base;
    struct entry e = {
        .kind = ctx->version.based ? ENTRY_VERSION_BASE : ctx->tag.kind,
        .flags =
            (ctx->tag.weak ? ENTRY_WEAK : 0u) | (ctx->dir->ignore_query.kind != ETAG_NAMES_NONE ? ENTRY_ANY_QUERY : 0u),
        .last_modified = ENTRY_UNDATED,
        .tag = upstream ? span_str(upstream) : span_of((const char *)base, DIGEST_BASE_SIZE),
    };
    size_t n = entry_encode(value, sizeof value, &e);
    if (!n || !ctx->tags || life_of(ctx) < 1000)
        return;
    /* Another node may know more names: the second try uses the union, a third would mean a race. A tag that no
     * byte has a say in is the variant's for which it was made, and of no other. */
    if (as)
        names = as->names;
    for (int tries = 0; names && tries < (as ? 1 : 2); tries++)
        names = put(ctx, r, names, span_of((const char *)value, n));
}
