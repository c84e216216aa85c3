/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/modified.h"

#include <pthread.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_protocol.h>
#include <http_request.h>

#include "etagd/lib/client.h"
#include "etagd/lib/entry.h"
#include "etagd/lib/httpdate.h"
#include "etagd/lib/name.h"
#include "mod_etag/node.h"

#define ASK_AGAIN INT64_C(1000000000) /* nanoseconds: two contents may alternate for as long as a deployment takes */
#define REFUSED 512

/* A date younger than this is not used. A store that has lost its memory gives the present second: by then it may
 * not be one that was told before, though the clocks of the old store, the new one and this node differ by some
 * seconds. And RFC 9110 8.8.2.1 wants none that is later than Date. */
#define YOUNG_S 5

bool modified_asked(const struct etag_conditionals *c)
{
    return c->if_unmodified_since || c->if_modified_since;
}

/* --- what the store names --- */

/* Names that etagd refused to this process, and when. Two of them may share a place: then one is asked for more
 * often than need be. */
static struct {
    pthread_mutex_t lock;
    struct {
        uint64_t name;
        int64_t at;
    } recent[REFUSED];
} refused = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool was_refused(struct table_id id)
{
    const size_t place = id.h0 % REFUSED;

    pthread_mutex_lock(&refused.lock);
    const bool lately = refused.recent[place].name == id.h1 && client_now() - refused.recent[place].at < ASK_AGAIN;
    pthread_mutex_unlock(&refused.lock);
    return lately;
}

static void note_refused(struct table_id id)
{
    const size_t place = id.h0 % REFUSED;

    pthread_mutex_lock(&refused.lock);
    refused.recent[place].name = id.h1;
    refused.recent[place].at = client_now();
    pthread_mutex_unlock(&refused.lock);
}

/* What is named: the bytes, and all else that the tag is made of. After a change of Content-Type or ETagSalt
 * nobody's copy is the present one. */
static void represent(const struct etag_request *ctx, const uint8_t digest[DIGEST_SIZE], uint8_t out[DIGEST_SIZE])
{
    memcpy(out, ctx->tag.base, DIGEST_BASE_SIZE);
    memcpy(out + DIGEST_BASE_SIZE, digest, DIGEST_SIZE - DIGEST_BASE_SIZE);
}

/* "<date> <since>", date "-": none may be given now. */
static bool read_reply(const struct redisReply *reply, int64_t *date)
{
    const char *text;
    apr_int64_t seconds;
    char *end;

    if (!reply || !node_reply_text(reply, &text) || !apr_isdigit(*text))
        return false;
    errno = 0;
    seconds = apr_strtoi64(text, &end, 10);
    if (errno || *end != ' ')
        return false;
    *date = seconds;
    return true;
}

static bool ask(struct etag_request *ctx, request_rec *r, const struct key *key, const uint8_t content[DIGEST_SIZE],
                int64_t mtime_s, int64_t *date)
{
    const struct table_snapshot at = table_snapshot(node_table(ctx->hold));
    char *generation = apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)at.generation);
    char *seq = apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)at.seq);
    char proposal[NAME_CONTENT_SIZE];
    const struct span none = SPAN_LITERAL("0"); /* tags, groups */
    const struct span argv[] = {SPAN_LITERAL("ETAG"),
                                SPAN_LITERAL("NAME"),
                                span_str(generation),
                                span_str(seq),
                                span_of(key->text, key->n),
                                SPAN_LITERAL("m"),
                                span_of(proposal, name_content_write(content, mtime_s, proposal)),
                                none,
                                none};
    return read_reply(node_call(r->pool, sizeof argv / sizeof *argv, argv, -1, &ctx->budget_ns), date);
}

/* The date that this content has at this URL, from the table, else asked for. */
static bool named(struct etag_request *ctx, request_rec *r, const uint8_t digest[DIGEST_SIZE], int64_t mtime_s,
                  int64_t *date)
{
    uint8_t content[DIGEST_SIZE];
    struct table_copy copy;
    struct key key;

    if (!ctx->hold)
        ctx->hold = node_hold(r->pool, &ctx->budget_ns);
    if (!ctx->hold || !request_file_key(r, &key))
        return false;
    represent(ctx, digest, content);
    const struct table *t = node_table(ctx->hold);
    const struct table_id id = table_identify(t, span_str(apr_pstrcat(r->pool, key.text, "#m", NULL)));
    const enum table_result result = table_lookup(t, id, &copy);

    if (result == TABLE_VOID) {
        node_void(ctx->hold);
        return false;
    }
    if (result == TABLE_HIT && copy.entry.kind == ENTRY_MODIFIED && copy.entry.last_modified != ENTRY_UNDATED &&
        memcmp(copy.entry.tag.p, content, sizeof content) == 0) {
        *date = copy.entry.last_modified;
        return true;
    }
    /* DetectionOnly leaves no trace, here as little as in the response. */
    if (ctx->dir->engine != ETAG_ENGINE_ON || was_refused(id))
        return false;
    if (ask(ctx, r, &key, content, mtime_s, date))
        return true;
    note_refused(id);
    return false;
}

/* --- the date of a response --- */

static struct precondition_date from_header(request_rec *r)
{
    const char *text = request_response_header(r, "Last-Modified");
    struct precondition_date date = {.is = PRECONDITION_UNDATED};

    if (text && httpdate_parse(span_str(text), apr_time_sec(r->request_time), &date.at))
        date.is = PRECONDITION_DATED;
    return date;
}

/* Negotiation, or a handler before core's, chose the file by what the request says: then one URL has several
 * contents at a time, and no date of its own. */
static bool depends_on_request(request_rec *r)
{
    return request_response_header(r, "Vary") != NULL;
}

void modified_of_file(struct etag_request *ctx, request_rec *r, const uint8_t *digest, int64_t mtime_s)
{
    int64_t date;

    if (ctx->dir->last_modified == ETAG_LAST_MODIFIED_PASS) {
        ctx->modified = (struct precondition_date){PRECONDITION_DATED, mtime_s};
    } else if (ctx->dir->last_modified == ETAG_LAST_MODIFIED_OFF) {
        ctx->modified = (struct precondition_date){.is = PRECONDITION_UNDATED};
    } else {
        ctx->modified = (struct precondition_date){.is = PRECONDITION_WITHHELD};
        if (digest && ctx->tag.known && !depends_on_request(r) && named(ctx, r, digest, mtime_s, &date) &&
            date <= apr_time_sec(r->request_time) - YOUNG_S)
            ctx->modified = (struct precondition_date){PRECONDITION_NAMED, date};
    }
}

static bool made_by_include(const request_rec *r)
{
    for (const ap_filter_t *f = r->output_filters; f; f = f->next)
        if (strcasecmp(f->frec->name, "INCLUDES") == 0)
            return true;
    return false;
}

void modified_of_changed_file(struct etag_request *ctx, request_rec *r)
{
    if (ctx->dir->last_modified == ETAG_LAST_MODIFIED_OFF)
        ctx->modified = (struct precondition_date){.is = PRECONDITION_UNDATED};
    else if (ctx->dir->last_modified == ETAG_LAST_MODIFIED_PASS || made_by_include(r))
        ctx->modified = from_header(r);
    else
        ctx->modified = (struct precondition_date){.is = PRECONDITION_WITHHELD};
}

void modified_set_header(const struct etag_request *ctx, request_rec *r)
{
    char *text;

    switch (ctx->modified.is) {
    case PRECONDITION_DATED:
        if (apr_table_get(r->headers_out, "Last-Modified"))
            return;
        ap_update_mtime(r, apr_time_from_sec(ctx->modified.at));
        ap_set_last_modified(r);
        return;
    case PRECONDITION_NAMED:
        text = apr_palloc(r->pool, HTTPDATE_SIZE);
        httpdate_format(ctx->modified.at, text);
        apr_table_setn(r->headers_out, "Last-Modified", text);
        r->mtime = apr_time_from_sec(ctx->modified.at);
        return;
    default:
        apr_table_unset(r->headers_out, "Last-Modified");
        r->mtime = 0; /* core takes it for a date where there is no Last-Modified */
    }
}

struct precondition_date modified_of_response(const struct etag_request *ctx, request_rec *r)
{
    if (ctx->file)
        return ctx->modified;
    return ctx->judges || !r->status_line ? from_header(r) : (struct precondition_date){.is = PRECONDITION_UNDATED};
}
