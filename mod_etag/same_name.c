/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/same_name.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>

#include "mod_etag/mod_etag.h"

APLOG_USE_MODULE(etag);

/* A virtual host with its <VirtualHost> line. Hosts with one line cannot be confused: on each of its
 * addresses the first of them that has the name answers, always the same. */
struct host {
    server_rec *server;
    const char *addresses; /* "10.0.0.1:80 *:8080 " */
    const char *ports; /* "80 8080 " */
    bool shared; /* some name of it belongs to a host with another line, too */
};

struct hosts {
    apr_pool_t *pool;
    apr_array_header_t *all; /* of struct host *; the main server first */
    apr_hash_t *by_name; /* to arrays of struct host *, from names in lower case */
    bool several; /* there is more than one line */
    bool ports_suffice; /* different lines have different ports */
};

static struct host *at(const apr_array_header_t *list, int i)
{
    return APR_ARRAY_IDX(list, i, struct host *);
}

/* --- collecting --- */

static struct host *describe(apr_pool_t *p, server_rec *s)
{
    struct host *h = apr_pcalloc(p, sizeof *h);

    h->server = s;
    h->addresses = h->ports = "";
    for (const server_addr_rec *a = s->addrs; a; a = a->next) {
        h->addresses = apr_psprintf(p, "%s%s:%u ", h->addresses, a->virthost ? a->virthost : "", a->host_port);
        h->ports = apr_psprintf(p, "%s%u ", h->ports, a->host_port);
    }
    return h;
}

static bool only_port(const struct host *h, apr_port_t port)
{
    for (const server_addr_rec *a = h->server->addrs; a; a = a->next)
        if (a->host_port != port)
            return false;
    return true;
}

/* Whether a clash of these two is worth a line in the log. */
static bool surprising(const struct hosts *hosts, const struct host *a, const struct host *b)
{
    const struct host *main_host = at(hosts->all, 0);

    return a != main_host && b != main_host && !(only_port(a, 80) && only_port(b, 443)) &&
           !(only_port(a, 443) && only_port(b, 80));
}

static void warn(const struct host *a, const struct host *b, const char *name)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, a->server,
                 "mod_etag: %s is the name of virtual hosts on different addresses (%s:%u and %s:%u): use ETagBaseURL "
                 "to tell them apart, or nodes share their learned pages only where address and DocumentRoot are equal",
                 name, a->server->defn_name, a->server->defn_line_number, b->server->defn_name,
                 b->server->defn_line_number);
}

static apr_array_header_t *hosts_of(struct hosts *hosts, const char *name)
{
    apr_array_header_t *same = apr_hash_get(hosts->by_name, name, APR_HASH_KEY_STRING);

    if (!same) {
        same = apr_array_make(hosts->pool, 2, sizeof(struct host *));
        apr_hash_set(hosts->by_name, name, APR_HASH_KEY_STRING, same);
    }
    return same;
}

static void add_name(struct hosts *hosts, struct host *h, const char *as_given, bool say)
{
    char *name = apr_pstrdup(hosts->pool, as_given);
    const struct host *unexpected = NULL;

    ap_str_tolower(name);
    apr_array_header_t *same = hosts_of(hosts, name);
    for (int i = 0; i < same->nelts; i++) {
        struct host *other = at(same, i);
        if (other == h)
            return;
        if (strcmp(other->addresses, h->addresses) != 0) {
            h->shared = other->shared = true;
            if (surprising(hosts, other, h))
                unexpected = other;
        }
    }
    APR_ARRAY_PUSH(same, struct host *) = h;
    if (unexpected && say)
        warn(unexpected, h, name);
}

static bool is_name(const char *virthost)
{
    return virthost && *virthost && strcmp(virthost, "*") != 0 && strcasecmp(virthost, "_default_") != 0;
}

static void add_names(struct hosts *hosts, struct host *h, bool say)
{
    const apr_array_header_t *names = h->server->names;

    if (h->server->server_hostname)
        add_name(hosts, h, h->server->server_hostname, say);
    for (int i = 0; names && i < names->nelts; i++)
        add_name(hosts, h, APR_ARRAY_IDX(names, i, const char *), say);
    /* httpd also answers to what stands in <VirtualHost www.example.com:80>: often a bare address. */
    for (const server_addr_rec *a = h->server->addrs; a; a = a->next)
        if (is_name(a->virthost))
            add_name(hosts, h, a->virthost, false);
}

static void compare_lines(struct hosts *hosts)
{
    apr_hash_t *by_ports = apr_hash_make(hosts->pool), *by_addresses = apr_hash_make(hosts->pool);

    for (int i = 0; i < hosts->all->nelts; i++) {
        apr_hash_set(by_ports, at(hosts->all, i)->ports, APR_HASH_KEY_STRING, "");
        apr_hash_set(by_addresses, at(hosts->all, i)->addresses, APR_HASH_KEY_STRING, "");
    }
    hosts->several = apr_hash_count(by_addresses) > 1;
    hosts->ports_suffice = apr_hash_count(by_addresses) == apr_hash_count(by_ports);
}

/* --- telling apart --- */

static bool has_base_url(const struct host *h)
{
    return etag_server_of(h->server)->base_host != NULL;
}

/* Ports alone where they suffice: equally configured nodes may listen on addresses of their own. What a
 * wildcard may mean is not worked out; the text of either side differs from that of all others. */
static void tell_apart(const struct hosts *hosts, const struct host *h)
{
    struct etag_server *server = ap_get_module_config(h->server->module_config, &etag_module);
    const core_server_config *core = ap_get_core_module_config(h->server->module_config);
    const bool wild = h->server->wild_names && h->server->wild_names->nelts;

    if (h->shared || (wild && hosts->several))
        server->told_apart_by = apr_pstrcat(hosts->pool, hosts->ports_suffice ? h->ports : h->addresses, "\n",
                                            core->ap_document_root, NULL);
}

void same_name_post_config(apr_pool_t *p, server_rec *main_server, bool say)
{
    struct hosts hosts = {.pool = p, .all = apr_array_make(p, 16, sizeof(struct host *)), .by_name = apr_hash_make(p)};

    for (server_rec *s = main_server; s; s = s->next)
        APR_ARRAY_PUSH(hosts.all, struct host *) = describe(p, s);
    compare_lines(&hosts);
    for (int i = 0; i < hosts.all->nelts; i++)
        if (!has_base_url(at(hosts.all, i)))
            add_names(&hosts, at(hosts.all, i), say);
    for (int i = 0; i < hosts.all->nelts; i++)
        tell_apart(&hosts, at(hosts.all, i));
}
