/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/connection.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "etagd/dispatch.h"
#include "etagd/lib/descriptors.h"
#include "etagd/resp.h"

#define INPUT_MAX (PROTO_MAX_REQUEST + 65536) /* one whole request and what came with its end */
#define OUTPUT_PAUSE (1u << 20) /* unread output at which no more requests are read */
#define OUTPUT_MAX (4u << 20) /* ... at which the connection ends */
#define REPLIES_PAUSE 1024u /* unfinished replies at which no more requests are read */
#define STALL_S 30 /* without progress of a peer that owes us reading */
#define INPUT_KEPT 16384u /* room that an idle connection keeps */

struct pending {
    struct reply reply; /* first: a reply's address is its pending's */
    size_t held; /* its share of the connection's held */
    struct pending *next;
};

enum read_result { READ_NOTHING, READ_SOME, READ_END };

struct connection {
    int fd;
    struct dispatch *dispatch;
    struct event *read, *write;
    struct event *again; /* there is something to do, although nothing came or can go */
    struct evbuffer *out; /* ready to go */
    struct pending *first, **last; /* replies in order of their requests */
    size_t npending;
    size_t held; /* bytes of finished replies that wait for an earlier one */
    char *in; /* unread input */
    size_t in_n, in_room;
    struct descriptors passed; /* came along and wait for their request */
    bool sent; /* the peer took something since its patience was measured */
    bool draining; /* what is here already is run, then ending */
    bool working; /* requests are being run, proceed() follows */
    bool ending; /* nothing more is read; close when everything is sent */
    void (*closed)(struct connection *c, void *arg);
    void *closed_arg;
    struct connection *next;
};

static void on_event(evutil_socket_t fd, short what, void *arg);
static void on_again(evutil_socket_t fd, short what, void *arg);

struct connection *connection_new(struct event_base *base, int fd, struct dispatch *dispatch,
                                  void (*closed)(struct connection *c, void *arg), void *arg)
{
    struct connection *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->fd = -1;
    c->dispatch = dispatch;
    c->closed = closed;
    c->closed_arg = arg;
    c->last = &c->first;
    c->out = evbuffer_new();
    c->read = event_new(base, fd, EV_READ | EV_PERSIST, on_event, c);
    c->write = event_new(base, fd, EV_WRITE, on_event, c);
    c->again = event_new(base, -1, 0, on_again, c);
    if (!c->out || !c->read || !c->write || !c->again || event_add(c->read, NULL) < 0) {
        connection_free(c);
        return NULL;
    }
    c->fd = fd;
    return c;
}

struct connection **connection_next(struct connection *c)
{
    return &c->next;
}

static void free_pending(struct connection *c)
{
    struct pending *p = c->first;

    c->first = p->next;
    if (!c->first)
        c->last = &c->first;
    c->npending--;
    c->held -= p->held;
    if (!p->reply.done)
        dispatch_forget(c->dispatch, &p->reply);
    evbuffer_free(p->reply.out);
    free(p);
}

void connection_free(struct connection *c)
{
    while (c->first)
        free_pending(c);
    descriptors_drop(&c->passed);
    if (c->read)
        event_free(c->read);
    if (c->write)
        event_free(c->write);
    if (c->again)
        event_free(c->again);
    if (c->out)
        evbuffer_free(c->out);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    free(c);
}

/* --- out --- */

/* The first bytes of a reply, with its descriptors. False: not now, or the connection is broken (errno). */
static bool send_with_fds(struct connection *c, struct reply *r)
{
    struct evbuffer_iovec v = {NULL, 0};

    evbuffer_peek(r->out, -1, NULL, &v, 1);
    ssize_t n = descriptors_send(c->fd, v.iov_base, v.iov_len, r->fds, r->nfds);
    if (n < 0)
        return false;
    evbuffer_drain(r->out, (size_t)n);
    c->sent = true;
    r->nfds = 0;
    return true;
}

/* Moves finished replies into c->out, as far as order allows. False on a broken connection. */
static bool collect(struct connection *c)
{
    while (c->first && c->first->reply.done) {
        struct reply *r = &c->first->reply;

        if (r->nfds) {
            if (evbuffer_get_length(c->out))
                return true; /* their place is the reply's first byte */
            if (!send_with_fds(c, r))
                return errno == EAGAIN || errno == EINTR;
        }
        evbuffer_add_buffer(c->out, r->out);
        free_pending(c);
    }
    return true;
}

static bool write_some(struct connection *c)
{
    while (evbuffer_get_length(c->out)) {
        struct iovec v[8];
        int n = evbuffer_peek(c->out, -1, NULL, v, 8);
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)(n < 8 ? n : 8)};
        ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN;
        evbuffer_drain(c->out, (size_t)sent);
        c->sent = true;
    }
    return true;
}

static bool sendable(const struct connection *c)
{
    return evbuffer_get_length(c->out) || (c->first && c->first->reply.done);
}

static bool paused(const struct connection *c)
{
    return c->ending || evbuffer_get_length(c->out) + c->held >= OUTPUT_PAUSE || c->npending >= REPLIES_PAUSE;
}

static void end(struct connection *c)
{
    c->closed(c, c->closed_arg);
}

static void parse(struct connection *c);
static enum read_result receive(struct connection *c);

/* Sends what can be sent and runs the requests that were held up by it. False on a broken connection. */
static bool advance(struct connection *c)
{
    size_t before;

    do {
        before = c->npending + evbuffer_get_length(c->out);
        if (!collect(c) || !write_some(c))
            return false;
        if (!paused(c) && c->in_n)
            parse(c);
    } while (sendable(c) && c->npending + evbuffer_get_length(c->out) != before);
    return true;
}

/* Until nothing is left of what the peer has sent. One read a turn of the loop: a peer that never stops must
 * not keep the loop from the timer that ends all. */
static void drain_input(struct connection *c)
{
    const struct timeval next_turn = {0, 0};

    if (paused(c))
        return;
    if (receive(c) == READ_NOTHING)
        c->ending = true;
    else
        event_add(c->again, &next_turn);
}

/* Watches for what is to come. The peer's time begins anew only when it took something: what else happens
 * on the connection is no sign of it. */
static void watch(struct connection *c)
{
    const struct timeval stall = {STALL_S, 0};

    if (!sendable(c))
        event_del(c->write);
    else if (c->sent || !event_pending(c->write, EV_WRITE, NULL))
        event_add(c->write, &stall);
    c->sent = false;
    if (paused(c))
        event_del(c->read);
    else
        event_add(c->read, NULL);
}

/* After whatever happened. May end the connection, so it comes last in its callers. */
static void proceed(struct connection *c)
{
    if (c->draining)
        drain_input(c);
    if (!advance(c)) {
        end(c);
    } else if (evbuffer_get_length(c->out) > OUTPUT_MAX) {
        c->dispatch->count.clients_slow++;
        end(c);
    } else if (c->ending && !c->first && !evbuffer_get_length(c->out)) {
        end(c);
    } else {
        watch(c);
    }
}

/* Counts a finished reply until it is on its way; again does no harm. */
static void hold(struct connection *c, struct reply *r)
{
    struct pending *p = (struct pending *)r;
    size_t n = r->done ? evbuffer_get_length(r->out) : 0;

    c->held += n - p->held;
    p->held = n;
}

/* Called from deep inside the store, perhaps while it goes through all who wait or while another connection's
 * request is being run. So nothing is done here: the loop comes back to us. */
static void ready(struct reply *r)
{
    struct connection *c = r->owner;

    hold(c, r);
    if (!c->working)
        event_active(c->again, EV_TIMEOUT, 0);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    proceed(arg);
}

/* --- in --- */

static struct reply *new_reply(struct connection *c)
{
    struct pending *p = calloc(1, sizeof *p);

    if (!p || !(p->reply.out = evbuffer_new())) {
        free(p);
        return NULL;
    }
    p->reply.ready = ready;
    p->reply.owner = c;
    *c->last = p;
    c->last = &p->next;
    c->npending++;
    return &p->reply;
}

static void protocol_error(struct connection *c, const char *why)
{
    struct reply *r = new_reply(c);

    c->dispatch->count.protocol_errors++;
    c->ending = true;
    c->in_n = 0;
    if (r) {
        resp_error(r->out, "ERR Protocol error:", why);
        r->done = true;
        hold(c, r);
    }
}

/* ETAG HASH gets the descriptor that came first; any other request leaves them. */
static int fd_for(struct connection *c, const struct proto_request *q)
{
    if (q->argc < 2 || !span_eq_nocase(q->argv[0], SPAN_LITERAL("ETAG")) ||
        !span_eq_nocase(q->argv[1], SPAN_LITERAL("HASH")))
        return -1;
    return descriptors_take(&c->passed);
}

/* Runs the requests that are complete. */
static void parse(struct connection *c)
{
    static struct proto_request request; /* 16 KiB; the loop has one thread and requests do not nest */
    const char *why = NULL;
    size_t at = 0;

    c->working = true;
    while (!paused(c)) {
        long n = proto_parse(span_of(c->in + at, c->in_n - at), &request, &why);
        if (n == 0)
            break;
        if (n < 0) {
            protocol_error(c, why);
            break;
        }
        struct reply *r = new_reply(c);
        if (!r) {
            c->ending = true;
            break;
        }
        dispatch_request(c->dispatch, &request, fd_for(c, &request), r);
        hold(c, r);
        c->ending |= r->close_after;
        at += (size_t)n;
    }
    c->working = false;
    if (at && c->in_n) {
        c->in_n -= at;
        memmove(c->in, c->in + at, c->in_n);
    }
    if (c->in_n)
        return;
    descriptors_drop(&c->passed); /* whose request never came must not pile up */
    if (c->in_room > INPUT_KEPT) {
        free(c->in);
        c->in = NULL;
        c->in_room = 0;
    }
}

static bool make_room(struct connection *c)
{
    size_t room = c->in_room ? c->in_room * 2 : 4096;

    if (c->in_n < c->in_room)
        return true;
    if (room > INPUT_MAX)
        room = INPUT_MAX;
    if (room == c->in_room)
        return false;
    char *in = realloc(c->in, room);
    if (!in)
        return false;
    c->in = in;
    c->in_room = room;
    return true;
}

static enum read_result read_some(struct connection *c)
{
    bool excess = false;

    if (!make_room(c))
        return READ_END;
    ssize_t n = descriptors_receive(c->fd, c->in + c->in_n, c->in_room - c->in_n, &c->passed, &excess);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? READ_NOTHING : READ_END;
    if (n == 0)
        return READ_END;
    if (excess) {
        protocol_error(c, "too many descriptors");
        return READ_NOTHING;
    }
    c->in_n += (size_t)n;
    return READ_SOME;
}

/* Reads once and runs what is whole. */
static enum read_result receive(struct connection *c)
{
    enum read_result result = read_some(c);

    if (result == READ_SOME) {
        parse(c);
    } else if (result == READ_END) {
        /* A peer that has shut down its side may still wait for answers. */
        c->ending = true;
        c->in_n = 0;
    }
    return result;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd;
    if (what & EV_TIMEOUT) {
        c->dispatch->count.clients_slow++;
        end(c);
        return;
    }
    if (what & EV_READ)
        receive(c);
    proceed(c);
}

void connection_drain(struct connection *c)
{
    c->draining = true;
    proceed(c);
}
