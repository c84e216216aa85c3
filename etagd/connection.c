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
#include "etagd/log.h"
#include "etagd/resp.h"

#define INPUT_MAX (PROTO_MAX_REQUEST + 65536) /* one whole request and what came with its end */
#define OUTPUT_PAUSE (1u << 20)               /* unread output at which no more requests are read */
#define OUTPUT_MAX (4u << 20)                 /* ... at which the connection ends */
#define REPLIES_PAUSE 1024u                   /* unfinished replies at which no more requests are read */
#define STALL_S 30                            /* without progress of a peer that owes us reading */
#define FDS_MAX 4                             /* descriptors that may wait for their request */

struct pending {
    struct reply reply;
    struct pending *next;
};

struct connection {
    int fd;
    struct dispatch *dispatch;
    struct event *read, *write;
    struct evbuffer *out;            /* ready to go */
    struct pending *first, **last;   /* replies in order of their requests */
    size_t npending;
    char *in;                        /* unread input */
    size_t in_n, in_room;
    int fds[FDS_MAX];
    unsigned nfds;
    bool ending;                     /* nothing more is read; close when everything is sent */
    bool working;                    /* requests are being run: the flush waits until they are */
    void (*closed)(struct connection *c, void *arg);
    void *closed_arg;
    struct connection *next;
};

static void on_event(evutil_socket_t fd, short what, void *arg);
static void flush(struct connection *c);

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
    if (!c->out || !c->read || !c->write || event_add(c->read, NULL) < 0) {
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
    if (!p->reply.done)
        dispatch_forget(c->dispatch, &p->reply);
    evbuffer_free(p->reply.out);
    free(p);
}

void connection_free(struct connection *c)
{
    while (c->first)
        free_pending(c);
    while (c->nfds)
        close(c->fds[--c->nfds]);
    if (c->read)
        event_free(c->read);
    if (c->write)
        event_free(c->write);
    if (c->out)
        evbuffer_free(c->out);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    free(c);
}

/* --- out --- */

/* The first bytes of a reply, with its descriptors. False: not now, or the connection is broken. */
static bool send_with_fds(struct connection *c, struct reply *r)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec v;
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    if (evbuffer_peek(r->out, -1, NULL, &v, 1) < 1)
        return false;
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(r->nfds * sizeof(int));
    memcpy(CMSG_DATA(h), r->fds, r->nfds * sizeof(int));
    m.msg_controllen = CMSG_SPACE(r->nfds * sizeof(int));
    ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0)
        return false;
    evbuffer_drain(r->out, (size_t)n);
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
        if (r->close_after)
            c->ending = true;
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
    }
    return true;
}

static bool sendable(const struct connection *c)
{
    return evbuffer_get_length(c->out) || (c->first && c->first->reply.done);
}

static bool paused(const struct connection *c)
{
    return c->ending || evbuffer_get_length(c->out) >= OUTPUT_PAUSE || c->npending >= REPLIES_PAUSE;
}

static void end(struct connection *c)
{
    c->closed(c, c->closed_arg);
}

static void parse(struct connection *c);

/* Sends what can be sent, then watches for what is to come. May end the connection. */
static void flush(struct connection *c)
{
    const struct timeval stall = {STALL_S, 0};
    size_t before;

    if (c->working)
        return;
    do {
        before = c->npending + evbuffer_get_length(c->out);
        if (!collect(c) || !write_some(c)) {
            end(c);
            return;
        }
        /* Requests that were read before the pause are run now. */
        if (!paused(c) && c->in_n)
            parse(c);
    } while (sendable(c) && c->npending + evbuffer_get_length(c->out) != before);
    if (evbuffer_get_length(c->out) > OUTPUT_MAX) {
        c->dispatch->count.clients_slow++;
        end(c);
        return;
    }
    if (c->ending && !c->first && !evbuffer_get_length(c->out)) {
        end(c);
        return;
    }
    if (sendable(c))
        event_add(c->write, &stall);
    if (paused(c))
        event_del(c->read);
    else
        event_add(c->read, NULL);
}

static void ready(struct reply *r)
{
    flush(r->owner);
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
    }
}

/* A request that takes a descriptor gets the one that came first; any other leaves them. */
static int fd_for(struct connection *c, const struct proto_request *q)
{
    int fd;

    if (!c->nfds || q->argc < 2 || !span_eq_nocase(q->argv[1], SPAN_LITERAL("HASH")))
        return -1;
    fd = c->fds[0];
    memmove(c->fds, c->fds + 1, --c->nfds * sizeof *c->fds);
    return fd;
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
        at += (size_t)n;
    }
    c->working = false;
    if (at && c->in_n) {
        c->in_n -= at;
        memmove(c->in, c->in + at, c->in_n);
    }
    /* Descriptors whose request never comes must not pile up. */
    while (!c->in_n && c->nfds)
        close(c->fds[--c->nfds]);
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

static bool take_fds(struct connection *c, struct msghdr *m)
{
    bool ok = !(m->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (c->nfds < FDS_MAX) {
                c->fds[c->nfds++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

/* False: the connection is at its end. */
static bool read_some(struct connection *c)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
    struct msghdr m = {.msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n;

    if (!make_room(c))
        return false;
    struct iovec v = {c->in + c->in_n, c->in_room - c->in_n};
    m.msg_iov = &v;
    n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (!take_fds(c, &m))
        protocol_error(c, "too many descriptors");
    c->in_n += (size_t)n;
    return n > 0;
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
    if (what & EV_READ) {
        if (!read_some(c)) {
            /* A peer that has shut down its side may still wait for answers. */
            c->ending = true;
            c->in_n = 0;
        } else {
            parse(c);
        }
    }
    flush(c);
}

void connection_drain(struct connection *c)
{
    c->ending = true;
    c->in_n = 0;
    flush(c);
}
