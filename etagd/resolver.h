/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of a host, without blocking the event loop: of the host itself when it is an address, of the hosts file, or
 * of the name servers of resolv.conf. Event-loop thread only.
 */
#ifndef ETAGD_RESOLVER_H
#define ETAGD_RESOLVER_H

#include <netdb.h>

struct event_base;
struct resolver;

/* list lives during the call and is not empty; NULL: why says for people what went wrong. */
typedef void resolver_found(void *arg, const struct addrinfo *list, const char *why);

/* NULL: out of memory. */
struct resolver *resolver_new(struct event_base *base);
void resolver_free(struct resolver *r);

/* found is called once, perhaps at once, unless resolver_forget or another resolver_find comes first. */
void resolver_find(struct resolver *r, const char *host, unsigned port, resolver_found *found, void *arg);
void resolver_forget(struct resolver *r);

#endif
