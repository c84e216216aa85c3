/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/values.h"

#include <sys/stat.h>

#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "etagd/lib/key.h"

#define SECRET_MIN 16 /* bytes: 128 bits when they are random */
#define SECRET_FILE_MAX 65536 /* a file of secrets is short; anything longer is the wrong file */
#define ARGUMENTS_MAX 64 /* httpd hands over that many and drops the rest */

const char *value_choice(cmd_parms *cmd, const char *text, const struct choice *choices, int *out)
{
    const char *known = "";

    for (const struct choice *c = choices; c->word; c++) {
        if (strcasecmp(text, c->word) == 0) {
            *out = c->value;
            return NULL;
        }
        known = apr_pstrcat(cmd->temp_pool, known, *known ? ", " : "", c->word, NULL);
    }
    return apr_psprintf(cmd->pool, "%s: \"%s\" is none of: %s", cmd->cmd->name, text, known);
}

/* --- numbers --- */

/* Digits, then what follows them. False when there are none or they overflow. */
static bool number(const char *text, apr_int64_t *out, const char **rest)
{
    char *end;

    if (!apr_isdigit(*text))
        return false;
    errno = 0;
    *out = apr_strtoi64(text, &end, 10);
    *rest = end;
    return errno == 0;
}

static bool multiply(apr_int64_t n, apr_int64_t by, apr_int64_t *out)
{
    return !__builtin_mul_overflow(n, by, out);
}

static const struct unit {
    const char *name;
    apr_int64_t microseconds;
} units[] = {{"ms", 1000},
             {"s", 1000000},
             {"mi", 60000000},
             {"min", 60000000},
             {"h", APR_INT64_C(3600000000)},
             {"d", APR_INT64_C(86400000000)}};

static const char *duration_text(apr_pool_t *p, apr_interval_time_t t)
{
    for (size_t i = sizeof units / sizeof *units; i-- > 0;)
        if (t && t % units[i].microseconds == 0)
            return apr_psprintf(p, "%" APR_INT64_T_FMT "%s", (apr_int64_t)(t / units[i].microseconds), units[i].name);
    return "0s";
}

/* Stricter than ap_timeout_parameter_parse, which knows no days and takes "5sec" or a bare "s". */
const char *value_duration(cmd_parms *cmd, const char *text, const char *default_unit, apr_interval_time_t min,
                           apr_interval_time_t max, apr_interval_time_t *out)
{
    apr_int64_t n, t;
    const char *unit;

    if (number(text, &n, &unit)) {
        if (!*unit)
            unit = default_unit;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            if (strcasecmp(unit, units[i].name) != 0 || !multiply(n, units[i].microseconds, &t) || t < min || t > max)
                continue;
            *out = t;
            return NULL;
        }
    }
    return apr_psprintf(cmd->pool, "%s: \"%s\" is no duration from %s to %s (a number and ms, s, min, h or d)",
                        cmd->cmd->name, text, duration_text(cmd->temp_pool, min), duration_text(cmd->temp_pool, max));
}

const char *value_size(cmd_parms *cmd, const char *text, apr_off_t max, apr_off_t *out)
{
    static const struct choice suffixes[] = {{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}, {NULL, 0}};
    apr_int64_t n, size;
    const char *suffix;

    if (number(text, &n, &suffix))
        for (const struct choice *c = suffixes; c->word; c++)
            if (strcasecmp(suffix, c->word) == 0 && multiply(n, APR_INT64_C(1) << c->value, &size) && size <= max) {
                *out = size;
                return NULL;
            }
    return apr_psprintf(cmd->pool,
                        "%s: \"%s\" is no size from 0 to %" APR_INT64_T_FMT " bytes (a number, perhaps with K, M or G)",
                        cmd->cmd->name, text, (apr_int64_t)max);
}

/* --- names --- */

static bool is_token(const char *s)
{
    return *s && !*ap_scan_http_token(s);
}

static bool name_fits(const char *s, enum name_kind kind)
{
    switch (kind) {
    case NAME_HEADER:
        return is_token(s) && strcmp(s, "*") != 0;
    case NAME_VARY:
        return strncasecmp(s, "cookie:", 7) == 0 ? is_token(s + 7) : is_token(s) && strcmp(s, "*") != 0;
    case NAME_COOKIE:
        return is_token(s);
    case NAME_PARAMETER:
        return *s && !s[strcspn(s, "=&#*?, \t\"")] && !*ap_scan_vchar_obstext(s);
    case NAME_GROUP:
        return *s && !s[strcspn(s, ", \t\"")] && !*ap_scan_vchar_obstext(s);
    }
    return false;
}

static const char *name_form(enum name_kind kind)
{
    switch (kind) {
    case NAME_HEADER:
        return "the name of a header";
    case NAME_VARY:
        return "the name of a request header, or cookie:NAME";
    case NAME_COOKIE:
        return "the name of a cookie (\"*\" at its end stands for any rest)";
    case NAME_PARAMETER:
        return "the name of a query parameter (no wildcards)";
    case NAME_GROUP:
        return "a group's name (visible characters without comma and quote)";
    }
    return "a name";
}

static const char *wrong_number(cmd_parms *cmd, int argc)
{
    if (argc == 0)
        return apr_psprintf(cmd->pool, "%s: at least one argument is wanted", cmd->cmd->name);
    if (argc >= ARGUMENTS_MAX)
        return apr_psprintf(cmd->pool, "%s: at most %d arguments are possible", cmd->cmd->name, ARGUMENTS_MAX - 1);
    return NULL;
}

const char *value_names(cmd_parms *cmd, int argc, char *const argv[], enum name_kind kind, apr_array_header_t **out)
{
    const char *error = wrong_number(cmd, argc);

    if (error)
        return error;
    apr_array_header_t *names = apr_array_make(cmd->pool, argc, sizeof(const char *));
    if (argc > 1 || strcasecmp(argv[0], "None") != 0) {
        for (int i = 0; i < argc; i++) {
            char *name = argv[i];
            if (!name_fits(name, kind))
                return apr_psprintf(cmd->pool, "%s: \"%s\" is not %s", cmd->cmd->name, name, name_form(kind));
            if (kind == NAME_HEADER || kind == NAME_VARY)
                ap_str_tolower(name = apr_pstrdup(cmd->pool, name));
            APR_ARRAY_PUSH(names, const char *) = name;
        }
    }
    *out = names;
    return NULL;
}

const char *value_name_list(cmd_parms *cmd, int argc, char *const argv[], enum name_kind kind,
                            struct etag_name_list *out)
{
    struct etag_name_list list = {.kind = ETAG_NAMES_ALL};
    apr_array_header_t *names;

    for (int i = 0; argc > 1 && i < argc; i++)
        if (strcasecmp(argv[i], "All") == 0 || strcasecmp(argv[i], "None") == 0)
            return apr_psprintf(cmd->pool, "%s: \"%s\" stands alone or not at all", cmd->cmd->name, argv[i]);
    if (argc != 1 || strcasecmp(argv[0], "All") != 0) {
        const char *error = value_names(cmd, argc, argv, kind, &names);
        if (error)
            return error;
        list.kind = names->nelts ? ETAG_NAMES_LIST : ETAG_NAMES_NONE;
        list.names = names->nelts ? apr_array_make(cmd->pool, names->nelts, sizeof(struct span)) : NULL;
        for (int i = 0; i < names->nelts; i++)
            APR_ARRAY_PUSH(list.names, struct span) = span_str(APR_ARRAY_IDX(names, i, const char *));
    }
    *out = list;
    return NULL;
}

/* --- ETagBaseURL --- */

const char *value_base_url(cmd_parms *cmd, const char *text, const char **scheme, const char **host, unsigned *port)
{
    apr_uri_t uri;
    struct key key;
    struct key_parts parts = {.path = SPAN_LITERAL("/")};

    if (apr_uri_parse(cmd->temp_pool, text, &uri) != APR_SUCCESS || !uri.scheme || !uri.hostname || !*uri.hostname ||
        uri.user || uri.password || uri.query || uri.fragment || (uri.path && strcmp(uri.path, "/") != 0))
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is not the URL of a site: scheme and host are wanted, perhaps a port, "
                            "and nothing behind them, as in https://www.example.com",
                            cmd->cmd->name, text);
    /* APR takes the brackets off an IPv6 address. */
    if (strchr(uri.hostname, ':'))
        uri.hostname = apr_psprintf(cmd->temp_pool, "[%s]", uri.hostname);
    parts.scheme = span_str(uri.scheme);
    parts.host = span_str(uri.hostname);
    /* uri.port is what is left of it in 16 bits. */
    parts.port = uri.port_str ? (unsigned)strtoul(uri.port_str, NULL, 10) : 0;
    enum key_error e = key_build(&key, &parts);
    if (e != KEY_OK)
        return apr_psprintf(cmd->pool, "%s: \"%s\": %s", cmd->cmd->name, text, key_error_text(e));
    *scheme = strcasecmp(uri.scheme, "https") == 0 ? "https" : "http";
    char *lower = apr_pstrdup(cmd->pool, uri.hostname);
    ap_str_tolower(lower);
    *host = lower;
    *port = parts.port == (strcmp(*scheme, "https") == 0 ? 443u : 80u) ? 0 : parts.port;
    return NULL;
}

/* --- ETagSecretFile --- */

static const char *read_private(cmd_parms *cmd, const char *path, char **text, apr_size_t *n)
{
    apr_file_t *file;
    apr_os_file_t fd;
    struct stat st;
    char why[120];
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, cmd->temp_pool);

    if (rv != APR_SUCCESS)
        return apr_psprintf(cmd->pool, "%s: cannot open %s: %s", cmd->cmd->name, path,
                            apr_strerror(rv, why, sizeof why));
    const char *error = NULL;
    apr_os_file_get(&fd, file);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > SECRET_FILE_MAX)
        error = apr_psprintf(cmd->pool, "%s: %s is not a regular file of at most %d bytes", cmd->cmd->name, path,
                             SECRET_FILE_MAX);
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        error = apr_psprintf(cmd->pool, "%s: %s is open to others than its owner (mode %04o): chmod 600 %s",
                             cmd->cmd->name, path, (unsigned)(st.st_mode & 07777), path);
    if (!error) {
        *text = apr_palloc(cmd->pool, (apr_size_t)st.st_size + 1);
        rv = apr_file_read_full(file, *text, (apr_size_t)st.st_size, n);
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv))
            error = apr_psprintf(cmd->pool, "%s: cannot read %s: %s", cmd->cmd->name, path,
                                 apr_strerror(rv, why, sizeof why));
    }
    apr_file_close(file);
    return error;
}

const char *value_secrets(cmd_parms *cmd, const char *file, apr_array_header_t **out)
{
    const char *path = ap_server_root_relative(cmd->pool, file), *error;
    char *text;
    apr_size_t n = 0;

    if (!path)
        return apr_psprintf(cmd->pool, "%s: invalid path %s", cmd->cmd->name, file);
    error = read_private(cmd, path, &text, &n);
    if (error)
        return error;
    *out = apr_array_make(cmd->pool, 2, sizeof(struct span));
    unsigned line = 0;
    for (char *p = text, *end = text + n; p < end;) {
        char *newline = memchr(p, '\n', (size_t)(end - p));
        struct span secret = span_of(p, (size_t)((newline ? newline : end) - p));

        line++;
        p = newline ? newline + 1 : end;
        if (secret.n && secret.p[secret.n - 1] == '\r')
            secret.n--;
        if (secret.n == 0)
            continue;
        if (secret.n < SECRET_MIN)
            return apr_psprintf(
                cmd->pool, "%s: %s:%u: a secret of at least %d bytes is wanted; make one with: openssl rand -base64 32",
                cmd->cmd->name, path, line, SECRET_MIN);
        APR_ARRAY_PUSH(*out, struct span) = secret;
    }
    return (*out)->nelts ? NULL
                         : apr_psprintf(cmd->pool, "%s: %s holds no secret; make one with: openssl rand -base64 32",
                                        cmd->cmd->name, path);
}
