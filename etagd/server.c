/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/server.h"

#include <errno.h>
#include <event2/event.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/connection.h"
#include "etagd/dispatch.h"
#include "etagd/listener.h"
#include "etagd/log.h"

#define ALLOWED_MAX 32
#define RETRY_MS 100        /* out of descriptors: how long not to accept */
#define DENIED_EVERY 60000u /* ms between two log lines about refused users */

struct server {
    const struct conf *conf;
    struct dispatch *dispatch;
    struct event_base *base;
    struct listener listener;
    struct event *accept, *retry;
    struct connection *connections; /* list */
    uid_t allowed[ALLOWED_MAX];
    size_t nallowed;
    uint64_t denied_logged;
    bool draining;
    void (*idle)(void *arg);
    void *idle_arg;
};

static bool add_user(struct server *s, const char *name, struct conf_error *err)
{
    const struct passwd *p = getpwnam(name);
    char *end;
    unsigned long id = strtoul(name, &end, 10);

    if (s->nallowed == ALLOWED_MAX || (!p && (*end || end == name))) {
        snprintf(err->text, sizeof err->text, "AllowUsers: \"%s\" is no user of this system (or more than %d are named)",
                 name, ALLOWED_MAX - 2);
        return false;
    }
    s->allowed[s->nallowed++] = p ? p->pw_uid : (uid_t)id;
    return true;
}

static bool read_allowed(struct server *s, struct conf_error *err)
{
    char *words = strdup(s->conf->allow_users ? s->conf->allow_users : ""), *rest = words;
    bool ok = words != NULL;

    s->allowed[s->nallowed++] = 0;
    s->allowed[s->nallowed++] = geteuid();
    for (char *word; ok && (word = strtok_r(rest, " \t,", &rest));)
        ok = add_user(s, word, err);
    free(words);
    return ok;
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
    uint64_t now = clock_boot_ms();
    if (!s->denied_logged || now - s->denied_logged > DENIED_EVERY) {
        s->denied_logged = now;
        log_warn("refused a connection of user id %u (process %d); to admit it, name it in AllowUsers",
                 (unsigned)peer.uid, (int)peer.pid);
    }
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
    if (!s->draining)
        event_add(s->accept, NULL);
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
            log_error("cannot accept a connection: %s; raise the limit of open files (LimitNOFILE)", strerror(errno));
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
    event_del(s->accept);
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
