/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/file_digest.h"

#include <fcntl.h>
#include <unistd.h>

#include "etagd/lib/file_identity.h"
#include "etagd/lib/flight.h"
#include "mod_etag/digest_cache.h"
#include "mod_etag/hash.h"
#include "mod_etag/mod_etag.h"
#include "mod_etag/node.h"

APLOG_USE_MODULE(etag);

#define PIECE (256u << 10) /* bytes read at a time */
#define WAIT_PER_BYTE 10 /* nanoseconds: even slow disks and processors hash 100 MB in a second */
#define WAIT_MAX INT64_C(1000000000) /* in all */

/* Of all children of this configuration. NULL: each of them hashes for itself. */
static struct flights *flights;

/* A file as this request found it. */
struct found {
    struct file_identity identity;
    struct digest_cache_id id;
    bool has_id;
    const struct node_hold *hold; /* for self-validating records; NULL: no table */
};

static struct span identity_text(const struct found *f)
{
    return span_of(f->identity.text, f->identity.n);
}

static uint64_t generation_of(const struct found *f)
{
    return f->hold ? table_generation(node_table(f->hold)) : 0;
}

/* --- what is known --- */

static bool from_table(struct etag_request *ctx, const struct found *f, uint8_t out[DIGEST_SIZE])
{
    const struct table *t = node_table(f->hold);
    struct table_copy copy;
    const enum table_result result = table_lookup(t, table_identify(t, identity_text(f)), &copy);

    if (result == TABLE_HIT && copy.entry.kind == ENTRY_FILE && copy.entry.tag.n == DIGEST_SIZE) {
        memcpy(out, copy.entry.tag.p, DIGEST_SIZE);
        return true;
    }
    /* Without a lease etagd may have gone, and another one filled another table. */
    if (ctx->hold && (result == TABLE_VOID || table_lease_left(t) == 0))
        node_void(ctx->hold);
    return false;
}

/* Hands a digest to the node's other processes. */
static void publish(struct etag_request *ctx, request_rec *r, struct found *f, const uint8_t digest[DIGEST_SIZE])
{
    const struct span argv[] = {SPAN_LITERAL("ETAG"), SPAN_LITERAL("FILE"), identity_text(f),
                                span_of((const char *)digest, DIGEST_SIZE)};
    const struct redisReply *reply = node_call(r->pool, 4, argv, -1, &ctx->budget_ns);

    /* Refused or not: this table was told, and is not told again. */
    if (f->has_id)
        digest_cache_put(&f->id, digest, reply ? generation_of(f) : 0);
}

static bool from_process(struct etag_request *ctx, request_rec *r, struct found *f, uint8_t out[DIGEST_SIZE])
{
    uint64_t published;

    f->has_id = f->has_id || digest_cache_id(identity_text(f), &f->id);
    if (!f->has_id || !digest_cache_get(&f->id, out, &published))
        return false;
    /* A new table starts empty. */
    if (ctx->hold && published != generation_of(f))
        publish(ctx, r, f, out);
    return true;
}

static bool known(struct etag_request *ctx, request_rec *r, struct found *f, uint8_t out[DIGEST_SIZE])
{
    /* A file that changed a moment ago may change again and look the same. */
    if (!f->identity.settled)
        return false;
    f->hold = ctx->hold ? ctx->hold : node_hold_files(r->pool);
    return (f->hold && from_table(ctx, f, out)) || from_process(ctx, r, f, out);
}

/* --- hashing --- */

/* Of exactly size bytes; the descriptor's offset stays where it is. mine: others wait; NULL: nobody does. */
static bool hash_bytes(int fd, uint64_t size, const struct flight *mine, uint8_t out[DIGEST_SIZE])
{
    struct digest *d = hash_thread();
    const size_t room = size < PIECE ? (size_t)size : PIECE;
    char *piece = malloc(room ? room : 1);
    uint64_t at = 0;
    bool ok = piece && d && digest_begin(d);

    while (ok && at < size) {
        const size_t want = size - at < room ? (size_t)(size - at) : room;
        const ssize_t n = pread(fd, piece, want, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0 && digest_update(d, piece, (size_t)n);
        at += n > 0 ? (uint64_t)n : 0;
        if (mine)
            flights_sign(flights, mine);
    }
    free(piece);
    return ok && digest_final(d, out);
}

static enum file_digest_result hash(request_rec *r, int fd, const struct found *f, const struct flight *mine,
                                    uint8_t out[DIGEST_SIZE])
{
    struct file_identity after;

    if (!hash_bytes(fd, f->identity.size, mine, out) || !file_identity_get(&after, fd, NULL, NULL) ||
        !file_identity_unchanged(&f->identity, &after))
        return FILE_DIGEST_FAILED;
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "mod_etag: hashed %s", f->identity.text);
    return FILE_DIGEST_KNOWN;
}

/* Without a sign of the one who hashes: ETagTimeout, and about as long as hashing all of it would take. */
static int64_t patience(request_rec *r, const struct found *f)
{
    const uint64_t work = f->identity.size < WAIT_MAX / WAIT_PER_BYTE ? f->identity.size * WAIT_PER_BYTE : WAIT_MAX;

    return (int64_t)etag_server_of(r->server)->timeout * 1000 + (int64_t)work;
}

/* One thread of this node hashes a file and publishes its digest, the others wait for it. */
static enum file_digest_result hash_once(struct etag_request *ctx, request_rec *r, int fd, struct found *f,
                                         uint8_t out[DIGEST_SIZE])
{
    struct flight mine;

    if (!f->identity.settled || !f->has_id)
        return hash(r, fd, f, NULL, out);
    const enum flight_result flight =
        flights ? flights_begin(flights, f->id.bytes, patience(r, f), WAIT_MAX, &mine, out) : FLIGHT_ALONE;
    if (flight == FLIGHT_LANDED) {
        digest_cache_put(&f->id, out, 0);
        return FILE_DIGEST_KNOWN;
    }
    enum file_digest_result result = hash(r, fd, f, flight == FLIGHT_MINE ? &mine : NULL, out);
    if (flight == FLIGHT_MINE)
        flights_land(flights, &mine, result == FILE_DIGEST_KNOWN ? out : NULL);
    if (result == FILE_DIGEST_KNOWN) {
        digest_cache_put(&f->id, out, 0);
        publish(ctx, r, f, out);
    }
    return result;
}

/* A large file is hashed by etagd, which publishes the digest: this response goes without a tag. */
static enum file_digest_result hand_to_etagd(struct etag_request *ctx, request_rec *r, int fd, struct found *f,
                                             uint8_t out[DIGEST_SIZE])
{
    const struct span argv[] = {SPAN_LITERAL("ETAG"), SPAN_LITERAL("HASH"), identity_text(f)};

    if (f->identity.settled && f->has_id && digest_handover_due(&f->id) &&
        node_call(r->pool, 3, argv, fd, &ctx->budget_ns) && f->hold && from_table(ctx, f, out))
        return FILE_DIGEST_KNOWN; /* another process had asked before */
    return FILE_DIGEST_UNKNOWN;
}

/* --- entry points --- */

static apr_status_t free_flights(void *unused)
{
    (void)unused;
    flights_free(flights);
    flights = NULL;
    return APR_SUCCESS;
}

void file_digest_post_config(apr_pool_t *p, server_rec *s)
{
    /* ChrootDir takes /proc away from the children. */
    file_identity_prepare();
    flights = flights_new();
    if (!flights)
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "mod_etag: no memory to share: each child hashes files for itself");
    apr_pool_cleanup_register(p, NULL, free_flights, apr_pool_cleanup_null);
}

enum file_digest_result file_digest_peek(struct etag_request *ctx, request_rec *r, const char *filename,
                                         uint8_t out[DIGEST_SIZE], int64_t *mtime_s)
{
    struct found f = {.has_id = false};

    if (!file_identity_get(&f.identity, -1, filename, &ctx->dir->trust_fs))
        return FILE_DIGEST_FAILED;
    *mtime_s = f.identity.mtime_s;
    return known(ctx, r, &f, out) ? FILE_DIGEST_KNOWN : FILE_DIGEST_UNKNOWN;
}

enum file_digest_result file_digest_get(struct etag_request *ctx, request_rec *r, int fd, apr_off_t size,
                                        uint8_t out[DIGEST_SIZE], int64_t *mtime_s)
{
    struct found f = {.has_id = false};

    if (!file_identity_get(&f.identity, fd, NULL, &ctx->dir->trust_fs) || size < 0 || f.identity.size != (uint64_t)size)
        return FILE_DIGEST_FAILED;
    *mtime_s = f.identity.mtime_s;
    if (known(ctx, r, &f, out))
        return FILE_DIGEST_KNOWN;
    if (size > ctx->dir->inline_limit)
        return hand_to_etagd(ctx, r, fd, &f, out);
    return hash_once(ctx, r, fd, &f, out);
}
