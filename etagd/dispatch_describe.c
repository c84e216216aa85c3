/* SPDX-License-Identifier: Apache-2.0 */
/* ETAG GET and ETAG VERSION: what this node knows, for people. */
#include "etagd/dispatch_command.h"

#include <event2/buffer.h>

#include "etagd/resp.h"
#include "etagd/store.h"

struct description {
    struct evbuffer *out;
    size_t lines;
};

static void add_line(void *arg, const char *name, struct span value)
{
    struct description *s = arg;

    resp_bulk(s->out, span_str(name));
    resp_bulk(s->out, value);
    s->lines++;
}

/* The lines were counted before they are sent. */
static void answer(struct evbuffer *out, struct description *s, bool known)
{
    if (known) {
        resp_array(out, 2 * s->lines);
        evbuffer_add_buffer(out, s->out);
    } else {
        resp_nil(out);
    }
    if (s->out)
        evbuffer_free(s->out);
}

void dispatch_get(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct description s = {.out = evbuffer_new()};

    (void)fd;
    answer(r->out, &s, s.out && store_describe(d->store, q->argv[2], add_line, &s));
}

void dispatch_version(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct description s = {.out = evbuffer_new()};

    (void)fd;
    answer(r->out, &s, s.out && store_version(d->store, q->argv[2], add_line, &s));
}
