/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site has many names: pages are learned under each of them, people and writes name any of them. etagd is
 * told which names belong together. A wildcard ServerAlias is not announced: what is typed under such a name
 * counts as all.
 */
#include <apr_strings.h>
#include <httpd.h>
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

static void add_name(apr_pool_t *p, const char *site, const char *name)
{
    if (name && *name)
        add_pair(bracketed(p, name), site);
}

/* httpd takes the text of <VirtualHost> for a name as well. Many virtual hosts may share an address: asked for
 * by it, the first of the configuration answers, which httpd keeps last in its list, and only that one has keys
 * under it. */
static bool answers_to(const server_rec *s, const server_addr_rec *address)
{
    if (!address->virthost || strcmp(address->virthost, "*") == 0 || strcmp(address->virthost, "_default_") == 0)
        return false;
    for (const server_rec *other = s->next; other; other = other->next)
        for (const server_addr_rec *a = other->addrs; a; a = a->next)
            if (a->virthost && strcasecmp(a->virthost, address->virthost) == 0 && a->host_port == address->host_port)
                return false;
    return true;
}

/* Every name under which request_key may build a key for this virtual host. Ports count for nothing. */
static void add_names(apr_pool_t *p, const server_rec *s, const char *site)
{
    add_name(p, site, site);
    add_name(p, site, s->server_hostname);
    for (int i = 0; s->names && i < s->names->nelts; i++)
        add_name(p, site, APR_ARRAY_IDX(s->names, i, const char *));
    for (const server_addr_rec *a = s->addrs; a; a = a->next)
        if (answers_to(s, a))
            add_name(p, site, a->virthost);
}

void announce_collect(apr_pool_t *p, server_rec *main_server)
{
    names = apr_array_make(p, 64, sizeof(struct span));
    for (server_rec *s = main_server; s; s = s->next) {
        const struct etag_server *server = etag_server_of(s);
        const char *site = server->base_host ? server->base_host : s->server_hostname;

        if (site)
            add_names(p, s, bracketed(p, site));
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
