/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/seal.h"

#include <apr_strings.h>

#include "mod_etag/mod_etag.h"
#include "mod_etag/tag.h"

static bool admitted(request_rec *r, enum coding c)
{
    const char *accepted = request_lines(r, r->headers_in, "Accept-Encoding");

    return coding_accepted(span_str(accepted), accepted != NULL, c);
}

static const char *tag_of(request_rec *r, const struct entity_tag *tag)
{
    return apr_psprintf(r->pool, "%s\"%.*s\"", tag->weak ? "W/" : "", (int)tag->opaque.n,
                        tag->opaque.n ? tag->opaque.p : "");
}

/* A list without any sealed tag is the client's own text, and stays it. */
static bool unseal_field(request_rec *r, const char *name, bool only_admitted)
{
    const char *field = request_lines(r, r->headers_in, name);
    apr_array_header_t *members = apr_array_make(r->pool, 4, sizeof(const char *));
    struct entity_tag_list list;
    struct entity_tag tag, base;
    enum coding coding;
    bool sealed = false;

    if (!field)
        return false;
    entity_tag_list_start(&list, span_str(field));
    while (entity_tag_list_next(&list, &tag)) {
        if (coding_unseal(&tag, &base, &coding)) {
            sealed = true;
            if (only_admitted && !admitted(r, coding))
                continue;
        }
        APR_ARRAY_PUSH(members, const char *) = tag_of(r, &base);
    }
    if (!sealed)
        return false;
    if (members->nelts)
        apr_table_setn(r->headers_in, name, apr_array_pstrcat(r->pool, members, ','));
    else
        apr_table_unset(r->headers_in, name);
    return true;
}

bool seal_open_conditionals(request_rec *r)
{
    bool match = unseal_field(r, "If-Match", false);

    return unseal_field(r, "If-None-Match", r->method_number == M_GET) || match;
}

void seal_answer(struct etag_request *ctx, request_rec *r)
{
    const char *own = request_response_header(r, "ETag");

    if (!own || !ctx->saved.if_none_match || !tag_from_upstream(ctx, r, own))
        return;
    if (tag_evaluate(ctx, r, (struct precondition_date){.is = PRECONDITION_UNDATED}) == PRECONDITION_NOT_MODIFIED &&
        ctx->matched_coding != CODING_IDENTITY)
        return;
    /* It was the application's own tag that matched, or a date: its answer stands as it is. */
    ctx->tag.known = false;
    ctx->matched = (struct entity_tag){.weak = false};
    ctx->matched_coding = CODING_IDENTITY;
}

void seal_tag(struct etag_request *ctx, request_rec *r)
{
    const char *shown = apr_table_get(r->headers_out, "ETag"), *name;
    struct span opaque, suffix;
    struct entity_tag tag;
    enum coding coding;
    size_t size;
    char *text;

    /* A tag of our form (of a mod_etag behind us) needs no seal. */
    if (!ctx->tag.known || ctx->tag.kind != ENTRY_UPSTREAM || !shown || entity_tag_is_ours(span_str(ctx->tag.opaque)))
        return;
    name = apr_table_get(r->headers_out, "Content-Encoding");
    if (!coding_parse(span_str(name), &coding) || !entity_tag_parse(span_str(shown), &tag))
        return;
    opaque = span_str(ctx->tag.opaque);
    suffix = coding_suffix(coding);
    if (suffix.n == 0 || tag.opaque.n != opaque.n + suffix.n || !span_starts(tag.opaque, opaque) ||
        !span_eq(span_of(tag.opaque.p + opaque.n, suffix.n), suffix))
        return; /* not what mod_deflate and mod_brotli write: AlterETag, or Header set */
    size = tag.opaque.n + CODING_SEAL_ROOM;
    text = apr_palloc(r->pool, size);
    tag.opaque = span_of(text, coding_seal(text, size, opaque, coding));
    apr_table_setn(r->headers_out, "ETag", tag_of(r, &tag));
}
