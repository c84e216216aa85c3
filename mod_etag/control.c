/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/control.h"

#include "etagd/lib/structured.h"
#include "mod_etag/request.h"

#define LONGEST APR_TIME_C(31536000) /* a year, in seconds; etagd keeps nothing that long */

/* A directive stands there, with whatever value: of those that forbid, none makes sense as false or as a number. */
static bool names(struct span field, struct span directive)
{
    struct structured value;
    return structured_member(field, directive, &value) == STRUCTURED_FOUND;
}

/* RFC 9111 4.2.1: freshness that is no number of seconds is none. False: the directive is not there. */
static bool lifetime(struct span field, struct span directive, apr_interval_time_t *out)
{
    struct structured value;

    if (structured_member(field, directive, &value) != STRUCTURED_FOUND)
        return false;
    *out = 0;
    if (value.type == STRUCTURED_INTEGER && value.number > 0)
        *out = (value.number < LONGEST ? value.number : LONGEST) * APR_USEC_PER_SEC;
    return true;
}

static bool targeted(struct span field, struct control *out)
{
    struct structured value;
    enum structured_result is = structured_member(field, SPAN_LITERAL("public"), &value);

    if (is == STRUCTURED_MALFORMED || is == STRUCTURED_EMPTY)
        return false;
    out->is_public = is == STRUCTURED_FOUND && value.type == STRUCTURED_BOOLEAN && value.number;
    out->forbids = names(field, SPAN_LITERAL("no-store")) || names(field, SPAN_LITERAL("private")) ||
                   names(field, SPAN_LITERAL("no-cache"));
    /* We answer many users: as in any shared cache s-maxage goes before max-age. */
    if (!lifetime(field, SPAN_LITERAL("s-maxage"), &out->trust))
        lifetime(field, SPAN_LITERAL("max-age"), &out->trust);
    return true;
}

struct control control_of(request_rec *r, const struct etag_dir *dir)
{
    const char *text = request_response_header(r, CONTROL_TARGETED);
    struct control control = {.trust = dir->ttl};

    if (text && targeted(span_str(text), &control))
        return control;
    text = request_response_header(r, "Cache-Control");
    if (text) {
        control.forbids = ap_find_token(r->pool, text, "no-store") || ap_find_token(r->pool, text, "private");
        control.is_public = ap_find_token(r->pool, text, "public");
    }
    return control;
}

void control_strip(request_rec *r)
{
    apr_table_unset(r->headers_out, CONTROL_TARGETED);
    apr_table_unset(r->err_headers_out, CONTROL_TARGETED);
}
