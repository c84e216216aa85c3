/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of directives: each parser returns NULL, or a message that names the directive, the value and
 * what would be right. Results live in cmd->pool.
 */
#ifndef MOD_ETAG_VALUES_H
#define MOD_ETAG_VALUES_H

#include "mod_etag/config.h"

struct choice {
    const char *word;
    int value;
};

/* One of the words, in any case; choices end with a NULL word. */
const char *value_choice(cmd_parms *cmd, const char *text, const struct choice *choices, int *out);

/* A number with one of ms, s, min, h, d behind it; without one, in default_unit. Limits included. */
const char *value_duration(cmd_parms *cmd, const char *text, const char *default_unit, apr_interval_time_t min,
                           apr_interval_time_t max, apr_interval_time_t *out);

/* Bytes; K, M or G multiply by 1024. */
const char *value_size(cmd_parms *cmd, const char *text, apr_off_t max, apr_off_t *out);

/* What a name of a list may look like. */
enum name_kind {
    NAME_HEADER, /* field name, kept in lower case */
    NAME_VARY, /* field name, or cookie:NAME; kept in lower case */
    NAME_COOKIE, /* cookie name; a "*" at its end stands for any rest */
    NAME_PARAMETER, /* query parameter as the URL spells it */
    NAME_GROUP /* visible characters without comma and quote */
};

/* A list of names of one kind, of const char *; the single word None gives an empty list. */
const char *value_names(cmd_parms *cmd, int argc, char *const argv[], enum name_kind kind, apr_array_header_t **out);

/* The same, or the single word All. */
const char *value_name_list(cmd_parms *cmd, int argc, char *const argv[], enum name_kind kind,
                            struct etag_name_list *out);

/* http or https URL of a whole site. port is 0 when it is the scheme's default. */
const char *value_base_url(cmd_parms *cmd, const char *text, const char **scheme, const char **host, unsigned *port);

/* Secrets of a file, one a line, as spans. */
const char *value_secrets(cmd_parms *cmd, const char *file, apr_array_header_t **out);

#endif
