/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/tee.h"

struct tee {
    apr_bucket_brigade rest; /* what has not been read */
    tee_seen *seen;
    void *arg;
};

static const apr_bucket_type_t tee_type;

static apr_bucket *make(struct tee *tee, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof *b, list);

    APR_BUCKET_INIT(b);
    b->type = &tee_type;
    b->length = (apr_size_t)-1;
    b->start = -1;
    b->data = tee;
    b->free = apr_bucket_free;
    b->list = list;
    return b;
}

/* As a pipe does it: becomes what was read, followed by another one for the rest. */
static apr_status_t tee_read(apr_bucket *b, const char **data, apr_size_t *n, apr_read_type_e how)
{
    struct tee *tee = b->data;
    apr_bucket *first = APR_BRIGADE_FIRST(&tee->rest);
    apr_status_t rv = apr_bucket_read(first, data, n, how);

    if (rv != APR_SUCCESS)
        return rv;
    tee->seen(tee->arg, *data, *n);
    if (*n)
        apr_bucket_heap_make(b, *data, *n, NULL);
    else
        apr_bucket_immortal_make(b, "", 0);
    apr_bucket_delete(first);
    if (!APR_BRIGADE_EMPTY(&tee->rest)) {
        APR_BUCKET_INSERT_AFTER(b, make(tee, b->list));
    } else {
        tee->seen(tee->arg, NULL, 0);
        apr_bucket_free(tee);
    }
    return apr_bucket_read(b, data, n, how);
}

static void tee_destroy(void *data)
{
    struct tee *tee = data;

    apr_brigade_cleanup(&tee->rest);
    apr_bucket_free(tee);
}

static apr_status_t tee_setaside(apr_bucket *b, apr_pool_t *p)
{
    struct tee *tee = b->data;

    return apr_bucket_setaside(APR_BRIGADE_FIRST(&tee->rest), p);
}

static const apr_bucket_type_t tee_type = {"ETAG_TEE",
                                           5,
                                           APR_BUCKET_DATA,
                                           tee_destroy,
                                           tee_read,
                                           tee_setaside,
                                           apr_bucket_split_notimpl,
                                           apr_bucket_copy_notimpl};

apr_bucket *tee_replace(apr_bucket *b, tee_seen *seen, void *arg)
{
    struct tee *tee = apr_bucket_alloc(sizeof *tee, b->list);
    apr_bucket *instead = make(tee, b->list);

    *tee = (struct tee){.rest = {.bucket_alloc = b->list}, .seen = seen, .arg = arg};
    APR_RING_INIT(&tee->rest.list, apr_bucket, link);
    APR_BUCKET_INSERT_BEFORE(b, instead);
    APR_BUCKET_REMOVE(b);
    APR_BRIGADE_INSERT_TAIL(&tee->rest, b);
    return instead;
}
