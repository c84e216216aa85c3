/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/probe.h"

#include <apr_strings.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>

#include "mod_etag/body.h"
#include "mod_etag/field.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/modified.h"
#include "mod_etag/node.h"
#include "mod_etag/tag.h"

#define PROBE_KEY "etag-probe" /* of the subrequest's pool: a nested subrequest has another one */

struct probe {
    struct etag_request seen; /* what the GET would know: its directory's configuration, its tag */
    struct digest *digest;
    apr_off_t hashed;
    bool begun, hashing;
    bool endless; /* a stream, which was stopped */
    bool versioned; /* whether it has the tag that is excluded is known before the handler only */
    bool complete, broken;
    bool dated; /* the table may be believed, and the date of a file is wanted */
};

static ap_filter_rec_t *probe_handle, *no_content_handle, *sink_handle;

static struct probe *probe_of(request_rec *sub)
{
    void *found = NULL;
    return apr_pool_userdata_get(&found, PROBE_KEY, sub->pool) == APR_SUCCESS ? found : NULL;
}

/* --- the body --- */

static void begin_hashing(struct probe *p, request_rec *sub)
{
    p->digest = body_digest(sub->pool);
    p->hashing = p->digest != NULL;
    p->broken = !p->hashing;
}

static void tag_from_bytes(struct probe *p, request_rec *sub, const uint8_t content[DIGEST_SIZE])
{
    if (!tag_from_content(&p->seen, sub, ENTRY_DIGEST, span_of((const char *)content, DIGEST_SIZE), false))
        p->seen.tag.known = false;
}

static void by_digest(struct probe *p, request_rec *sub, apr_bucket_brigade *bb)
{
    uint8_t content[DIGEST_SIZE];
    apr_os_file_t fd;
    apr_off_t size;
    int64_t mtime;

    if (body_whole_file(bb, &fd, &size) &&
        file_digest_get(&p->seen, sub, fd, size, content, &mtime) == FILE_DIGEST_KNOWN) {
        tag_from_bytes(p, sub, content);
        if (p->dated && p->seen.file)
            modified_of_file(&p->seen, sub, content, mtime);
    } else if (request_streams(sub) && !p->seen.file)
        p->endless = true;
    else
        begin_hashing(p, sub);
}

/* The same order of sources as for a response (in.c). A body too long to be held back has no tag there, but is
 * hashed to its end here: another node, or another configuration, may have given it one. */
static void begin(struct probe *p, ap_filter_t *f, apr_bucket_brigade *bb)
{
    struct etag_request *seen = &p->seen;
    request_rec *sub = f->r;
    apr_os_file_t fd;
    apr_off_t size;

    seen->dir = etag_dir_of(sub);
    if (seen->dir->engine != ETAG_ENGINE_ON || apr_table_get(sub->subprocess_env, "no-etag"))
        return;
    seen->coded_in = sub->content_encoding ? sub->content_encoding : request_response_header(sub, "Content-Encoding");
    if (!request_filters_known(f->next)) {
        tag_from_headers(seen, sub, ETAG_SOURCE_UPSTREAM);
        return;
    }
    if (seen->file && body_whole_file(bb, &fd, &size)) {
        by_digest(p, sub, bb);
        return;
    }
    for (size_t i = 0; i < ETAG_SOURCES && seen->dir->source[i]; i++) {
        if (tag_from_headers(seen, sub, seen->dir->source[i]))
            return;
        p->versioned |= seen->dir->source[i] == ETAG_SOURCE_VERSION && seen->dir->version_expr;
        if (seen->dir->source[i] == ETAG_SOURCE_DIGEST) {
            by_digest(p, sub, bb);
            return;
        }
    }
}

static void hash(struct probe *p, apr_bucket *b)
{
    const char *data;
    apr_size_t n;

    if (apr_bucket_read(b, &data, &n, APR_BLOCK_READ) != APR_SUCCESS || !digest_update(p->digest, data, n))
        p->broken = true;
    else
        p->hashed += (apr_off_t)n;
}

static void finish(struct probe *p, request_rec *sub)
{
    uint8_t content[DIGEST_SIZE];

    p->complete = true;
    if (!p->hashing)
        return;
    if (body_as_announced(sub, p->hashed) && digest_final(p->digest, content))
        tag_from_bytes(p, sub, content);
    else
        p->broken = true;
}

static apr_status_t probe_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    struct probe *p = f->ctx;

    if (!p->begun && f->r->status == HTTP_OK && !APR_BRIGADE_EMPTY(bb)) {
        p->begun = true;
        begin(p, f, bb);
    }
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BRIGADE_FIRST(bb)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b))
            p->broken = true;
        else if (APR_BUCKET_IS_EOS(b))
            finish(p, f->r);
        else if (!APR_BUCKET_IS_METADATA(b) && p->hashing)
            hash(p, b);
        apr_bucket_delete(b);
    }
    return p->endless ? APR_ECONNABORTED : APR_SUCCESS;
}

/* --- around the handler --- */

/* Handlers read a request's content whatever its method (mod_cgi), and a subrequest's filters lead to the main
 * request's: the write would find nothing left. */
static apr_status_t no_content(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode, apr_read_type_e block,
                               apr_off_t n)
{
    (void)mode;
    (void)block;
    (void)n;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(f->c->bucket_alloc));
    return APR_SUCCESS;
}

/* In the place of the client: error pages and mod_cache's hits pass by every filter of the content. */
static apr_status_t sink(ap_filter_t *f, apr_bucket_brigade *bb)
{
    (void)f;
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}

void probe_register(void)
{
    probe_handle = ap_register_output_filter("ETAG_PROBE", probe_filter, NULL, AP_FTYPE_CONTENT_SET - 3);
    no_content_handle = ap_register_input_filter("ETAG_PROBE_CONTENT", no_content, NULL, AP_FTYPE_RESOURCE - 10);
    sink_handle = ap_register_output_filter("ETAG_PROBE_SINK", sink, NULL, AP_FTYPE_PROTOCOL);
}

void probe_insert(request_rec *sub)
{
    struct probe *p = probe_of(sub);
    if (p) {
        ap_add_output_filter_handle(probe_handle, p, sub, sub->connection);
        ap_add_input_filter_handle(no_content_handle, NULL, sub, sub->connection);
    }
}

void probe_is_file(request_rec *sub)
{
    struct probe *p = probe_of(sub);
    if (p)
        p->seen.file = true;
}

/* --- the subrequest --- */

/* Fields that say something of the write, or that turn a GET into another method. */
static bool of_the_write(const char *name)
{
    static const char *const names[] = {"If",
                                        "Range",
                                        "Expect",
                                        "Transfer-Encoding",
                                        "Trailer",
                                        "Upgrade",
                                        "Prefer",
                                        "Lock-Token",
                                        "Destination",
                                        "Overwrite",
                                        "Depth",
                                        "Timeout",
                                        "Idempotency-Key",
                                        "X-HTTP-Method",
                                        "X-HTTP-Method-Override",
                                        "X-Method-Override",
                                        "Cache-Control",
                                        "Pragma"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return strncasecmp(name, "If-", 3) == 0 || strncasecmp(name, "Content-", 8) == 0;
}

static apr_table_t *plain_fields(request_rec *r)
{
    const apr_array_header_t *all = apr_table_elts(r->headers_in);
    apr_table_t *plain = apr_table_make(r->pool, all->nelts);

    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *e = &((const apr_table_entry_t *)(void *)all->elts)[i];
        if (!of_the_write(e->key))
            apr_table_addn(plain, e->key, e->val);
    }
    /* What a cache holds is not current. */
    apr_table_setn(plain, "Cache-Control", "no-cache");
    return plain;
}

/* httpd checks a subrequest in the same section no second time, whatever its method. Who it is was established for
 * the write. */
static bool may_get(request_rec *r, request_rec *sub)
{
    if (sub->per_dir_config != r->per_dir_config)
        return true;
    bool any = ap_satisfies(sub) == SATISFY_ANY, admitted = ap_run_access_checker(sub) == OK;
    if (admitted == any)
        return admitted;
    int rv = ap_run_access_checker_ex(sub);
    return rv == OK || (rv == DECLINED && sub->user && ap_run_auth_checker(sub) == OK);
}

/* httpd gives a subrequest neither port nor protocol, which scripts are told. No proto_num: below 1.1 httpd sends no
 * interim response, and this one's would pass by every filter. */
static void be_like_a_request(const request_rec *r, request_rec *sub)
{
    sub->parsed_uri.port = request_first(r)->parsed_uri.port;
    sub->parsed_uri.port_str = request_first(r)->parsed_uri.port_str;
    sub->protocol = r->protocol;
    sub->expecting_100 = 0;
}

/* The URL is the client's, also where the write has been redirected internally. */
static request_rec *look_up(request_rec *r)
{
    struct request_target target = request_target(r);
    const char *url =
        apr_psprintf(r->pool, "%.*s%s%.*s", (int)target.path.n, target.path.p, target.has_query ? "?" : "",
                     (int)target.query.n, target.query.n ? target.query.p : "");
    apr_table_t *fields = r->headers_in;

    r->headers_in = plain_fields(r); /* copied before rules of rewriting and the like look at them */
    request_rec *sub = ap_sub_req_method_uri("GET", url, r, NULL);
    r->headers_in = fields;
    be_like_a_request(r, sub);
    ap_filter_t *client = sub->proto_output_filters;
    ap_add_output_filter_handle(sink_handle, NULL, sub, sub->connection);
    if (sub->output_filters == client)
        sub->output_filters = sub->proto_output_filters;
    return sub;
}

/* Its final status. Not ap_run_sub_req: that would ask mod_cache first. */
static int run(request_rec *sub)
{
    int rv = ap_invoke_handler(sub);

    ap_finalize_sub_req_protocol(sub);
    if (rv != OK && rv != DONE)
        return ap_is_HTTP_VALID_RESPONSE(rv) ? rv : HTTP_INTERNAL_SERVER_ERROR;
    while (sub->next)
        sub = sub->next;
    return sub->status;
}

static enum probe_result result_of(const struct probe *p, int status)
{
    if (p->endless || (p->versioned && field_names_version(p->seen.saved.if_none_match)))
        return PROBE_UNREAD;
    switch (status) {
    case HTTP_OK:
        return p->complete && !p->broken ? PROBE_PRESENT : PROBE_FAILED;
    case HTTP_NOT_FOUND:
    case HTTP_GONE:
        return PROBE_ABSENT;
    case HTTP_REQUEST_TIME_OUT:
    case HTTP_TOO_MANY_REQUESTS:
        return PROBE_FAILED;
    default:
        return status < 500 ? PROBE_DENIED : PROBE_FAILED;
    }
}

/* The GET that was looked up; it is over then. */
static enum probe_result ask(struct etag_request *ctx, request_rec *r, request_rec *sub)
{
    struct probe *p = apr_pcalloc(sub->pool, sizeof *p);
    enum probe_result result;
    int status = sub->status;

    if (!ctx->hold && modified_asked(&ctx->saved))
        ctx->hold = node_hold(r->pool, &ctx->budget_ns);
    p->dated = ctx->hold && modified_asked(&ctx->saved);
    if (!ctx->hold)
        ctx->hold = node_hold_files(r->pool);
    p->seen = *ctx;
    if (status == HTTP_OK && !may_get(r, sub))
        status = HTTP_FORBIDDEN;
    if (status == HTTP_OK) {
        apr_pool_userdata_setn(p, PROBE_KEY, NULL, sub->pool);
        status = run(sub);
    }
    result = result_of(p, status);
    ctx->tag = p->seen.tag;
    ctx->modified = p->seen.modified;
    ctx->tag.opaque = ctx->tag.known ? apr_pstrdup(r->pool, ctx->tag.opaque) : NULL;
    ap_destroy_sub_req(sub);
    return result;
}

enum probe_result probe_current(struct etag_request *ctx, request_rec *r)
{
    ctx->tag.known = false;
    return ask(ctx, r, look_up(r));
}

bool probe_file(struct etag_request *ctx, request_rec *r)
{
    request_rec *sub = look_up(r);

    ctx->tag.known = false;
    if (sub->status != HTTP_OK || !request_is_file(sub) || etag_dir_of(sub)->engine != ETAG_ENGINE_ON ||
        etag_dir_of(sub)->last_modified != ETAG_LAST_MODIFIED_AGREE) {
        ap_destroy_sub_req(sub);
        return false;
    }
    /* Whatever becomes of the GET: a date that cannot be told now leaves doubt. */
    if (ask(ctx, r, sub) != PROBE_PRESENT || ctx->modified.is != PRECONDITION_NAMED)
        ctx->modified = (struct precondition_date){.is = PRECONDITION_WITHHELD};
    return true;
}
