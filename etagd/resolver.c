/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/resolver.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* How much longer than one family's answer the other's may take: less than anybody waits for a connection. */
#define SKEW_S "0.3"

struct question {
    struct resolver *asker; /* NULL: forgotten */
    resolver_found *found;
    void *arg;
};

struct resolver {
    struct event_base *base;
    struct evdns_base *dns;
    struct question *open;
};

/* libevent may have neither an error nor an address to tell. */
static void answer(resolver_found *found, void *arg, int error, struct addrinfo *list)
{
    found(arg, list, list ? NULL : error ? evutil_gai_strerror(error) : "no address is known");
    if (list)
        evutil_freeaddrinfo(list);
}

static void on_answer(int error, struct addrinfo *list, void *arg)
{
    struct question *q = arg;

    if (q->asker) {
        q->asker->open = NULL;
        answer(q->found, q->arg, error, list);
    } else if (list) {
        evutil_freeaddrinfo(list);
    }
    free(q);
}

static bool open_dns(struct resolver *r)
{
    if (r->dns)
        return true;
    r->dns = evdns_base_new(r->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (r->dns)
        evdns_base_set_option(r->dns, "getaddrinfo-allow-skew:", SKEW_S);
    return r->dns != NULL;
}

void resolver_find(struct resolver *r, const char *host, unsigned port, resolver_found *found, void *arg)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct addrinfo *list = NULL;
    struct question *q;
    char service[8];

    resolver_forget(r);
    snprintf(service, sizeof service, "%u", port);
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(host, service, &hints, &list) == 0) {
        answer(found, arg, 0, list);
        return;
    }
    hints.ai_flags = 0;
    q = open_dns(r) ? calloc(1, sizeof *q) : NULL;
    if (!q) {
        found(arg, NULL, r->dns ? "out of memory" : "names cannot be looked up: is /etc/resolv.conf readable?");
        return;
    }
    *q = (struct question){r, found, arg};
    r->open = q; /* before it is asked: the answer may come at once */
    evdns_getaddrinfo(r->dns, host, service, &hints, on_answer, q);
}

/* The question itself goes on: libevent calls back later what is cancelled, and may have lost its base by then. */
void resolver_forget(struct resolver *r)
{
    if (r->open)
        r->open->asker = NULL;
    r->open = NULL;
}

struct resolver *resolver_new(struct event_base *base)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (r)
        r->base = base;
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    resolver_forget(r);
    if (r->dns)
        evdns_base_free(r->dns, 1); /* all open questions are answered, by the event loop */
    free(r);
}
