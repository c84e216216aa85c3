/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/conf_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "etagd/accounts.h"
#include "etagd/lib/proto.h"
#include "etagd/lib/table.h"
#include "etagd/log.h"
#include "etagd/redis_url.h"
#include "etagd/tls.h"

enum option_kind { TEXT, NUMBER, OCTAL, DURATION, SIZE };

struct option {
    const char *name;
    enum option_kind kind;
    size_t offset;
    const char *fallback; /* default, in the form a person writes it; NULL: unset */
    uint64_t min, max; /* of numbers */
    const char *help;
};

#define AT(member) offsetof(struct conf, member)
#define HOUR UINT64_C(3600000)

static const struct option options[] = {
    {"Socket", TEXT, AT(socket), NULL, 0, 0, "path of the socket that mod_etag and etagctl connect to"},
    {"SocketMode", OCTAL, AT(socket_mode), "0660", 0, 0777, "permissions of the socket"},
    {"SocketGroup", TEXT, AT(socket_group), NULL, 0, 0, "group of the socket; unset: as created"},
    {"AllowUsers", TEXT, AT(allow_users), NULL, 0, 0, "users that may connect besides root and etagd's own"},
    {"NodeName", TEXT, AT(node), NULL, 0, 0, "this node's name in the store; default: the host name"},
    {"Redis", TEXT, AT(redis), NULL, 0, 0, "URL of the shared store; unset: embedded store, one node"},
    {"RedisUser", TEXT, AT(redis_user), NULL, 0, 0, "user to authenticate as; default: the URL's"},
    {"RedisPasswordFile", TEXT, AT(redis_password_file), NULL, 0, 0, "file whose first line is the password"},
    {"SentinelUser", TEXT, AT(sentinel_user), NULL, 0, 0, "user to authenticate as to Sentinels; default: none"},
    {"SentinelPasswordFile", TEXT, AT(sentinel_password_file), NULL, 0, 0,
     "file whose first line is the Sentinels' password"},
    {"TLSCAFile", TEXT, AT(tls_ca_file), NULL, 0, 0,
     "certificates of the CAs that sign those of Redis and Sentinels; default: the system's"},
    {"TLSCertificateFile", TEXT, AT(tls_certificate_file), NULL, 0, 0, "our certificate, for servers that want one"},
    {"TLSKeyFile", TEXT, AT(tls_key_file), NULL, 0, 0, "key of that certificate"},
    {"TLSServerName", TEXT, AT(tls_server_name), NULL, 0, 0,
     "name in the certificates of all servers; default: the host connected to"},
    {"WaitReplicas", NUMBER, AT(wait_replicas), "0", 0, 64,
     "replicas that must confirm every renewal; with Sentinels at least so many"},
    {"KeyPrefix", TEXT, AT(key_prefix), "etag", 0, 0, "first word of every name in Redis"},
    {"Lease", DURATION, AT(lease_ms), "2s", 500, TABLE_LEASE_MAX_MS, "bound of staleness when anything breaks"},
    {"Horizon", DURATION, AT(horizon_ms), "48h", HOUR, 8760 * HOUR, "how long the invalidation log keeps records"},
    {"LogMaxLength", NUMBER, AT(log_max), "1000000", 1000, 100000000, "records that the invalidation log keeps"},
    {"TagTTL", DURATION, AT(tag_ttl_ms), "24h", 1000, 8760 * HOUR, "life of a learned tag; at most half of Horizon"},
    {"TableSize", SIZE, AT(table_bytes), "64M", 4u << 20, UINT64_C(1) << 34, "memory of the shared table"},
    {"MaxClients", NUMBER, AT(max_clients), "1024", 1, 65536, "connections at one time"},
    {"HashThreads", NUMBER, AT(hash_threads), "2", 1, 64, "threads that hash large files"},
    {"HashQueue", NUMBER, AT(hash_queue), "256", 1, 4096, "large files that may wait for a thread"},
    {"StateDir", TEXT, AT(state_dir), NULL, 0, 0,
     "folder of the marker of unsent invalidations and of file digests; default: the socket's"},
    {"DigestFile", TEXT, AT(digest_file), NULL, 0, 0,
     "state file of file digests, or none; default: the socket's name and .digests in StateDir"},
    {"LogFile", TEXT, AT(log_file), NULL, 0, 0, "file to log to; unset: standard error"},
    {"LogLevel", TEXT, AT(log_level), "info", 0, 0, "error, warn, info or debug"},
};
#define OPTIONS (sizeof options / sizeof *options)

bool conf_fail(struct conf_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

static void *member(const struct conf *c, const struct option *o)
{
    return (char *)(uintptr_t)c + o->offset;
}

/* unsigned and uint64_t members are told apart here and nowhere else. */
static bool is_narrow(const struct option *o)
{
    return o->offset == AT(socket_mode) || o->offset == AT(max_clients) || o->offset == AT(hash_threads) ||
           o->offset == AT(wait_replicas);
}

static uint64_t number_of(const struct conf *c, const struct option *o)
{
    return is_narrow(o) ? *(const unsigned *)member(c, o) : *(const uint64_t *)member(c, o);
}

/* --- values --- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1},   {"s", 1000},      {"mi", 60000}, {"min", 60000},
                                        {"h", HOUR}, {"d", 24 * HOUR}, {"", 1000},    {NULL, 0}};
static const struct unit sizes[] = {{"", 1}, {"K", 1u << 10}, {"M", 1u << 20}, {"G", 1u << 30}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static bool parse_number(const char *text, const struct option *o, uint64_t *out)
{
    const struct unit *u = o->kind == DURATION ? durations : o->kind == SIZE ? sizes : plain;
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, o->kind == OCTAL ? 8 : 10);
    if (errno)
        return false;
    for (; u->name; u++) {
        if (strcasecmp(end, u->name) == 0) {
            if (n > UINT64_MAX / u->factor)
                return false;
            *out = n * u->factor;
            return *out >= o->min && *out <= o->max;
        }
    }
    return false;
}

static const char *range_text(const struct option *o, char *buf, size_t size)
{
    static const char *const forms[] = {
        [NUMBER] = "a number from %llu to %llu",
        [OCTAL] = "octal permissions such as 0660",
        [DURATION] = "a time such as 500ms, 2s, 5min, 1h or 2d, from %llums to %llums",
        [SIZE] = "a size such as 64M, from %llu to %llu bytes",
    };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buf, size, forms[o->kind], (unsigned long long)o->min, (unsigned long long)o->max);
#pragma GCC diagnostic pop
    return buf;
}

/* What --print-config can write as one line that reads back, and what cannot forge a line of INFO or the log. */
static bool is_line(const char *value)
{
    for (; *value; value++)
        if ((unsigned char)*value < ' ' || *value == 0x7f || *value == '"')
            return false;
    return true;
}

static bool assign(struct conf *c, const struct option *o, const char *value, const char *origin,
                   struct conf_error *err)
{
    struct redis_url url;
    const char *why;
    uint64_t n;
    char range[160];

    if (!is_line(value))
        return conf_fail(err, "%s: %s: a value has no control characters and no double quotes within", origin, o->name);
    if (o->offset == AT(redis) && *value && !redis_url_parse(value, &url, &why))
        return conf_fail(err, "%s: Redis \"%s\": %s", origin, value, why);
    if (o->kind == TEXT) {
        char **text = member(c, o);
        char *copy = *value ? strdup(value) : NULL;
        if (*value && !copy)
            return conf_fail(err, "%s: out of memory", origin);
        free(*text);
        *text = copy;
        return true;
    }
    if (!parse_number(value, o, &n))
        return conf_fail(err, "%s: %s \"%s\": expected %s", origin, o->name, value, range_text(o, range, sizeof range));
    if (is_narrow(o))
        *(unsigned *)member(c, o) = (unsigned)n;
    else
        *(uint64_t *)member(c, o) = n;
    return true;
}

/* --- names --- */

/* Edit distance, both words being short. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64], n = (unsigned)strlen(b);

    if (n >= 63)
        return 63;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned change = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            unsigned shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n];
}

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strcasecmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

static bool unknown(const char *name, const char *origin, struct conf_error *err)
{
    const struct option *best = NULL;
    unsigned least = 4;

    for (size_t i = 0; i < OPTIONS; i++) {
        unsigned d = distance(name, options[i].name);
        if (d < least) {
            least = d;
            best = &options[i];
        }
    }
    if (best)
        return conf_fail(err, "%s: unknown option \"%s\"; did you mean %s?", origin, name, best->name);
    return conf_fail(err, "%s: unknown option \"%s\"; etagd --print-config lists them all", origin, name);
}

bool conf_set(struct conf *c, const char *name, const char *value, const char *origin, struct conf_error *err)
{
    const struct option *o = find(name);
    char **set_at;

    if (!o)
        return unknown(name, origin, err);
    set_at = &c->origins[o - options];
    free(*set_at);
    *set_at = strdup(origin);
    return *set_at ? assign(c, o, value, origin, err) : conf_fail(err, "%s: out of memory", origin);
}

bool conf_fault(const struct conf *c, const char *name, struct conf_error *err, const char *format, ...)
{
    const struct option *o = find(name);
    const char *origin = c->origins[o - options], *value = o->kind == TEXT ? *(char *const *)member(c, o) : NULL;
    char what[400];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!origin)
        origin = "default";
    return value ? conf_fail(err, "%s: %s \"%s\": %s", origin, o->name, value, what)
                 : conf_fail(err, "%s: %s: %s", origin, o->name, what);
}

/* --- files --- */

/* The value of a line: one word, or text in double quotes, or several words kept as they stand. */
static bool unquote(char *value, const char *origin, struct conf_error *err)
{
    size_t n = strlen(value);

    if (*value != '"')
        return true;
    if (n < 2 || value[n - 1] != '"' || memchr(value + 1, '"', n - 2))
        return conf_fail(err, "%s: unbalanced double quotes", origin);
    memmove(value, value + 1, n - 2);
    value[n - 2] = '\0';
    return true;
}

static bool read_line(struct conf *c, char *line, const char *origin, struct conf_error *err)
{
    char *name = line + strspn(line, " \t"), *value;
    size_t n = strlen(name);

    while (n && isspace((unsigned char)name[n - 1]))
        name[--n] = '\0';
    if (!n || *name == '#')
        return true;
    value = name + strcspn(name, " \t");
    if (!*value)
        return conf_fail(err, "%s: %s has no value", origin, name);
    *value++ = '\0';
    value += strspn(value, " \t");
    return unquote(value, origin, err) && conf_set(c, name, value, origin, err);
}

bool conf_read(struct conf *c, const char *file, struct conf_error *err)
{
    FILE *in = fopen(file, "re");
    char *line = NULL, origin[256];
    size_t room = 0;
    bool ok = true;

    if (!in)
        return conf_fail(err, "%s: %s; name an existing file with --config", file, strerror(errno));
    ssize_t n;
    for (unsigned number = 1; ok && (n = getline(&line, &room, in)) >= 0; number++) {
        snprintf(origin, sizeof origin, "%s:%u", file, number);
        ok = strlen(line) == (size_t)n ? read_line(c, line, origin, err)
                                       : conf_fail(err, "%s: a NUL byte; write the file as plain text", origin);
    }
    if (ok && ferror(in))
        ok = conf_fail(err, "%s: %s", file, strerror(errno));
    free(line);
    fclose(in);
    return ok;
}

/* --- defaults --- */

static bool default_socket(struct conf *c, struct conf_error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0 || access("/run/etagd", W_OK) == 0)
        return conf_set(c, "Socket", PROTO_DEFAULT_SOCKET, "default", err);
    if (runtime && *runtime == '/') {
        char path[512];
        snprintf(path, sizeof path, "%s/etagd/etagd.sock", runtime);
        return conf_set(c, "Socket", path, "default", err);
    }
    return true; /* conf_check says what to do when nothing names one */
}

/* The account that the distribution's httpd runs as, so that two words configure a node: whom mod_etag's
 * processes are is no secret to guess. The group can only be given away by root. */
static bool default_httpd(struct conf *c, struct conf_error *err)
{
    static const char *const names[] = {"www-data", "apache"}; /* Debian, RHEL */
    uid_t uid;
    gid_t gid;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!accounts_user(names[i], &uid))
            continue;
        return conf_set(c, "AllowUsers", names[i], "default", err) &&
               (geteuid() != 0 || !accounts_group(names[i], &gid) ||
                conf_set(c, "SocketGroup", names[i], "default", err));
    }
    return true;
}

struct conf *conf_new(struct conf_error *err)
{
    struct conf *c = calloc(1, sizeof *c);
    char host[256] = "localhost";

    if (c)
        c->origins = calloc(OPTIONS, sizeof *c->origins);
    if (!c || !c->origins) {
        free(c);
        conf_fail(err, "out of memory");
        return NULL;
    }
    gethostname(host, sizeof host - 1);
    bool ok = conf_set(c, "NodeName", host, "default", err) && default_socket(c, err) && default_httpd(c, err);
    for (size_t i = 0; ok && i < OPTIONS; i++)
        if (options[i].fallback)
            ok = assign(c, &options[i], options[i].fallback, "default", err);
    if (!ok) {
        conf_free(c);
        return NULL;
    }
    return c;
}

/* --- output --- */

static void print_number(const struct option *o, uint64_t n, FILE *out)
{
    const struct unit *u = o->kind == DURATION ? durations : sizes, *best = NULL;

    if (o->kind == OCTAL) {
        fprintf(out, "%04llo", (unsigned long long)n);
        return;
    }
    for (; o->kind != NUMBER && u->name; u++)
        if (n && n % u->factor == 0 && *u->name && (!best || u->factor > best->factor))
            best = u;
    fprintf(out, "%llu%s", (unsigned long long)(best ? n / best->factor : n), best ? best->name : "");
}

void conf_print(const struct conf *c, FILE *out)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const struct option *o = &options[i];

        fprintf(out, "# %s\n", o->help);
        if (o->kind != TEXT) {
            fprintf(out, "%s ", o->name);
            print_number(o, number_of(c, o), out);
            fprintf(out, "\n");
        } else if (*(char *const *)member(c, o)) {
            fprintf(out, "%s \"%s\"\n", o->name, *(char *const *)member(c, o));
        } else {
            fprintf(out, "#%s\n", o->name);
        }
    }
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < OPTIONS; i++) {
        free(c->origins[i]);
        if (options[i].kind == TEXT)
            free(*(char **)member(c, &options[i]));
    }
    free(c->origins);
    tls_free(c->tls);
    free(c);
}

static bool same(const struct conf *a, const struct conf *b, const struct option *o)
{
    const char *x, *y;

    if (o->kind != TEXT)
        return number_of(a, o) == number_of(b, o);
    x = *(char *const *)member(a, o);
    y = *(char *const *)member(b, o);
    return x == y || (x && y && strcmp(x, y) == 0);
}

static void swap_text(char **a, char **b)
{
    char *was = *a;
    *a = *b;
    *b = was;
}

/* Whether a running daemon takes it over. */
static bool is_live(const struct conf *c, const struct conf *fresh, const struct option *o)
{
    if (o->offset >= AT(tls_ca_file) && o->offset <= AT(tls_server_name))
        return c->tls && fresh->tls;
    return o->offset == AT(log_file) || o->offset == AT(log_level);
}

void conf_reload(struct conf *c, struct conf *fresh)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (is_live(c, fresh, &options[i]))
            swap_text(member(c, &options[i]), member(fresh, &options[i]));
        else if (!same(c, fresh, &options[i]))
            log_warn("%s has changed in the configuration; restart etagd to use it", options[i].name);
    }
    if (c->tls && fresh->tls)
        tls_swap(c->tls, fresh->tls);
}
