/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. Start-up only. */
#ifndef ETAGD_OPTIONS_H
#define ETAGD_OPTIONS_H

#include <stdbool.h>

struct conf;
struct conf_error;

struct options {
    const char *config, *socket, *redis, *node; /* NULL: not given; point into argv */
    bool check_config, print_config;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/* OPTIONS_DONE: --help or --version was printed. OPTIONS_WRONG: the fault was printed. */
enum options_result options_parse(struct options *o, int argc, char **argv);

/* Defaults, then the file, then the command line; checked. NULL and err->text. */
struct conf *options_conf(const struct options *o, struct conf_error *err);

#endif
