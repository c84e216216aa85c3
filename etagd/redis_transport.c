/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/redis_transport.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "etagd/redis_url.h"
#include "etagd/resolver.h"
#include "etagd/tls.h"

struct redis_transport {
    struct event_base *base;
    struct resolver *resolver;
    const struct tls *tls; /* NULL: none can be had */
    struct redis_transport_events events;
    struct bufferevent *bev;
    enum { CONNECTING, SHAKING_HANDS, OPEN, BROKEN } stage;
    bool is_tcp, wants_tls;
    bool heard; /* something arrived */
    unsigned turn; /* which of the host's addresses is taken */
    char host[REDIS_HOST];
    char where[160]; /* for people */
};

static void tell_broken(struct redis_transport *t, const char *what)
{
    char why[440];

    t->stage = BROKEN;
    snprintf(why, sizeof why, "%s: %s", t->where, what);
    t->events.broken(t->events.arg, why);
}

/* ---- events ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
    struct redis_transport *t = arg;

    (void)bev;
    t->heard = true;
    t->events.readable(t->events.arg);
}

static void set_options(struct redis_transport *t)
{
    evutil_socket_t fd = bufferevent_getfd(t->bev);
    int on = 1;

    if (!t->is_tcp)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* To be asked once per break. */
static void explain(struct redis_transport *t, short what, int error, char *out, size_t size)
{
    const char *hint = "";

    if (tls_explain(t->bev, out, size))
        return;
    if (t->stage == OPEN && !t->heard && t->is_tcp)
        hint = t->wants_tls ? " before it said anything: does it want a certificate (TLSCertificateFile)?"
                            : " before it said anything: does it speak TLS (rediss://)?";
    snprintf(out, size, "%s%s",
             what & BEV_EVENT_EOF ? "the server closed the connection" : evutil_socket_error_to_string(error), hint);
}

static void start_tls(struct redis_transport *t);

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct redis_transport *t = arg;
    int error = EVUTIL_SOCKET_ERROR();
    char why[256];

    (void)bev;
    if (!(what & BEV_EVENT_CONNECTED)) {
        explain(t, what, error, why, sizeof why);
        tell_broken(t, why);
        return;
    }
    if (t->stage == CONNECTING)
        set_options(t);
    if (t->stage == CONNECTING && t->wants_tls) {
        start_tls(t);
    } else {
        t->stage = OPEN;
        t->events.open(t->events.arg);
    }
}

/* The socket changes hands: a connection that failed says so in its own words before TLS is spoken of. */
static void start_tls(struct redis_transport *t)
{
    evutil_socket_t fd = bufferevent_getfd(t->bev);
    SSL *ssl = tls_session(t->tls, t->host);
    struct bufferevent *bev = NULL;

    if (ssl)
        bev = bufferevent_openssl_socket_new(t->base, fd, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) {
        tell_broken(t, "out of memory for TLS");
        return;
    }
    bufferevent_setfd(t->bev, -1);
    bufferevent_free(t->bev);
    t->bev = bev;
    t->stage = SHAKING_HANDS;
    bufferevent_setcb(bev, on_read, NULL, on_event, t);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* ---- connecting ---- */

static void connect_to(struct redis_transport *t, const struct sockaddr *to, socklen_t size)
{
    errno = 0;
    if (bufferevent_socket_connect(t->bev, to, (int)size) != 0)
        tell_broken(t, errno ? strerror(errno) : "cannot connect");
}

static void connect_unix(struct redis_transport *t, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    memcpy(un.sun_path, path, strlen(path) + 1);
    connect_to(t, (struct sockaddr *)&un, sizeof un);
}

static void on_found(void *arg, const struct addrinfo *list, const char *why)
{
    struct redis_transport *t = arg;
    const struct addrinfo *at = list;
    unsigned n = 0;

    if (!list) {
        tell_broken(t, why);
        return;
    }
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        n++;
    for (unsigned i = t->turn++ % n; i > 0; i--)
        at = at->ai_next;
    connect_to(t, at->ai_addr, at->ai_addrlen);
}

void redis_transport_connect(struct redis_transport *t, const struct redis_url *url)
{
    redis_url_text(url, t->where, sizeof t->where);
    t->is_tcp = url->path[0] == '\0';
    t->wants_tls = url->tls;
    memcpy(t->host, url->at.host, sizeof t->host);
    if (t->wants_tls && !t->tls) {
        tell_broken(t, "TLS is not configured");
        return;
    }
    t->stage = CONNECTING;
    t->heard = false;
    t->bev = bufferevent_socket_new(t->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!t->bev) {
        tell_broken(t, "out of memory");
        return;
    }
    bufferevent_setcb(t->bev, on_read, NULL, on_event, t);
    bufferevent_enable(t->bev, EV_READ | EV_WRITE);
    if (t->is_tcp)
        resolver_find(t->resolver, url->at.host, url->at.port, on_found, t);
    else
        connect_unix(t, url->path);
}

void redis_transport_keep_address(struct redis_transport *t)
{
    t->turn--;
}

const char *redis_transport_waiting_for(const struct redis_transport *t)
{
    if (t->stage == SHAKING_HANDS)
        return "no TLS handshake in time while connecting: does the server speak TLS at this port (tls-port)?";
    return "no answer in time while connecting";
}

/* ---- bytes ---- */

bool redis_transport_write(struct redis_transport *t, const void *bytes, size_t n)
{
    return bufferevent_write(t->bev, bytes, n) == 0;
}

struct evbuffer *redis_transport_input(struct redis_transport *t)
{
    return bufferevent_get_input(t->bev);
}

/* ---- life ---- */

struct redis_transport *redis_transport_new(struct event_base *base, const struct tls *tls,
                                            const struct redis_transport_events *events)
{
    struct redis_transport *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->base = base;
    t->tls = tls;
    t->events = *events;
    t->resolver = resolver_new(base);
    if (t->resolver)
        return t;
    free(t);
    return NULL;
}

/* So that the server can tell an end from a cut (RFC 8446, 6.1); whether it goes out does not matter to us. */
static void notify_close(struct redis_transport *t)
{
    SSL *ssl = bufferevent_openssl_get_ssl(t->bev);

    if (ssl && t->stage == OPEN)
        SSL_shutdown(ssl);
    ERR_clear_error();
}

void redis_transport_close(struct redis_transport *t)
{
    if (!t)
        return;
    resolver_forget(t->resolver);
    if (t->bev) {
        notify_close(t);
        bufferevent_free(t->bev);
        t->bev = NULL;
    }
}

void redis_transport_free(struct redis_transport *t)
{
    if (!t)
        return;
    redis_transport_close(t);
    resolver_free(t->resolver);
    free(t);
}
