/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETagEngine DetectionOnly: what the engine, On, would have done, found out beside a response that it does not touch.
 *
 * While the response passes, its bytes are hashed as they come; nothing is read that nobody has asked for, nothing is
 * kept back, no file is hashed, and etagd is not asked (the request's budget for it is nothing until then). The rest is done
 * when httpd logs the request, which is after the response was sent: the tag, what the client's conditions would have
 * come to, the comparison with what is known of this request, and learning it (etagd/lib/detection.h). Writes void what
 * they void with the engine On, also for the nodes that answer.
 */
#ifndef MOD_ETAG_DETECT_H
#define MOD_ETAG_DETECT_H

#include <apr_portable.h>
#include <util_filter.h>

#include "mod_etag/mod_etag.h"

/* Of one request, beside its context; lives in r->pool. */
struct detection {
    const struct etag_dir *dir;
    const char *source;  /* of the tag ("digest", "file", ...), NULL: the response gets none */
    const char *refused; /* why there is none after all */
    struct digest *digest; /* of the body; NULL: the tag does not depend on it */
    apr_off_t bytes, announced; /* of the body that have passed, and by Content-Length; -1: not announced */
    apr_time_t begun;
    unsigned unread; /* buckets that passed and whose end has not been seen */
    bool flushed;    /* so did a FLUSH: the engine, On, would have waited for more */
    bool ended;      /* so has EOS */
    int fd;          /* of a file that was served; used when source is "file" */
    apr_off_t size;

    enum precondition_result would; /* in place of the response */
    const char *when;               /* it would have been decided: "learned", "file", "late" */
    bool wrote;                     /* an unsafe method */
};

struct detection *detect_new(request_rec *r, const struct etag_dir *dir);

/* The engine would have answered so. The first to say so counts. */
void detect_would(struct etag_request *ctx, request_rec *r, enum precondition_result result, const char *when);

/* In ETAG_IN: the tag of this response will be known from its headers, or from its body (digest). */
void detect_begin(struct etag_request *ctx, request_rec *r, const char *source, struct digest *digest);
/* A file will pass as it is. */
void detect_file(struct etag_request *ctx, request_rec *r, apr_os_file_t fd, apr_off_t size);
apr_status_t detect_pass(ap_filter_t *f, struct detection *d, apr_bucket_brigade *bb);

/* log_transaction, before anybody logs. */
int detect_finish(request_rec *r);

#endif
