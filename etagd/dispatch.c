/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/dispatch_command.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "etagd/conf.h"
#include "etagd/hasher.h"
#include "etagd/lib/key.h"
#include "etagd/lib/time_namespace.h"
#include "etagd/resp.h"
#include "etagd/store.h"

#define NAMES_MAX 512 /* pairs of one ETAG HOSTS */

/* --- connections and people --- */

static void do_ping(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)d;
    (void)fd;
    if (q->argc > 1)
        resp_bulk(r->out, q->argv[1]);
    else
        resp_status(r->out, "PONG");
}

static void do_ok(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)d;
    (void)q;
    (void)fd;
    resp_status(r->out, "OK");
}

static void do_select(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)d;
    (void)fd;
    if (span_eq(q->argv[1], SPAN_LITERAL("0")))
        resp_status(r->out, "OK");
    else
        resp_error(r->out, "ERR", "there is only database 0");
}

static void do_command(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)d;
    (void)q;
    (void)fd;
    resp_array(r->out, 0);
}

static void do_quit(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    do_ok(d, q, fd, r);
    r->close_after = true;
}

static void do_info(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct evbuffer *text = evbuffer_new();
    char section[32] = "";

    (void)fd;
    if (q->argc > 1 && q->argv[1].n < sizeof section)
        memcpy(section, q->argv[1].p, q->argv[1].n);
    if (!text) {
        resp_error(r->out, "ERR", "out of memory");
        return;
    }
    dispatch_info(d, section, text);
    resp_bulk_buffer(r->out, text);
    evbuffer_free(text);
}

static void do_attach(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct writer *w = store_writer(d->store);
    struct writer_stats stats;
    char text[TIME_NAMESPACE_SIZE];

    (void)fd;
    snprintf(text, sizeof text, "%d", PROTO_VERSION);
    if (!span_eq(q->argv[1], span_str(text))) {
        d->count.version_refused++;
        resp_error(r->out, "VERSION", text);
        return;
    }
    writer_stats(w, &stats);
    resp_array(r->out, 7);
    resp_integer(r->out, PROTO_VERSION);
    resp_bulk(r->out, span_str(d->conf->node));
    snprintf(text, sizeof text, "%016" PRIx64, writer_generation(w));
    resp_bulk(r->out, span_str(text));
    resp_integer(r->out, (long long)stats.bytes);
    resp_integer(r->out, (long long)lseek(writer_touch_fd(w), 0, SEEK_END));
    resp_bulk(r->out, span_str(store_embedded(d->store) ? "embedded" : "redis"));
    time_namespace(TIME_NAMESPACE_OWN, text);
    resp_bulk(r->out, span_str(text));
    r->fds[0] = writer_table_fd(w);
    r->fds[1] = writer_touch_fd(w);
    r->nfds = 2;
    d->count.attached++;
}

/* --- ETAG: asking --- */

static void add_scope(void *out, struct span text)
{
    resp_bulk(out, text);
}

static void count_scope(void *n, struct span text)
{
    (void)text;
    ++*(size_t *)n;
}

static void do_key(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct key key;
    size_t n = 0;
    enum key_error e = key_from_url(&key, q->argv[2]);

    (void)d;
    (void)fd;
    if (e != KEY_OK) {
        resp_error(r->out, "ERR", key_error_text(e));
        return;
    }
    struct span text = span_of(key.text, key.n);
    scope_each_of_key(text, NULL, 0, NULL, 0, count_scope, &n);
    resp_array(r->out, n + 1);
    resp_bulk(r->out, text);
    scope_each_of_key(text, NULL, 0, NULL, 0, add_scope, r->out);
}

static void fetched(void *arg, bool known)
{
    struct reply *r = arg;

    resp_integer(r->out, known);
    r->done = true;
    r->ready(r);
}

static void do_fetch(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    r->done = false;
    store_fetch(d->store, q->argv[2], fetched, r);
}

static void do_applied(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    char id[48] = "";

    (void)fd;
    if (q->argv[2].n < sizeof id)
        memcpy(id, q->argv[2].p, q->argv[2].n);
    resp_integer(r->out, (long long)store_applied_at(d->store, id));
}

/* --- ETAG: telling --- */

bool dispatch_list(const struct proto_request *q, size_t *at, const struct span **list, size_t *n)
{
    uint64_t count;

    if (*at >= q->argc || !dispatch_number(q->argv[*at], &count) || count > q->argc - *at - 1)
        return false;
    *list = q->argv + *at + 1;
    *n = (size_t)count;
    *at += 1 + (size_t)count;
    return true;
}

static bool read_put(const struct proto_request *q, struct store_put *put)
{
    size_t at = 10;

    return dispatch_number(q->argv[2], &put->generation) && dispatch_number(q->argv[3], &put->seq) &&
           dispatch_number(q->argv[7], &put->ttl_ms) && dispatch_list(q, &at, &put->tags, &put->ntags) &&
           dispatch_list(q, &at, &put->groups, &put->ngroups) && at == q->argc;
}

static void do_put(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct store_put put = {
        .key = q->argv[4], .variant = q->argv[5], .names = q->argv[6], .value = q->argv[8], .capsule = q->argv[9]};
    struct span names = {NULL, 0};
    const char *why = "numbers or counts are malformed";
    enum store_result result = read_put(q, &put) ? store_put(d->store, &put, &names, &why) : STORE_BAD;

    (void)fd;
    switch (result) {
    case STORE_OK:
        d->count.put_stored++;
        resp_status(r->out, "OK");
        break;
    case STORE_STALE:
        d->count.put_stale++;
        resp_status(r->out, "STALE");
        break;
    case STORE_NAMES:
        d->count.put_names++;
        evbuffer_add_printf(r->out, "-NAMES %.*s\r\n", (int)names.n, names.n ? names.p : "");
        break;
    default:
        d->count.put_bad++;
        resp_error(r->out, "ERR", why);
        break;
    }
}

static void do_file(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    if (q->argv[3].n != DIGEST_SIZE || !store_put_file(d->store, q->argv[2], (const uint8_t *)q->argv[3].p)) {
        resp_error(r->out, "ERR", "expected a file's identity and its digest of 32 bytes");
        return;
    }
    d->count.files_published++;
    resp_status(r->out, "OK");
}

/* Whether the table holds the file's digest already: a client that asked may have looked before it came in. */
static bool hashed_already(struct dispatch *d, struct span identity)
{
    const struct table *t = writer_table(store_writer(d->store));
    struct table_copy copy;

    return table_lookup(t, table_identify(t, identity), &copy) == TABLE_HIT && copy.entry.kind == ENTRY_FILE;
}

static void do_hash(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    const char *why;
    int file = *fd;

    *fd = -1;
    if (file < 0) {
        resp_error(r->out, "ERR", "ETAG HASH needs a descriptor passed along");
        return;
    }
    if (hashed_already(d, q->argv[2])) {
        close(file);
        resp_status(r->out, "KNOWN");
        return;
    }
    switch (hasher_add(d->hasher, q->argv[2], file, &why)) {
    case HASHER_QUEUED:
        resp_status(r->out, "QUEUED");
        break;
    case HASHER_BUSY:
        resp_error(r->out, "BUSY", "too many files wait to be hashed; raise HashQueue or HashThreads");
        break;
    default:
        resp_error(r->out, "ERR", why);
        break;
    }
}

static void invalidated(void *arg, const char *id, const char *error)
{
    struct reply *r = arg;

    if (error)
        resp_error(r->out, "ERR", error);
    else
        resp_bulk(r->out, span_str(id));
    r->done = true;
    r->ready(r);
}

static void do_invalidate(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    if (q->argc % 2) {
        resp_error(r->out, "ERR", "expected pairs of operation and argument, e.g. url www.example.com/a");
        return;
    }
    d->count.invalidations++;
    r->done = false;
    store_invalidate(d->store, q->argv + 2, q->argc - 2, invalidated, r);
}

static void do_hosts(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    if (q->argc % 2 || (q->argc - 2) / 2 > NAMES_MAX) {
        resp_error(r->out, "ERR", "expected pairs of alias and host");
        return;
    }
    store_hosts(d->store, q->argv + 2, q->argc - 2);
    resp_status(r->out, "OK");
}

/* --- the table --- */

struct command {
    const char *name, *sub; /* sub: second word, NULL for none */
    size_t min, max; /* arguments, the words of the name included; max 0: any number */
    void (*run)(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
    const char *help; /* its arguments, as errors name them */
};

static const struct command commands[] = {
    {"PING", NULL, 1, 2, do_ping, "[text]"},
    {"INFO", NULL, 1, 2, do_info, "[section]"},
    {"ATTACH", NULL, 3, 3, do_attach, "version pid"},
    {"ETAG", "KEY", 3, 3, do_key, "url"},
    {"ETAG", "GET", 3, 3, dispatch_get, "key"},
    {"ETAG", "FETCH", 3, 3, do_fetch, "key"},
    {"ETAG", "PUT", 12, 0, do_put,
     "generation seq key variant names ttl-ms value capsule ntags tag... ngroups group..."},
    {"ETAG", "NAME", 9, 0, dispatch_name, "generation seq key kind proposal ntags tag... ngroups group..."},
    {"ETAG", "VERSION", 3, 3, dispatch_version, "name"},
    {"ETAG", "FILE", 4, 4, do_file, "identity digest"},
    {"ETAG", "HASH", 3, 3, do_hash, "identity"},
    {"ETAG", "INVALIDATE", 4, 0, do_invalidate, "op arg [op arg...]"},
    {"ETAG", "DETECTED", 4, 0, dispatch_detected, "counter number [counter number...]"},
    {"ETAG", "HOSTS", 4, 0, do_hosts, "alias host [alias host...]"},
    {"ETAG", "APPLIED", 3, 3, do_applied, "id"},
    {"XADD", NULL, 5, 0, dispatch_xadd, "log * op arg [op arg...]"},
    {"XLEN", NULL, 2, 2, dispatch_xlen, "log"},
    {"XRANGE", NULL, 4, 6, dispatch_xrange, "log - + [COUNT n]"},
    {"XREVRANGE", NULL, 4, 6, dispatch_xrevrange, "log + - [COUNT n]"},
    {"SELECT", NULL, 2, 2, do_select, "0"},
    {"CLIENT", "SETNAME", 3, 3, do_ok, "name"},
    {"CLIENT", "SETINFO", 4, 4, do_ok, "name value"},
    {"COMMAND", NULL, 1, 0, do_command, ""},
    {"QUIT", NULL, 1, 1, do_quit, ""},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const struct command *find(const struct proto_request *q)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        if (span_eq_nocase(q->argv[0], span_str(c->name)) &&
            (!c->sub || (q->argc > 1 && span_eq_nocase(q->argv[1], span_str(c->sub)))))
            return c;
    }
    return NULL;
}

static void explain_unknown(struct evbuffer *out)
{
    char text[512] = "unknown command; etagd knows ";
    size_t n = strlen(text);

    for (size_t i = 0; i < COMMANDS && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s", i ? ", " : "", commands[i].name,
                              commands[i].sub ? " " : "", commands[i].sub ? commands[i].sub : "");
    resp_error(out, "ERR", text);
}

static void explain_arguments(struct evbuffer *out, const struct command *c)
{
    char text[256];

    snprintf(text, sizeof text, "wrong number of arguments: expected %s%s%s %s", c->name, c->sub ? " " : "",
             c->sub ? c->sub : "", c->help);
    resp_error(out, "ERR", text);
}

void dispatch_request(struct dispatch *d, const struct proto_request *request, int fd, struct reply *reply)
{
    const struct command *c = find(request);

    reply->done = true;
    d->count.requests++;
    if (!c) {
        d->count.unknown_commands++;
        explain_unknown(reply->out);
    } else if (request->argc < c->min || (c->max && request->argc > c->max)) {
        explain_arguments(reply->out, c);
    } else {
        c->run(d, request, &fd, reply);
    }
    if (fd >= 0)
        close(fd);
}

void dispatch_forget(struct dispatch *d, struct reply *reply)
{
    store_forget(d->store, reply);
}
