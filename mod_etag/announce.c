/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys carry one host, people type any name of a site: etagd is told which names mean which host. A
 * wildcard ServerAlias is not announced: what is typed under such a name counts as all.
 */
#include <apr_strings.h>
#include <ap_listen.h>
#include <http_log.h>

#include "mod_etag/config.h"
#include "mod_etag/node_private.h"
#include "mod_etag/shared.h"

#define PAIRS_PER_CALL 256 /* etagd takes 1,024 arguments */

APLOG_USE_MODULE(etag);

static apr_array_header_t *names; /* of struct span: alias, host, alias, host, ... */

static const char *bracketed(apr_pool_t *p, const char *host)
{
    return *host != '[' && strchr(host, ':') ? apr_pstrcat(p, "[", host, "]", NULL) : host;
}

static void add_pair(const char *alias, const char *host)
{
    for (int i = 0; i < names->nelts; i += 2)
        if (strcasecmp(APR_ARRAY_IDX(names, i, struct span).p, alias) == 0 &&
            strcasecmp(APR_ARRAY_IDX(names, i + 1, struct span).p, host) == 0)
            return;
    APR_ARRAY_PUSH(names, struct span) = span_str(alias);
    APR_ARRAY_PUSH(names, struct span) = span_str(host);
}

static void add_port(apr_array_header_t *ports, unsigned port)
{
    for (int i = 0; i < ports->nelts; i++)
        if (APR_ARRAY_IDX(ports, i, unsigned) == port)
            return;
    if (port && port != 80 && port != 443)
        APR_ARRAY_PUSH(ports, unsigned) = port;
}

/* The ports with which a key of this virtual host may be written, all of them: where they are more than
 * etagd keeps of a name, it counts every operation with a host as all. */
static const apr_array_header_t *ports_of(apr_pool_t *p, const server_rec *s)
{
    apr_array_header_t *ports = apr_array_make(p, 4, sizeof(unsigned));
    bool any = !s->is_virtual; /* answers on every port: also <VirtualHost *> */

    add_port(ports, s->port);
    for (const server_addr_rec *a = s->addrs; a; a = a->next) {
        add_port(ports, a->host_port);
        any = any || a->host_port == 0;
    }
    for (const ap_listen_rec *l = any ? ap_listeners : NULL; l; l = l->next)
        add_port(ports, l->bind_addr->port);
    return ports;
}

static void add_name(apr_pool_t *p, const server_rec *s, const char *base, const char *name)
{
    const apr_array_header_t *ports = ports_of(p, s);

    if (!name)
        return;
    name = bracketed(p, name);
    if (base) {
        add_pair(name, base);
        return;
    }
    add_pair(name, name);
    for (int i = 0; i < ports->nelts; i++)
        add_pair(name, apr_psprintf(p, "%s:%u", name, APR_ARRAY_IDX(ports, i, unsigned)));
}

void announce_collect(apr_pool_t *p, server_rec *main_server)
{
    names = apr_array_make(p, 64, sizeof(struct span));
    for (server_rec *s = main_server; s; s = s->next) {
        const struct etag_server *server = etag_server_of(s);
        const char *base = !server->base_host  ? NULL
                           : server->base_port ? apr_psprintf(p, "%s:%u", server->base_host, server->base_port)
                                               : server->base_host;

        add_name(p, s, base, s->server_hostname);
        for (int i = 0; s->names && i < s->names->nelts; i++)
            add_name(p, s, base, APR_ARRAY_IDX(s->names, i, const char *));
        if (base)
            add_pair(base, base);
    }
}

/* Pairs from the i-th on. False when etagd did not answer; a refusal is final, and safe: names that etagd
 * does not know count as all. */
static bool announce_some(apr_pool_t *p, int i, int64_t *budget_ns)
{
    struct span argv[2 + 2 * PAIRS_PER_CALL] = {SPAN_LITERAL("ETAG"), SPAN_LITERAL("HOSTS")};
    int argc = 2;

    while (argc < (int)(sizeof argv / sizeof *argv) && i < names->nelts)
        argv[argc++] = APR_ARRAY_IDX(names, i++, struct span);
    const struct redisReply *reply = node_call(p, argc, argv, -1, budget_ns);
    if (reply && !node_reply_done(reply))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, connections_server(),
                     "mod_etag: etagd did not take the names of the virtual hosts: invalidations of a URL, prefix or "
                     "host will forget everything");
    return reply != NULL;
}

void announce_hosts(apr_pool_t *p, uint64_t generation, int64_t *budget_ns)
{
    if (!names->nelts || shared_announced(generation) || !shared_claim_announcement(generation))
        return;
    for (int i = 0; i < names->nelts; i += 2 * PAIRS_PER_CALL)
        if (!announce_some(p, i, budget_ns)) {
            shared_announcement_failed();
            return;
        }
}
