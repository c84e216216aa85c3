/* SPDX-License-Identifier: Apache-2.0 */
/* Unsafe methods: their preconditions, before the handler. */
#include "mod_etag/early.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "mod_etag/field.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/modified.h"
#include "mod_etag/probe.h"
#include "mod_etag/seal.h"
#include "mod_etag/tag.h"

/* What httpd reads to its end after an error, to keep the connection, and before the error's last bytes leave. */
#define DISCARD_MAX (1 << 20)

static bool long_content(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && apr_atoi64(length) > DISCARD_MAX);
}

/* The write does not take place, and its content is not waited for. */
static int refuse(request_rec *r, int status, const char *why)
{
    etag_verdict(r, status == HTTP_PRECONDITION_FAILED ? "412" : "refused", why);
    if (status != HTTP_PRECONDITION_FAILED)
        apr_table_setn(r->err_headers_out, "Retry-After", "1");
    if (long_content(r))
        r->connection->keepalive = AP_CONN_CLOSE;
    return status;
}

/* The handler must not see the If-Match that was judged: it knows another tag, or none. Nor the date that
 * If-Match made void (RFC 9110 13.1.4). All else stays: what the handler judges besides can only refuse more.
 * Where the application's own tag was meant, its comparison at the time of the write is the better one. */
static void hide_from_write(const struct etag_request *ctx, request_rec *r)
{
    if (!field_names_ours(ctx->saved.if_match) || ctx->tag.kind == ENTRY_UPSTREAM)
        return;
    apr_table_unset(r->headers_in, "If-Match");
    apr_table_unset(r->headers_in, "If-Unmodified-Since");
}

/* mod_dav on a file that httpd serves: it knows no date but the present second, so that any date of the future
 * would permit the write and every other forbid it. */
static bool of_a_file_by_date(const struct etag_request *ctx, const request_rec *r)
{
    return ctx->saved.if_unmodified_since && !ctx->saved.if_match && r->finfo.filetype == APR_REG && r->handler &&
           strcmp(r->handler, "dav-handler") == 0 && ctx->dir->last_modified == ETAG_LAST_MODIFIED_AGREE;
}

/* OK: If-Unmodified-Since holds, or is none of ours. */
static int judge_date(struct etag_request *ctx, request_rec *r)
{
    struct key key;

    if (!of_a_file_by_date(ctx, r) || !probe_file(ctx, r))
        return OK;
    if (!tag_dates_write(ctx, r)) {
        bool later = ctx->modified.is == PRECONDITION_WITHHELD && request_file_key(r, &key);
        return refuse(r, later ? HTTP_SERVICE_UNAVAILABLE : HTTP_PRECONDITION_FAILED, "write by date");
    }
    etag_verdict(r, "precondition", "holds");
    apr_table_unset(r->headers_in, "If-Unmodified-Since");
    return OK;
}

int etag_early_write(request_rec *r)
{
    struct etag_request *ctx = etag_request(r);

    if (!ctx || !request_is_unsafe(r) || r->status != HTTP_OK || request_redirects(r) || request_opted_out(r) ||
        ctx->dir->engine != ETAG_ENGINE_ON)
        return DECLINED;
    request_read_conditionals(r, &ctx->saved);
    ctx->opened = seal_open_conditionals(r);
    /* False whatever the current tag is, and not every application would notice. */
    if (field_names_nothing(ctx->saved.if_match) || field_names_nothing(ctx->saved.if_none_match))
        return refuse(r, HTTP_PRECONDITION_FAILED, "write");
    /* Whether it is current cannot be told: a generation's name is no word about what a write would replace. */
    if (field_names_generation(ctx->saved.if_none_match))
        return refuse(r, HTTP_PRECONDITION_FAILED, "write");
    int refused = judge_date(ctx, r);
    if (refused != OK)
        return refused;
    if (!field_names_ours(ctx->saved.if_match) && !field_names_ours(ctx->saved.if_none_match))
        return DECLINED; /* the application's own tags, or none: its own business */
    enum probe_result current = probe_current(ctx, r);
    if (current == PROBE_FAILED)
        return refuse(r, HTTP_SERVICE_UNAVAILABLE, "the current representation is not known");
    if (current == PROBE_DENIED)
        return refuse(r, HTTP_PRECONDITION_FAILED, "a GET has no representation");
    /* It may be the one that is excluded. */
    if (current == PROBE_UNREAD && field_names_ours(ctx->saved.if_none_match))
        return refuse(r, HTTP_PRECONDITION_FAILED, "the current representation is not known");
    if (!tag_permits_write(ctx, r, current != PROBE_ABSENT))
        return refuse(r, HTTP_PRECONDITION_FAILED, "write");
    etag_verdict(r, "precondition", "holds");
    hide_from_write(ctx, r);
    return DECLINED;
}
