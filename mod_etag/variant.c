/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/variant.h"

#include <apr_atomic.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "etagd/lib/detection.h"
#include "etagd/lib/search.h"
#include "mod_etag/hash.h"
#include "mod_etag/mod_etag.h"

#define VARIANT_BYTES 12 /* 96 bits: 16 characters of base64url */

struct mix {
    struct digest *digest;
    bool ok;
};

static void mix_span(struct mix *m, struct span s)
{
    m->ok = m->ok && digest_field(m->digest, s);
}

static void mix_text(struct mix *m, const char *s)
{
    mix_span(m, span_str(s));
}

/* --- the selected resource --- */

static bool ignored(const struct etag_name_list *list, struct span parameter)
{
    const char *equals = parameter.n ? memchr(parameter.p, '=', parameter.n) : NULL;
    struct span name = equals ? span_of(parameter.p, (size_t)(equals - parameter.p)) : parameter;

    for (int i = 0; list->kind == ETAG_NAMES_LIST && i < list->names->nelts; i++)
        if (span_eq(name, APR_ARRAY_IDX(list->names, i, struct span)))
            return true;
    return list->kind == ETAG_NAMES_ALL || list->kind == ETAG_NAMES_LEARN;
}

/* The query of the resource. Rewriting may have put words of its own in front of the client's query
 * (QSA): those always count; ETagIgnoreQuery speaks of the client's alone. */
static void mix_query(struct mix *m, const char *args, struct span client, const struct etag_name_list *list)
{
    struct span own = span_str(args), rest = {NULL, 0};

    if (client.n && own.n >= client.n && span_eq(span_of(own.p + own.n - client.n, client.n), client) &&
        (own.n == client.n || own.p[own.n - client.n - 1] == '&')) {
        rest = client;
        own.n -= client.n;
    }
    mix_span(m, own);
    while (rest.n) {
        const char *end = memchr(rest.p, '&', rest.n);
        struct span parameter = span_of(rest.p, end ? (size_t)(end - rest.p) : rest.n);

        if (!ignored(list, parameter))
            mix_span(m, parameter);
        rest = span_of(rest.p + parameter.n + (end != NULL), rest.n - parameter.n - (end != NULL));
    }
    mix_text(m, "\n"); /* an end mark that no parameter can be */
}

/* Nodes may keep equal trees in different places: a file counts by its path below the document root. Not
 * below one that was chosen for this request (mod_vhost_alias): by what, an address perhaps, no key holds. */
static const char *below_document_root(request_rec *r, const char *name)
{
    const core_server_config *core = ap_get_core_module_config(r->server->module_config);
    const char *root = core->ap_document_root;

    if (!root || strcmp(root, ap_document_root(r)) != 0 || strncmp(name, root, strlen(root)) != 0)
        return name;
    return name + strlen(root);
}

static void mix_filename(struct mix *m, request_rec *r, struct span client, const struct etag_name_list *list)
{
    const char *name = r->filename;

    if (!name || strncmp(name, "proxy:", 6) != 0) {
        mix_text(m, name ? below_document_root(r, name) : NULL);
        return;
    }
    size_t n = strcspn(name, "?");
    mix_span(m, span_of(name, n));
    mix_query(m, name[n] ? name + n + 1 : NULL, client, list);
}

static bool select_resource(request_rec *r, const struct etag_dir *dir, uint8_t out[DIGEST_SIZE])
{
    struct mix m = {.digest = hash_thread()};
    const struct span query = request_target(r).query;

    m.ok = m.digest && digest_begin(m.digest);
    mix_text(&m, r->handler);
    mix_text(&m, r->uri);
    mix_query(&m, r->args, query, &dir->ignore_query);
    mix_filename(&m, r, query, &dir->ignore_query);
    return m.ok && digest_final(m.digest, out);
}

void variant_select(request_rec *r, const struct etag_dir *dir)
{
    struct etag_request *ctx = etag_request(r);
    uint8_t *selected;

    if (!ctx || ctx->selected)
        return;
    selected = apr_palloc(r->pool, DIGEST_SIZE);
    if (select_resource(r, dir, selected))
        ctx->selected = selected;
}

/* --- names --- */

bool variant_next_name(const char **names, struct span *name)
{
    size_t n;

    while (**names == ',')
        ++*names;
    n = strcspn(*names, ",");
    *name = span_of(*names, n);
    *names += n;
    return n > 0;
}

bool variant_has_name(const char *names, const char *name)
{
    struct span each;

    while (names && variant_next_name(&names, &each))
        if (span_eq(each, span_str(name)))
            return true;
    return false;
}

static bool add_name(apr_array_header_t *list, const char *name, bool coded)
{
    if (strcmp(name, "*") == 0 || !*name || *ap_scan_http_token(name))
        return false;
    /* Codings that we make are told apart by the tag's suffix; the tag of a body that arrived coded does
     * not say in which. */
    if (coded || strcmp(name, "accept-encoding") != 0)
        APR_ARRAY_PUSH(list, const char *) = name;
    return true;
}

static bool add_names_of_vary(request_rec *r, apr_array_header_t *list)
{
    const struct etag_request *ctx = etag_request(r);
    const char *vary = request_response_header(r, "Vary");

    while (vary && *vary) {
        size_t n = strcspn(vary, ",");
        struct span name = span_trim(span_of(vary, n));
        char *lower = apr_pstrmemdup(r->pool, name.p, name.n);

        ap_str_tolower(lower);
        if (name.n && !add_name(list, lower, ctx && ctx->coded_in))
            return false;
        vary += n + (vary[n] == ',');
    }
    return true;
}

/* Every response says on which part of the query it depends, if only by saying nothing. */
static const char *name_of_search(request_rec *r)
{
    char *name = apr_palloc(r->pool, SEARCH_SIZE);

    search_name(span_str(request_response_header(r, "No-Vary-Search")), name);
    return name;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *request_names(request_rec *r, const struct etag_dir *dir, const char *known)
{
    apr_array_header_t *list = apr_array_make(r->pool, 8, sizeof(const char *));
    struct span name;

    if (!add_names_of_vary(r, list))
        return NULL;
    for (int i = 0; dir->vary && i < dir->vary->nelts; i++) {
        const char *own = APR_ARRAY_IDX(dir->vary, i, const char *);
        if (strcmp(own, "accept-encoding") != 0)
            APR_ARRAY_PUSH(list, const char *) = own;
    }
    if (dir->ignore_query.kind == ETAG_NAMES_LEARN)
        APR_ARRAY_PUSH(list, const char *) = name_of_search(r);
    while (variant_next_name(&known, &name))
        APR_ARRAY_PUSH(list, const char *) = apr_pstrmemdup(r->pool, name.p, name.n);
    qsort(list->elts, (size_t)list->nelts, sizeof(const char *), compare_names);
    int kept = 0;
    for (int i = 0; i < list->nelts; i++)
        if (!kept || strcmp(APR_ARRAY_IDX(list, i, const char *), APR_ARRAY_IDX(list, kept - 1, const char *)) != 0)
            APR_ARRAY_IDX(list, kept++, const char *) = APR_ARRAY_IDX(list, i, const char *);
    list->nelts = kept;
    return kept ? apr_array_pstrcat(r->pool, list, ',') : "";
}

/* --- variant --- */

bool variant_next_cookie(const char **field, struct span *name, struct span *value)
{
    const char *p = *field + strspn(*field, ";, \t");
    size_t n = strcspn(p, ";,"), equals = strcspn(p, "=;,");

    if (!*p)
        return false;
    *name = span_trim(span_of(p, equals));
    *value =
        p[equals] == '=' ? span_trim(span_of(p + equals + 1, strcspn(p + equals + 1, ";"))) : (struct span){NULL, 0};
    *field = p + n;
    return true;
}

struct cookie_of {
    struct mix *mix;
    struct span name;
};

static int mix_cookie(void *rec, const char *key, const char *field)
{
    struct cookie_of *of = rec;
    struct span name, value;

    (void)key;
    while (variant_next_cookie(&field, &name, &value))
        if (span_eq_nocase(name, of->name)) {
            mix_span(of->mix, name);
            mix_span(of->mix, value);
        }
    return 1;
}

static int mix_line(void *rec, const char *key, const char *value)
{
    (void)key;
    mix_text(rec, value);
    return 1;
}

/* A name, its values, and an end mark that no value can be (fields hold no line feed): absent differs
 * from empty, and two lines from one. */
static void mix_field(struct mix *m, request_rec *r, struct span name)
{
    const struct span cookie = SPAN_LITERAL(VARIANT_COOKIE);

    mix_span(m, name);
    if (span_starts(name, cookie)) {
        struct cookie_of of = {.mix = m, .name = span_of(name.p + cookie.n, name.n - cookie.n)};
        apr_table_do(mix_cookie, &of, r->headers_in, "Cookie", NULL);
    } else if (span_starts(name, SPAN_LITERAL(SEARCH_NAME))) {
        const struct request_target target = request_target(r);
        m->ok = m->ok && search_digest(m->digest, name, target.query, target.has_query);
    } else {
        apr_table_do(mix_line, m, r->headers_in, apr_pstrmemdup(r->pool, name.p, name.n), NULL);
    }
    mix_text(m, "\n");
}

static bool hash_variant(request_rec *r, const struct etag_dir *dir, const char *names, uint8_t out[DIGEST_SIZE])
{
    const struct etag_server *server = etag_server_of(r->server);
    const struct etag_request *ctx = etag_request(r);
    struct mix m = {.digest = hash_thread()};
    struct span name;

    variant_select(r, dir);
    if (!ctx || !ctx->selected || !dir->policy_known || !m.digest)
        return false;
    m.ok = digest_begin(m.digest);
    mix_span(&m, span_of((const char *)dir->policy, sizeof dir->policy));
    mix_text(&m, server->base_host ? "base" : server->told_apart_by);
    mix_span(&m, span_of((const char *)ctx->selected, DIGEST_SIZE));
    while (variant_next_name(&names, &name))
        mix_field(&m, r, name);
    return m.ok && digest_final(m.digest, out);
}

const char *request_variant(request_rec *r, const struct etag_dir *dir, const char *names)
{
    static apr_uint32_t serial;
    uint8_t sum[DIGEST_SIZE];
    char *text;

    /* Nothing may be found or stored under a digest that could not be made: "!" is not base64url. */
    if (!hash_variant(r, dir, names, sum))
        return apr_psprintf(r->pool, "!%" APR_PID_T_FMT ".%" APR_TIME_T_FMT ".%u", getpid(), apr_time_now(),
                            (unsigned)apr_atomic_inc32(&serial));
    text = apr_palloc(r->pool, (VARIANT_BYTES * 4 + 2) / 3 + 1);
    digest_base64url(sum, VARIANT_BYTES, text);
    return dir->engine == ETAG_ENGINE_ON ? text : apr_pstrcat(r->pool, DETECTION_VARIANT, text, NULL);
}
