/* SPDX-License-Identifier: Apache-2.0 */
/* ETAG NAME. */
#include "etagd/dispatch_command.h"

#include "etagd/resp.h"
#include "etagd/store.h"

static bool read_name(const struct proto_request *q, struct store_name *ask)
{
    size_t at = 7;

    if (q->argv[5].n != 1)
        return false;
    ask->kind = q->argv[5].p[0];
    return dispatch_number(q->argv[2], &ask->generation) && dispatch_number(q->argv[3], &ask->seq) &&
           dispatch_list(q, &at, &ask->tags, &ask->ntags) && dispatch_list(q, &at, &ask->groups, &ask->ngroups) &&
           at == q->argc;
}

static void named(void *arg, struct span name, const char *error)
{
    struct reply *r = arg;

    if (error)
        resp_error(r->out, "ERR", error);
    else if (name.p)
        resp_bulk(r->out, name);
    else
        resp_nil(r->out);
    r->done = true;
    r->ready(r);
}

void dispatch_name(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct store_name ask = {.key = q->argv[4], .proposal = q->argv[6]};

    (void)fd;
    if (!read_name(q, &ask)) {
        resp_error(r->out, "ERR", "numbers or counts are malformed");
        return;
    }
    r->done = false;
    store_name(d->store, &ask, named, r);
}
