/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "etagd/conf.h"
#include "etagd/daemon.h"
#include "etagd/options.h"

static struct conf *reread(void *arg, struct conf_error *err)
{
    return options_conf(arg, err);
}

int main(int argc, char **argv)
{
    struct options options;
    struct conf_error err;

    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_DONE:
        return EXIT_SUCCESS;
    case OPTIONS_WRONG:
        return EX_USAGE;
    default:
        break;
    }
    struct conf *conf = options_conf(&options, &err);
    if (!conf) {
        fprintf(stderr, "etagd: %s\n", err.text);
        return EX_CONFIG;
    }
    if (options.print_config)
        conf_print(conf, stdout);
    if (options.print_config || options.check_config) {
        conf_free(conf);
        return EXIT_SUCCESS;
    }
    int status = daemon_run(conf, reread, &options, &err);
    if (status)
        fprintf(stderr, "etagd: %s\n", err.text);
    return status;
}
