/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/body.h"

#include <apr_strings.h>
#include <http_connection.h>
#include <http_protocol.h>

#include "mod_etag/await.h"
#include "mod_etag/hash.h"
#include "mod_etag/publish.h"
#include "mod_etag/tag.h"

bool body_whole_file(apr_bucket_brigade *bb, apr_os_file_t *fd, apr_off_t *size)
{
    apr_file_t *file = NULL;
    apr_off_t end = 0;
    apr_bucket *b = APR_BRIGADE_FIRST(bb);

    for (; b != APR_BRIGADE_SENTINEL(bb) && APR_BUCKET_IS_FILE(b); b = APR_BUCKET_NEXT(b)) {
        struct apr_bucket_file *data = b->data;
        if ((file && data->fd != file) || b->start != end || b->length == (apr_size_t)-1)
            return false;
        file = data->fd;
        end += (apr_off_t)b->length;
    }
    if (!file || b == APR_BRIGADE_SENTINEL(bb) || !APR_BUCKET_IS_EOS(b))
        return false;
    *size = end;
    return apr_os_file_get(fd, file) == APR_SUCCESS;
}

struct digest *body_digest(apr_pool_t *p)
{
    struct digest *d = hash_lend(p);
    return d && digest_begin(d) ? d : NULL;
}

bool body_as_announced(request_rec *r, apr_off_t n)
{
    const char *length = request_response_header(r, "Content-Length");
    return !length || apr_atoi64(length) == n;
}

/* --- HOLD --- */

static apr_time_t deadline(const struct in_context *in)
{
    return in->begun + in->req->dir->buffer_time;
}

static bool overdue(const struct in_context *in)
{
    return apr_time_now() >= deadline(in);
}

/* Lets go of what was kept back: this response gets no tag of ours, and neither will the next one of its
 * length, so there is nothing to learn. */
static apr_status_t release(ap_filter_t *f, struct in_context *in, const char *why)
{
    etag_verdict(f->r, "untagged", why);
    in->req->learn = false;
    in->state = IN_PASS;
    return ap_pass_brigade(f->next, in->held);
}

static apr_status_t release_overdue(ap_filter_t *f, struct in_context *in)
{
    APR_BRIGADE_INSERT_TAIL(in->held, apr_bucket_flush_create(f->c->bucket_alloc));
    return release(f, in, "longer than ETagBufferTime");
}

/* Reads a bucket and hashes it. APR_EAGAIN: it would block (only with APR_NONBLOCK_READ). */
static apr_status_t take(struct in_context *in, apr_bucket *b, apr_read_type_e how)
{
    const char *data;
    apr_size_t n;
    apr_status_t rv = apr_bucket_read(b, &data, &n, how);

    if (rv != APR_SUCCESS)
        return rv;
    in->held_bytes += (apr_off_t)n;
    return digest_update(in->digest, data, n) ? APR_SUCCESS : APR_EGENERAL;
}

/* Bytes free behind those of a bucket whose buffer nobody else uses. */
static apr_size_t room_behind(const apr_bucket *b)
{
    const apr_bucket_heap *h = b->data;

    return APR_BUCKET_IS_HEAP(b) && h->refcount.refcount == 1 ? h->alloc_len - ((apr_size_t)b->start + b->length) : 0;
}

static apr_size_t room_at_end(apr_bucket_brigade *bb)
{
    return APR_BRIGADE_EMPTY(bb) ? 0 : room_behind(APR_BRIGADE_LAST(bb));
}

static void add_buffer(apr_bucket_brigade *bb)
{
    char *bytes = apr_bucket_alloc(APR_BUCKET_BUFF_SIZE, bb->bucket_alloc);
    apr_bucket *b = apr_bucket_heap_create(bytes, APR_BUCKET_BUFF_SIZE, apr_bucket_free, bb->bucket_alloc);

    b->length = 0;
    APR_BRIGADE_INSERT_TAIL(bb, b);
}

static void add_copy(apr_bucket_brigade *bb, const char *data, apr_size_t n)
{
    while (n > 0) {
        if (room_at_end(bb) == 0)
            add_buffer(bb);
        apr_bucket *last = APR_BRIGADE_LAST(bb);
        apr_size_t part = room_behind(last) < n ? room_behind(last) : n;

        memcpy(((apr_bucket_heap *)last->data)->base + last->start + last->length, data, part);
        last->length += part;
        data += part;
        n -= part;
    }
}

/* A buffer takes APR_BUCKET_BUFF_SIZE however few bytes are in it, and a bucket at least itself: ETagBufferLimit
 * bounds memory because small pieces share buffers. */
static bool shares_buffer(const apr_bucket *b, apr_bucket_brigade *bb)
{
    if (APR_BUCKET_IS_TRANSIENT(b))
        return true; /* to be copied in any case */
    return !APR_BUCKET_IS_METADATA(b) && b->length < APR_BUCKET_BUFF_SIZE / 2 &&
           (room_at_end(bb) >= b->length || room_behind(b) == 0);
}

/* Moves a bucket that has been read to what is held. */
static void keep(ap_filter_t *f, struct in_context *in, apr_bucket *b)
{
    const char *data;
    apr_size_t n;

    if (shares_buffer(b, in->held) && apr_bucket_read(b, &data, &n, APR_NONBLOCK_READ) == APR_SUCCESS) {
        add_copy(in->held, data, n);
        apr_bucket_delete(b);
        return;
    }
    apr_bucket_setaside(b, f->r->pool);
    APR_BUCKET_REMOVE(b);
    APR_BRIGADE_INSERT_TAIL(in->held, b);
}

/* The whole body lies in in->held and EOS has come. */
static apr_status_t finish_held(ap_filter_t *f, struct in_context *in, apr_bucket *eos)
{
    uint8_t content[DIGEST_SIZE];
    apr_status_t status;

    in->state = IN_PASS;
    APR_BUCKET_REMOVE(eos);
    if (!body_as_announced(f->r, in->held_bytes))
        in->req->learn = false;
    else if (digest_final(in->digest, content) && in_tagged(f, in, content, &status)) {
        apr_brigade_cleanup(in->held);
        apr_bucket_destroy(eos);
        return status;
    }
    APR_BRIGADE_INSERT_TAIL(in->held, eos);
    return ap_pass_brigade(f->next, in->held);
}

/* True while the body is still held; false when the state changed and *status says how it went. */
bool body_hold(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb, apr_status_t *status)
{
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);

        if (APR_BUCKET_IS_EOS(b)) {
            *status = finish_held(f, in, b);
            return false;
        }
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b)) {
            /* Half a body: its digest would be a lie. */
            etag_verdict(f->r, "untagged", "incomplete");
            in->req->learn = false;
            in->state = IN_PASS;
            *status = ap_pass_brigade(f->next, in->held);
            return false;
        }
        if (APR_BUCKET_IS_FLUSH(b)) {
            /* Proxies flush whenever a read would block; that alone does not mean streaming. */
            apr_bucket_delete(b);
            if (overdue(in) || (APR_BRIGADE_EMPTY(bb) && !await_backend(f->r, deadline(in)))) {
                *status = release_overdue(f, in);
                return false;
            }
            continue;
        }
        if (!APR_BUCKET_IS_METADATA(b)) {
            apr_status_t rv = take(in, b, APR_NONBLOCK_READ);
            while (APR_STATUS_IS_EAGAIN(rv) && await_bucket(b, deadline(in)))
                rv = take(in, b, APR_NONBLOCK_READ);
            if (APR_STATUS_IS_EAGAIN(rv)) {
                *status = release_overdue(f, in);
                return false;
            }
            if (rv != APR_SUCCESS) {
                in->state = IN_PASS;
                *status = rv;
                return false;
            }
        }
        keep(f, in, b);
        if (in->held_bytes > in->req->dir->buffer_limit) {
            *status = release(f, in, "longer than ETagBufferLimit");
            return false;
        }
    }
    return true;
}

/* --- WATCH --- */

/* The tag went out with the headers; the end tells whether it may be learned. */
apr_status_t body_watch(ap_filter_t *f, struct in_context *in, apr_bucket_brigade *bb)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b)) {
            in->req->learn = false;
            in->state = IN_PASS;
        } else if (APR_BUCKET_IS_EOS(b)) {
            in->req->complete = true;
            in->state = IN_PASS;
        }
    }
    return ap_pass_brigade(f->next, bb);
}

/* --- DROP --- */

/* A 304 went out while the handler goes on producing the 200. When that ends complete, its tag is
 * still worth learning. */
apr_status_t body_drop(struct in_context *in, request_rec *r, apr_bucket_brigade *bb)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b) || AP_BUCKET_IS_EOC(b))
            in->req->learn = false;
        if (APR_BUCKET_IS_EOS(b) && in->req->learn && !in->req->complete) {
            in->req->complete = true;
            publish_learned(in->req, r);
        }
    }
    apr_brigade_cleanup(bb);
    return APR_SUCCESS;
}
