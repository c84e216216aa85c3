/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/detect.h"

#include <apr_strings.h>

#include "mod_etag/early.h"
#include "mod_etag/file_digest.h"
#include "mod_etag/modified.h"
#include "mod_etag/node.h"
#include "mod_etag/publish.h"
#include "mod_etag/shared.h"
#include "mod_etag/tag.h"
#include "mod_etag/version.h"
#include "mod_etag/write.h"

static const char *would_text(enum precondition_result result)
{
    return result == PRECONDITION_NOT_MODIFIED ? "would-304" : "would-412";
}

void detect_would(struct etag_request *ctx, request_rec *r, enum precondition_result result, const char *when)
{
    struct detection *d = ctx->detection;

    if (result == PRECONDITION_PROCEED || d->would != PRECONDITION_PROCEED)
        return;
    d->would = result;
    d->when = when;
    etag_verdict(r, would_text(result), when);
}

/* --- the tag, of a response that was sent --- */

/* NULL, or why there is no tag. */
static const char *tag_file(struct etag_request *ctx, request_rec *r)
{
    struct detection *d = ctx->detection;
    uint8_t digest[DIGEST_SIZE];
    int64_t mtime = ENTRY_UNDATED;
    enum file_digest_result result;

    ctx->tag.known = false;
    result = file_digest_get(ctx, r, d->fd, d->size, digest, &mtime);
    if (result == FILE_DIGEST_KNOWN)
        tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)digest, sizeof digest), false);
    if (ctx->file)
        modified_of_file(ctx, r, ctx->tag.known ? digest : NULL, mtime);
    return ctx->tag.known ? NULL : result == FILE_DIGEST_UNKNOWN ? "file being hashed" : "file not hashed";
}

static const char *tag_body(struct etag_request *ctx, request_rec *r)
{
    struct detection *d = ctx->detection;
    uint8_t content[DIGEST_SIZE];

    if (!d->ended || d->unread || (d->digest && d->announced >= 0 && d->announced != d->bytes))
        return "incomplete";
    if (d->digest && (!digest_final(d->digest, content) ||
                      !tag_from_content(ctx, r, ENTRY_DIGEST, span_of((const char *)content, sizeof content), false)))
        return "incomplete";
    return NULL;
}

/* Whether this response would have carried a tag; ctx->tag is it then. */
static bool tagged(struct etag_request *ctx, request_rec *r)
{
    struct detection *d = ctx->detection;

    if (!d->source)
        return false;
    if (!d->refused)
        d->refused = d->fd >= 0 ? tag_file(ctx, r) : tag_body(ctx, r);
    etag_verdict(r, d->refused ? "untagged" : "tagged", d->refused ? d->refused : d->source);
    if (ctx->tag.known || !ctx->saved.if_match)
        detect_would(ctx, r, tag_evaluate(ctx, r, modified_of_response(ctx, r)), "late");
    return ctx->tag.known && !d->refused;
}

/* --- the comparison --- */

/* With what is known of this request by now, from this node or another. A record that something voided while the
 * response was made is no longer known, and its 304 would have been right when it was given. */
static void compare(struct etag_request *ctx, request_rec *r)
{
    struct etag_request stored = *ctx;
    const char *why;
    const bool known = early_learned(&stored, r, &why);

    ctx->budget_ns = stored.budget_ns;
    if (!known)
        return;
    if (strcmp(tag_text(&stored, r), tag_text(ctx, r)) == 0) {
        shared_count(detected_same);
        return;
    }
    shared_count(detected_differing);
    if (ctx->detection->would == PRECONDITION_NOT_MODIFIED && strcmp(ctx->detection->when, "learned") == 0)
        shared_count(detected_304_wrong);
}

/* Versions that were not in the table. The engine, On, would have asked for them before the handler, so that this
 * response had another tag; the next one finds them. */
static void fetch_versions(struct etag_request *ctx, request_rec *r)
{
    const struct etag_version before = ctx->version;

    if (!before.unknown)
        return;
    version_evaluate(ctx, r);
    ctx->learn = ctx->learn && !ctx->version.text;
    ctx->version = before;
}

static void count_would(const struct detection *d)
{
    if (d->would == PRECONDITION_FAILED)
        shared_count(detected_412);
    else if (d->would == PRECONDITION_NOT_MODIFIED)
        shared_count(strcmp(d->when, "late") == 0 ? detected_304_late : detected_304_early);
}

/* --- for people --- */

static void report(request_rec *r, int64_t *budget_ns)
{
    static const char *const names[DETECTION_COUNT] = {
#define NAME(name, help) [name] = #name,
        DETECTION_COUNTERS(NAME)
#undef NAME
    };
    struct span argv[2 + 2 * DETECTION_COUNT] = {SPAN_LITERAL("ETAG"), SPAN_LITERAL("DETECTED")};
    uint64_t counts[DETECTION_COUNT];
    int n = 2;

    if (!shared_counts_take(counts))
        return;
    for (size_t i = 0; i < DETECTION_COUNT; i++)
        if (counts[i]) {
            argv[n++] = span_str(names[i]);
            argv[n++] = span_str(apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)counts[i]));
        }
    const struct redisReply *reply = node_call(r->pool, n, argv, -1, budget_ns);
    if (!reply || !node_reply_done(reply))
        shared_counts_return(counts);
}

/* --- when it was sent --- */

static void finish(struct etag_request *ctx, request_rec *r, request_rec *last)
{
    struct detection *d = ctx->detection;

    ctx->budget_ns = (int64_t)etag_server_of(r->server)->timeout * 1000;
    if (d->wrote)
        write_passed(ctx, last);
    /* What this request found mapped, it looked up in; the next one finds what is new. */
    struct node_hold *hold = node_hold(r->pool, &ctx->budget_ns);
    if (!ctx->hold)
        ctx->hold = hold;
    fetch_versions(ctx, r);
    if (tagged(ctx, r)) {
        shared_count(detected_tagged);
        if (ctx->learn) {
            compare(ctx, r);
            publish_learned(ctx, r);
        }
    }
    count_would(d);
    if (d->would != PRECONDITION_PROCEED)
        etag_verdict(r, would_text(d->would), d->when);
    report(r, &ctx->budget_ns);
}

int detect_finish(request_rec *r)
{
    request_rec *last = r;

    while (last->next)
        last = last->next;
    for (; r; r = r->next) {
        struct etag_request *ctx = ap_get_module_config(r->request_config, &etag_module);
        if (ctx && ctx->detection)
            finish(ctx, r, last);
    }
    return DECLINED;
}

struct detection *detect_new(request_rec *r, const struct etag_dir *dir)
{
    struct detection *d = apr_pcalloc(r->pool, sizeof *d);

    d->dir = dir;
    d->fd = -1;
    return d;
}
