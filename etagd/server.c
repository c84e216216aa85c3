/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etagd/accounts.h"
#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/connection.h"
#include "etagd/dispatch.h"
#include "etagd/listener.h"
#include "etagd/log.h"

#define ALLOWED_MAX (ACCOUNTS_MAX + 2) /* root and ourselves */
#define RETRY_MS 100 /* out of descriptors: how long not to accept */
#define LOG_EVERY 60000u /* ms between two log lines about one thing */
#define REFUSED_KEPT 16 /* users whose last line is remembered */

/* When a refused user was last logged; CLOCK_BOOTTIME in ms, 0: a free place. */
struct refused {
    uid_t user;
    uint64_t logged;
};

struct server {
    const struct conf *conf;
    struct dispatch *dispatch;
    struct event_base *base;
    struct listener listener;
    struct event *accept, *retry;
    struct connection *connections; /* list */
    uid_t allowed[ALLOWED_MAX];
    size_t nallowed;
    struct refused refused[REFUSED_KEPT];
    uint64_t starved_logged; /* that descriptors ran out */
    bool draining;
    void (*idle)(void *arg);
    void *idle_arg;
};

static bool read_allowed(struct server *s, struct conf_error *err)
{
    char wrong[64];

    if (!accounts_users(s->conf->allow_users, s->allowed, &s->nallowed, wrong)) {
        snprintf(err->text, sizeof err->text, "AllowUsers: \"%s\" is no user of this system", wrong);
        return false;
    }
    s->allowed[s->nallowed++] = 0;
    s->allowed[s->nallowed++] = geteuid();
    return true;
}

/* Once per user and minute. Of more users than are remembered, the one logged longest ago gives way. */
static bool worth_a_line(struct server *s, uid_t user, uint64_t now)
{
    struct refused *place = &s->refused[0];

    for (size_t i = 0; i < REFUSED_KEPT; i++) {
        struct refused *r = &s->refused[i];
        if (r->logged && r->user == user) {
            place = r;
            break;
        }
        if (r->logged < place->logged)
            place = r;
    }
    if (place->logged && place->user == user && now - place->logged < LOG_EVERY)
        return false;
    *place = (struct refused){user, now};
    return true;
}

/* The socket is AF_UNIX, so the kernel vouches for the peer. */
static bool admitted(struct server *s, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return false;
    for (size_t i = 0; i < s->nallowed; i++)
        if (s->allowed[i] == peer.uid)
            return true;
    if (worth_a_line(s, peer.uid, clock_boot_ms()))
        log_warn("refused a connection of user id %u (process %d); to admit it, name it in AllowUsers",
                 (unsigned)peer.uid, (int)peer.pid);
    return false;
}

static void refuse(int fd, const char *reply)
{
    (void)!send(fd, reply, strlen(reply), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void closed(struct connection *c, void *arg)
{
    struct server *s = arg;
    struct connection **at = &s->connections;

    while (*at != c)
        at = connection_next(*at);
    *at = *connection_next(c);
    connection_free(c);
    s->dispatch->clients--;
    if (s->draining && !s->connections && s->idle)
        s->idle(s->idle_arg);
}

static void serve(struct server *s, int fd)
{
    if (!admitted(s, fd)) {
        s->dispatch->count.clients_denied++;
        refuse(fd, "-DENIED this user may not use this etagd; see AllowUsers\r\n");
        return;
    }
    struct connection *c = NULL;
    if (s->dispatch->clients < s->conf->max_clients)
        c = connection_new(s->base, fd, s->dispatch, closed, s);
    if (!c) {
        s->dispatch->count.clients_over++;
        refuse(fd, "-ERR max number of clients reached; see MaxClients\r\n");
        return;
    }
    *connection_next(c) = s->connections;
    s->connections = c;
    s->dispatch->clients++;
    s->dispatch->count.clients_accepted++;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;

    (void)fd;
    (void)what;
    event_add(s->accept, NULL); /* draining ends the pause, so accept is there */
}

static void starved(struct server *s, const char *why)
{
    uint64_t now = clock_boot_ms();

    if (s->starved_logged && now - s->starved_logged < LOG_EVERY)
        return;
    s->starved_logged = now;
    log_error("cannot accept a connection: %s; raise the limit of open files (LimitNOFILE)", why);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct timeval pause = {0, RETRY_MS * 1000};

    (void)what;
    for (;;) {
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer >= 0) {
            serve(s, peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* The listener stays readable: without a pause the loop would spin, and the lease lapse. */
            starved(s, strerror(errno));
            event_del(s->accept);
            event_add(s->retry, &pause);
        }
        return;
    }
}

struct server *server_new(struct event_base *base, const struct conf *conf, struct dispatch *dispatch,
                          struct conf_error *err)
{
    struct server *s = calloc(1, sizeof *s);

    snprintf(err->text, sizeof err->text, "out of memory");
    if (!s)
        return NULL;
    s->conf = conf;
    s->dispatch = dispatch;
    s->base = base;
    s->listener.fd = s->listener.lock_fd = -1;
    if (!read_allowed(s, err) || !listener_open(&s->listener, conf, err)) {
        server_free(s);
        return NULL;
    }
    s->accept = event_new(base, s->listener.fd, EV_READ | EV_PERSIST, on_accept, s);
    s->retry = evtimer_new(base, on_retry, s);
    if (!s->accept || !s->retry || event_add(s->accept, NULL) < 0) {
        server_free(s);
        return NULL;
    }
    return s;
}

void server_drain(struct server *s, void (*idle)(void *arg), void *arg)
{
    s->draining = true;
    s->idle = idle;
    s->idle_arg = arg;
    event_free(s->accept);
    s->accept = NULL;
    event_del(s->retry);
    listener_stop(&s->listener, s->conf);
    if (!s->connections) {
        idle(arg);
        return;
    }
    for (struct connection *c = s->connections, *next; c; c = next) {
        next = *connection_next(c);
        connection_drain(c);
    }
}

void server_free(struct server *s)
{
    if (!s)
        return;
    while (s->connections) {
        struct connection *c = s->connections;
        s->connections = *connection_next(c);
        connection_free(c);
    }
    if (s->accept)
        event_free(s->accept);
    if (s->retry)
        event_free(s->retry);
    listener_close(&s->listener, s->conf);
    free(s);
}
