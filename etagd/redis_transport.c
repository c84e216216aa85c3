/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/redis_transport.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "etagd/redis_url.h"

struct redis_transport {
    struct event_base *base;
    struct evdns_base *dns;
    struct redis_transport_events events;
    struct bufferevent *bev;
    bool is_tcp;
    bool try_ipv6;
    char where[160]; /* for people */
};

static void tell_broken(struct redis_transport *t, const char *what)
{
    char why[256];

    snprintf(why, sizeof why, "%s: %s", t->where, what);
    t->events.broken(t->events.arg, why);
}

/* ---- events ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
    struct redis_transport *t = arg;

    (void)bev;
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

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct redis_transport *t = arg;
    int error = EVUTIL_SOCKET_ERROR(), dns = bufferevent_socket_get_dns_error(bev);

    if (what & BEV_EVENT_CONNECTED) {
        set_options(t);
        t->events.open(t->events.arg);
    } else {
        tell_broken(t, dns                    ? evutil_gai_strerror(dns)
                       : what & BEV_EVENT_EOF ? "the server closed the connection"
                                              : evutil_socket_error_to_string(error));
    }
}

/* ---- connecting ---- */

/* libevent tries one address only, so a name is tried as one family and, failing that, as the other. */
static int family(struct redis_transport *t, const char *host)
{
    struct in6_addr address;

    if (evutil_inet_pton(AF_INET, host, &address) == 1)
        return AF_INET;
    if (strchr(host, ':'))
        return AF_INET6;
    t->try_ipv6 = !t->try_ipv6;
    return t->try_ipv6 ? AF_INET6 : AF_INET;
}

static bool connect_unix(struct redis_transport *t, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    memcpy(un.sun_path, path, strlen(path) + 1);
    return bufferevent_socket_connect(t->bev, (struct sockaddr *)&un, sizeof un) == 0;
}

/* Looked up without blocking the loop; addresses and names of the hosts file need no server. */
static bool connect_tcp(struct redis_transport *t, const struct redis_address *at)
{
    if (!t->dns)
        t->dns = evdns_base_new(t->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    return bufferevent_socket_connect_hostname(t->bev, t->dns, family(t, at->host), at->host, (int)at->port) == 0;
}

void redis_transport_connect(struct redis_transport *t, const struct redis_url *url)
{
    redis_url_text(url, t->where, sizeof t->where);
    t->is_tcp = url->path[0] == '\0';
    errno = 0;
    t->bev = bufferevent_socket_new(t->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (t->bev) {
        bufferevent_setcb(t->bev, on_read, NULL, on_event, t);
        bufferevent_enable(t->bev, EV_READ | EV_WRITE);
        if (t->is_tcp ? connect_tcp(t, &url->at) : connect_unix(t, url->path))
            return;
    }
    tell_broken(t, errno ? strerror(errno) : "cannot connect");
}

void redis_transport_keep_family(struct redis_transport *t)
{
    t->try_ipv6 = !t->try_ipv6;
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

struct redis_transport *redis_transport_new(struct event_base *base, const struct redis_transport_events *events)
{
    struct redis_transport *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->base = base;
    t->events = *events;
    t->try_ipv6 = true; /* IPv4 first */
    return t;
}

void redis_transport_close(struct redis_transport *t)
{
    if (t && t->bev) {
        bufferevent_free(t->bev);
        t->bev = NULL;
    }
}

void redis_transport_free(struct redis_transport *t)
{
    if (!t)
        return;
    redis_transport_close(t);
    if (t->dns)
        evdns_base_free(t->dns, 0);
    free(t);
}
