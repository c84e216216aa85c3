/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/learn.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "etagd/lib/httpdate.h"
#include "mod_etag/labels.h"
#include "mod_etag/node.h"
#include "mod_etag/variant.h"

/* --- the header capsule --- */

/* Expires is kept as a distance from Date, so that it does not age in the store. */
#define EXPIRES_DELTA "expires-delta"

/* RFC 9110 15.4.5, CORS (a 304 without them makes browsers refuse the stored 200), and Content-Type,
 * which mod_expires asks for and which no 304 carries. */
static const char *const repeated[] = {"Cache-Control",
                                       "Content-Location",
                                       "Vary",
                                       "Access-Control-Allow-Origin",
                                       "Access-Control-Allow-Credentials",
                                       "Access-Control-Expose-Headers",
                                       "Timing-Allow-Origin",
                                       "Cross-Origin-Resource-Policy"};

static bool keep_expires(struct etag_request *ctx, request_rec *r)
{
    int64_t now = apr_time_sec(r->request_time), date, expires;
    const char *text = request_response_header(r, "Expires"), *from = request_response_header(r, "Date");
    char delta[24];

    if (!text)
        return true;
    if (!from || !httpdate_parse(span_str(from), now, &date))
        date = now;
    /* "0" and other invalid dates mean already expired (RFC 9111 5.3). */
    if (!httpdate_parse(span_str(text), now, &expires))
        expires = date;
    apr_snprintf(delta, sizeof delta, "%" APR_INT64_T_FMT, (apr_int64_t)(expires - date));
    return capsule_add(ctx->capsule, &ctx->capsule_n, SPAN_LITERAL(EXPIRES_DELTA), span_str(delta));
}

bool learn_capsule(struct etag_request *ctx, request_rec *r)
{
    bool fits = true;

    ctx->capsule_n = 0;
    for (size_t i = 0; i < sizeof repeated / sizeof *repeated && fits; i++) {
        const char *value = request_response_header(r, repeated[i]);
        if (value)
            fits = capsule_add(ctx->capsule, &ctx->capsule_n, span_str(repeated[i]), span_str(value));
    }
    if (fits && r->content_type)
        fits = capsule_add(ctx->capsule, &ctx->capsule_n, SPAN_LITERAL("Content-Type"), span_str(r->content_type));
    /* A 304 without a header that the 200 had would be wrong: then the response is not learned. */
    return fits && keep_expires(ctx, r);
}

void learn_replay(request_rec *r, const char *capsule, size_t n)
{
    struct span rest = {capsule, n}, name, value;

    while (capsule_next(&rest, &name, &value)) {
        const char *key = apr_pstrmemdup(r->pool, name.p, name.n);
        const char *text = apr_pstrmemdup(r->pool, value.p, value.n);

        if (strcmp(key, "Content-Type") == 0) {
            ap_set_content_type(r, text);
        } else if (strcmp(key, EXPIRES_DELTA) == 0) {
            char *date = apr_palloc(r->pool, HTTPDATE_SIZE);
            httpdate_format(apr_time_sec(r->request_time) + apr_atoi64(text), date);
            apr_table_setn(r->headers_out, "Expires", date);
        } else if (strcasecmp(key, "Vary") == 0 && apr_table_get(r->err_headers_out, key)) {
            apr_table_mergen(r->err_headers_out, key, text); /* negotiation has put its own there */
        } else {
            apr_table_setn(r->headers_out, key, text);
        }
    }
}

/* --- what is known --- */

/* Asks etagd, within the budget, to bring a record of the shared store into the table. */
static bool fetch(struct etag_request *ctx, request_rec *r, struct span key)
{
    struct span argv[] = {SPAN_LITERAL("ETAG"), SPAN_LITERAL("FETCH"), key};
    struct redisReply *reply = node_call(r->pool, 3, argv, -1, &ctx->budget_ns);
    return reply && node_reply_true(reply);
}

enum table_result learn_known(struct etag_request *ctx, request_rec *r, struct span key, struct table_copy *out)
{
    const struct table *t = node_table(ctx->hold);
    struct table_id id = table_identify(t, key);
    enum table_result result = table_lookup(t, id, out);

    if (result == TABLE_VOID) {
        node_void(ctx->hold);
        return result;
    }
    /* A conflict is as good as an answer of the store's: the handler has to say. */
    if (result != TABLE_HIT && result != TABLE_CONFLICT && fetch(ctx, r, key))
        result = table_lookup(t, id, out);
    return result;
}

/* --- what may be stored --- */

const char *learn_refusal(struct etag_request *ctx, request_rec *r, const char *names)
{
    const char *origin = request_response_header(r, "Access-Control-Allow-Origin");

    if (!names)
        return "Vary: *";
    if (request_response_header(r, "Set-Cookie"))
        return "Set-Cookie";
    if (ctx->control.forbids)
        return "Cache-Control";
    if (request_has_credentials(r, ctx->dir, names) && !ctx->control.is_public)
        return "credentials";
    /* The answer to one origin must not be repeated to another. */
    if (origin && strcmp(origin, "*") != 0 && !variant_has_name(names, "origin"))
        return "Access-Control-Allow-Origin without Vary: Origin";
    return NULL;
}

/* --- tags and groups --- */

void learn_strip_headers(const struct etag_dir *dir, request_rec *r)
{
    control_strip(r);
    for (int i = 0; dir->group_headers && i < dir->group_headers->nelts && dir->group_headers_strip; i++) {
        const char *name = APR_ARRAY_IDX(dir->group_headers, i, const char *);
        if (strcasecmp(name, "Cache-Groups") != 0) { /* RFC 9875: it is for every cache on the way */
            apr_table_unset(r->headers_out, name);
            apr_table_unset(r->err_headers_out, name);
        }
    }
}

/* What could not be taken belongs to the scope that every tag's and group's invalidation covers. */
static void note_incomplete(struct labels *tags, const struct labels *groups)
{
    if (tags->incomplete || groups->incomplete)
        tags->at[tags->n < LABELS_MAX ? tags->n++ : LABELS_MAX - 1] = SPAN_LITERAL("*");
}

static void read_labels(struct etag_request *ctx, request_rec *r)
{
    const struct etag_dir *dir = ctx->dir;
    const char *error = NULL;
    struct labels *tags = ctx->tags = apr_pcalloc(r->pool, sizeof *tags);
    struct labels *groups = ctx->groups = apr_pcalloc(r->pool, sizeof *groups);

    for (int i = 0; dir->groups && i < dir->groups->nelts; i++)
        labels_words(tags, APR_ARRAY_IDX(dir->groups, i, const char *));
    if (dir->groups_expr) {
        const char *text = ap_expr_str_exec(r, dir->groups_expr, &error);
        if (text && !error)
            labels_words(tags, text);
        else
            tags->incomplete = true;
    }
    for (int i = 0; dir->group_headers && i < dir->group_headers->nelts; i++) {
        const char *name = APR_ARRAY_IDX(dir->group_headers, i, const char *);
        const char *text = request_response_header(r, name);
        if (text && strcasecmp(name, "Cache-Groups") == 0)
            labels_strings(groups, r->pool, text);
        else if (text)
            labels_words(tags, text);
    }
    note_incomplete(tags, groups);
}

void learn_headers(struct etag_request *ctx, request_rec *r)
{
    read_labels(ctx, r);
    ctx->control = control_of(r, ctx->dir);
}

int learn_add_labels(struct span *argv, int n, apr_pool_t *p, const struct labels *l)
{
    argv[n++] = span_str(apr_psprintf(p, "%" APR_SIZE_T_FMT, l->n));
    for (size_t i = 0; i < l->n; i++)
        argv[n++] = l->at[i];
    return n;
}
