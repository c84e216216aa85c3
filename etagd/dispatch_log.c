/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's log, in Redis' own words. */
#include "etagd/dispatch_command.h"

#include <event2/buffer.h>
#include <stdint.h>
#include <stdio.h>

#include "etagd/conf.h"
#include "etagd/resp.h"
#include "etagd/store.h"

#define REPLY_MAX (1u << 20) /* what lib/client.c takes at most */

bool dispatch_number(struct span s, uint64_t *out)
{
    uint64_t n = 0;

    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

/* True when q names the log and this daemon keeps it. */
static bool own_log(struct dispatch *d, const struct proto_request *q, struct reply *r)
{
    char text[512];

    if (!store_embedded(d->store)) {
        snprintf(text, sizeof text, "the log is kept by Redis at %s: run this command there", d->conf->redis);
        resp_error(r->out, "ERR", text);
        return false;
    }
    snprintf(text, sizeof text, "{%s}:log", d->conf->key_prefix);
    if (!span_eq(q->argv[1], span_str(text))) {
        char wrong[600];
        snprintf(wrong, sizeof wrong, "only the log is kept here; its name is %s", text);
        resp_error(r->out, "ERR", wrong);
        return false;
    }
    return true;
}

void dispatch_xadd(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    char id[48];
    const char *error;

    (void)fd;
    if (!own_log(d, q, r))
        return;
    if (!span_eq(q->argv[2], SPAN_LITERAL("*")) || q->argc % 2 == 0) {
        resp_error(r->out, "ERR", "expected XADD log * operation argument [operation argument ...]");
        return;
    }
    d->count.invalidations++;
    if (store_log_add(d->store, q->argv + 3, q->argc - 3, id, &error))
        resp_bulk(r->out, span_str(id));
    else
        resp_error(r->out, "ERR", error);
}

void dispatch_xlen(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    if (own_log(d, q, r))
        resp_integer(r->out, (long long)store_log_length(d->store));
}

struct rows {
    struct evbuffer *out;
    size_t n;
    bool over; /* the answer would be too long */
};

static void log_row(void *arg, const char *id, const struct span *fields, size_t n)
{
    struct rows *rows = arg;

    rows->over |= evbuffer_get_length(rows->out) > REPLY_MAX;
    if (rows->over)
        return;
    rows->n++;
    resp_array(rows->out, 2);
    resp_bulk(rows->out, span_str(id));
    resp_array(rows->out, n);
    for (size_t i = 0; i < n; i++)
        resp_bulk(rows->out, fields[i]);
}

/* "log first last [COUNT n]" over the whole log. */
static bool read_range(const struct proto_request *q, bool reverse, uint64_t *limit)
{
    const struct span first = SPAN_LITERAL("-"), last = SPAN_LITERAL("+");

    *limit = SIZE_MAX;
    return span_eq(q->argv[2], reverse ? last : first) && span_eq(q->argv[3], reverse ? first : last) &&
           (q->argc == 4 ||
            (q->argc == 6 && span_eq_nocase(q->argv[4], SPAN_LITERAL("COUNT")) && dispatch_number(q->argv[5], limit)));
}

static void range(struct dispatch *d, const struct proto_request *q, struct reply *r, bool reverse)
{
    struct rows rows = {.out = NULL};
    uint64_t limit;

    if (!own_log(d, q, r))
        return;
    if (!read_range(q, reverse, &limit)) {
        resp_error(r->out, "ERR",
                   reverse ? "expected XREVRANGE log + - [COUNT n]" : "expected XRANGE log - + [COUNT n]");
        return;
    }
    rows.out = evbuffer_new();
    if (!rows.out) {
        resp_error(r->out, "ERR", "out of memory");
        return;
    }
    store_log_range(d->store, reverse, (size_t)limit, log_row, &rows);
    if (rows.over) {
        resp_error(r->out, "ERR", "the answer would be longer than 1 MiB; ask for fewer records with COUNT");
    } else {
        resp_array(r->out, rows.n);
        evbuffer_add_buffer(r->out, rows.out);
    }
    evbuffer_free(rows.out);
}

void dispatch_xrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    range(d, q, r, false);
}

void dispatch_xrevrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    range(d, q, r, true);
}
