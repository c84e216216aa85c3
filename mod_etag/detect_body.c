/* SPDX-License-Identifier: Apache-2.0 */
/* DetectionOnly in ETAG_IN: a body passes, and is hashed as it does. */
#include "mod_etag/detect.h"

#include <fcntl.h>
#include <unistd.h>

#include <apr_strings.h>
#include <http_connection.h>
#include <http_protocol.h>

#include "mod_etag/tee.h"

void detect_begin(struct etag_request *ctx, request_rec *r, const char *source, struct digest *digest)
{
    struct detection *d = ctx->detection;
    const char *length = request_response_header(r, "Content-Length");

    d->source = source;
    d->digest = digest;
    d->begun = apr_time_now();
    d->announced = length ? apr_atoi64(length) : -1;
}

static apr_status_t close_file(void *detection)
{
    struct detection *d = detection;

    close(d->fd);
    d->fd = -1;
    return APR_SUCCESS;
}

void detect_file(struct etag_request *ctx, request_rec *r, apr_os_file_t fd, apr_off_t size)
{
    struct detection *d = ctx->detection;

    /* httpd closes its own when the last bytes have left. */
    d->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (d->fd < 0)
        return;
    apr_pool_cleanup_register(r->pool, d, close_file, apr_pool_cleanup_null);
    d->source = "file";
    d->size = size;
}

/* --- the bytes --- */

static void take(struct detection *d, const char *data, apr_size_t n)
{
    d->bytes += (apr_off_t)n;
    if (d->bytes > d->dir->buffer_limit)
        d->refused = "longer than ETagBufferLimit";
    else if (!digest_update(d->digest, data, n))
        d->refused = "incomplete";
}

/* The engine, On, would not wait longer for what is still to come. */
static void check_time(struct detection *d)
{
    if (apr_time_now() >= d->begun + d->dir->buffer_time)
        d->refused = "longer than ETagBufferTime";
}

static void seen(void *detection, const char *data, apr_size_t n)
{
    struct detection *d = detection;

    if (!data)
        d->unread--;
    if (!d->refused)
        check_time(d);
    if (data && !d->refused)
        take(d, data, n);
}

/* Read beside the bucket: it is sent as a file all the same. */
static void take_file(struct detection *d, const apr_bucket *b)
{
    const struct apr_bucket_file *file = b->data;
    apr_size_t left = b->length;
    apr_os_file_t fd;
    char piece[8192];

    if (apr_os_file_get(&fd, file->fd) != APR_SUCCESS)
        d->refused = "not in memory";
    if (d->bytes + (apr_off_t)left > d->dir->buffer_limit)
        d->refused = "longer than ETagBufferLimit";
    for (off_t at = b->start; left && !d->refused;) {
        const ssize_t n = pread(fd, piece, left < sizeof piece ? left : sizeof piece, at);
        if (n <= 0) {
            d->refused = "incomplete";
            return;
        }
        take(d, piece, (apr_size_t)n);
        left -= (apr_size_t)n;
        at += n;
    }
}

static bool in_memory(const apr_bucket *b)
{
    return APR_BUCKET_IS_HEAP(b) || APR_BUCKET_IS_POOL(b) || APR_BUCKET_IS_TRANSIENT(b) || APR_BUCKET_IS_IMMORTAL(b) ||
           APR_BUCKET_IS_MMAP(b);
}

/* Hashes one bucket, now or when it is read. Returns what stands in its place. */
static apr_bucket *look(struct detection *d, apr_bucket *b)
{
    const char *data;
    apr_size_t n;

    if (b->length == (apr_size_t)-1) {
        d->unread++;
        return tee_replace(b, seen, d);
    }
    if (d->unread) /* what comes before it is hashed later */
        d->refused = "not in memory";
    else if (APR_BUCKET_IS_FILE(b))
        take_file(d, b);
    else if (in_memory(b) && apr_bucket_read(b, &data, &n, APR_NONBLOCK_READ) == APR_SUCCESS)
        take(d, data, n);
    else
        d->refused = "not in memory";
    return b;
}

apr_status_t detect_pass(ap_filter_t *f, struct detection *d, apr_bucket_brigade *bb)
{
    if (d->flushed && !d->ended && !d->refused)
        check_time(d);
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb) && !d->ended && !d->refused;
         b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b))
            d->refused = "incomplete";
        else if (APR_BUCKET_IS_EOS(b))
            d->ended = true;
        else if (APR_BUCKET_IS_FLUSH(b) && d->digest)
            d->flushed = true;
        else if (!APR_BUCKET_IS_METADATA(b) && d->digest)
            b = look(d, b);
    }
    return ap_pass_brigade(f->next, bb);
}
