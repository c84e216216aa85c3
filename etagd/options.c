/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/options.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "etagd/conf.h"

#define DEFAULT_FILE "/etc/etagd/etagd.conf" /* read when it is there and --config is not given */

static const char help[] =
    "etagd --config /etc/etagd/etagd.conf --check-config\n"
    "etagd --redis redis://etagd@redis.example.com:6379/0\n\n"
    "Keeps the entity-tags of one node, for mod_etag; without options it serves this node alone.\n\n"
    "  --config FILE    configuration file (default " DEFAULT_FILE " when it exists)\n"
    "  --socket PATH    socket that mod_etag connects to\n"
    "  --redis URL      shared store: redis://user@host:port/db, unix:/path, sentinel://..., cluster://...,\n"
    "                   by TLS rediss://, sentinels://, clusters://; none: embedded\n"
    "  --node NAME      this node's name in the store\n"
    "  --check-config   check the configuration and exit: 0 good, 78 faulty\n"
    "  --print-config   print the configuration in force and exit\n"
    "  --version, --help\n";

enum options_result options_parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'},
        {"redis", required_argument, NULL, 'r'},
        {"node", required_argument, NULL, 'n'},
        {"check-config", no_argument, NULL, 'k'},
        {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){.config = NULL};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->config = optarg;
            break;
        case 's':
            o->socket = optarg;
            break;
        case 'r':
            o->redis = optarg;
            break;
        case 'n':
            o->node = optarg;
            break;
        case 'k':
            o->check_config = true;
            break;
        case 'p':
            o->print_config = true;
            break;
        case 'v':
            printf("etagd %s\n", PACKAGE_VERSION);
            return OPTIONS_DONE;
        case 'h':
            fputs(help, stdout);
            return OPTIONS_DONE;
        default:
            fputs("etagd: see etagd --help\n", stderr);
            return OPTIONS_WRONG;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "etagd: unexpected argument \"%s\"; see etagd --help\n", argv[optind]);
        return OPTIONS_WRONG;
    }
    return OPTIONS_RUN;
}

struct conf *options_conf(const struct options *o, struct conf_error *err)
{
    const char *file = o->config ? o->config : access(DEFAULT_FILE, R_OK) == 0 ? DEFAULT_FILE : NULL;
    struct conf *c = conf_new(err);

    if (c && (!file || conf_read(c, file, err)) && (!o->socket || conf_set(c, "Socket", o->socket, "--socket", err)) &&
        (!o->redis || conf_set(c, "Redis", o->redis, "--redis", err)) &&
        (!o->node || conf_set(c, "NodeName", o->node, "--node", err)) && conf_check(c, err))
        return c;
    conf_free(c);
    return NULL;
}
