/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/dispatch.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "etagd/conf.h"
#include "etagd/hasher.h"
#include "etagd/lib/key.h"
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
    char text[32];

    (void)fd;
    snprintf(text, sizeof text, "%d", PROTO_VERSION);
    if (!span_eq(q->argv[1], span_str(text))) {
        d->count.version_refused++;
        resp_error(r->out, "VERSION", text);
        return;
    }
    writer_stats(w, &stats);
    resp_array(r->out, 6);
    resp_integer(r->out, PROTO_VERSION);
    resp_bulk(r->out, span_str(d->conf->node));
    snprintf(text, sizeof text, "%016" PRIx64, writer_generation(w));
    resp_bulk(r->out, span_str(text));
    resp_integer(r->out, (long long)stats.bytes);
    resp_integer(r->out, (long long)lseek(writer_touch_fd(w), 0, SEEK_END));
    resp_bulk(r->out, span_str(store_embedded(d->store) ? "embedded" : "redis"));
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

struct description {
    struct evbuffer *out;
    size_t lines;
};

static void describe_line(void *arg, const char *name, struct span value)
{
    struct description *s = arg;
    resp_bulk(s->out, span_str(name));
    resp_bulk(s->out, value);
    s->lines++;
}

static void do_get(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct description s = {.out = evbuffer_new()};

    (void)fd;
    if (s.out && store_describe(d->store, q->argv[2], describe_line, &s)) {
        resp_array(r->out, 2 * s.lines);
        evbuffer_add_buffer(r->out, s.out);
    } else {
        resp_nil(r->out);
    }
    if (s.out)
        evbuffer_free(s.out);
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

static bool number(struct span s, uint64_t *out)
{
    uint64_t n = 0;

    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

/* A counted list of words at *at; false when the count is wrong. */
static bool take_list(const struct proto_request *q, size_t *at, const struct span **list, size_t *n)
{
    uint64_t count;

    if (*at >= q->argc || !number(q->argv[*at], &count) || count > q->argc - *at - 1)
        return false;
    *list = q->argv + *at + 1;
    *n = (size_t)count;
    *at += 1 + (size_t)count;
    return true;
}

static bool read_put(const struct proto_request *q, struct store_put *put)
{
    size_t at = 10;

    return number(q->argv[2], &put->generation) && number(q->argv[3], &put->seq) && number(q->argv[7], &put->ttl_ms) &&
           take_list(q, &at, &put->tags, &put->ntags) && take_list(q, &at, &put->groups, &put->ngroups) && at == q->argc;
}

static void do_put(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    struct store_put put = {.key = q->argv[4], .variant = q->argv[5], .names = q->argv[6], .value = q->argv[8],
                            .capsule = q->argv[9]};
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

static void do_hash(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    const char *why;
    int file = *fd;

    *fd = -1;
    if (file < 0) {
        resp_error(r->out, "ERR", "ETAG HASH needs a descriptor passed along");
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

/* --- the embedded log, in Redis' own words --- */

/* True when q names the log and this daemon keeps it. */
static bool own_log(struct dispatch *d, const struct proto_request *q, struct reply *r)
{
    char text[512];

    if (!store_embedded(d->store)) {
        snprintf(text, sizeof text, "the log is kept by Redis at %s: run this command there", d->conf->redis);
        resp_error(r->out, "ERR", text);
        return false;
    }
    snprintf(text, sizeof text, "{%s}:log", d->conf->key_prefix);
    if (!span_eq(q->argv[1], span_str(text))) {
        char wrong[600];
        snprintf(wrong, sizeof wrong, "only the log is kept here; its name is %s", text);
        resp_error(r->out, "ERR", wrong);
        return false;
    }
    return true;
}

static void do_xadd(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    char id[48];
    const char *error;

    (void)fd;
    if (!own_log(d, q, r))
        return;
    if (!span_eq(q->argv[2], SPAN_LITERAL("*")) || q->argc % 2 == 0) {
        resp_error(r->out, "ERR", "expected XADD log * operation argument [operation argument ...]");
        return;
    }
    d->count.invalidations++;
    if (store_log_add(d->store, q->argv + 3, q->argc - 3, id, &error))
        resp_bulk(r->out, span_str(id));
    else
        resp_error(r->out, "ERR", error);
}

static void do_xlen(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    if (own_log(d, q, r))
        resp_integer(r->out, (long long)store_log_length(d->store));
}

struct rows {
    struct evbuffer *out;
    size_t n;
};

static void log_row(void *arg, const char *id, const struct span *fields, size_t n)
{
    struct rows *rows = arg;

    rows->n++;
    resp_array(rows->out, 2);
    resp_bulk(rows->out, span_str(id));
    resp_array(rows->out, n);
    for (size_t i = 0; i < n; i++)
        resp_bulk(rows->out, fields[i]);
}

/* XRANGE and XREVRANGE over the whole log, COUNT at most. */
static void range(struct dispatch *d, const struct proto_request *q, struct reply *r, bool reverse)
{
    struct rows rows = {.out = NULL};
    uint64_t limit = SIZE_MAX;
    bool whole = span_eq(q->argv[2], reverse ? SPAN_LITERAL("+") : SPAN_LITERAL("-")) &&
                 span_eq(q->argv[3], reverse ? SPAN_LITERAL("-") : SPAN_LITERAL("+"));

    if (!own_log(d, q, r))
        return;
    if (!whole || (q->argc != 4 && (q->argc != 6 || !span_eq_nocase(q->argv[4], SPAN_LITERAL("COUNT")) ||
                                    !number(q->argv[5], &limit)))) {
        resp_error(r->out, "ERR", reverse ? "expected XREVRANGE log + - [COUNT n]" : "expected XRANGE log - + [COUNT n]");
        return;
    }
    rows.out = evbuffer_new();
    if (!rows.out) {
        resp_error(r->out, "ERR", "out of memory");
        return;
    }
    store_log_range(d->store, reverse, (size_t)limit, log_row, &rows);
    resp_array(r->out, rows.n);
    evbuffer_add_buffer(r->out, rows.out);
    evbuffer_free(rows.out);
}

static void do_xrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    range(d, q, r, false);
}

static void do_xrevrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    (void)fd;
    range(d, q, r, true);
}

/* --- the table --- */

struct command {
    const char *name, *sub; /* sub: second word, NULL for none */
    size_t min, max;        /* arguments, the words of the name included; max 0: any number */
    void (*run)(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
};

static const struct command commands[] = {
    {"PING", NULL, 1, 2, do_ping},
    {"INFO", NULL, 1, 2, do_info},
    {"ATTACH", NULL, 3, 3, do_attach},
    {"ETAG", "KEY", 3, 3, do_key},
    {"ETAG", "GET", 3, 3, do_get},
    {"ETAG", "FETCH", 3, 3, do_fetch},
    {"ETAG", "PUT", 12, 0, do_put},
    {"ETAG", "FILE", 4, 4, do_file},
    {"ETAG", "HASH", 3, 3, do_hash},
    {"ETAG", "INVALIDATE", 4, 0, do_invalidate},
    {"ETAG", "HOSTS", 4, 0, do_hosts},
    {"ETAG", "APPLIED", 3, 3, do_applied},
    {"XADD", NULL, 5, 0, do_xadd},
    {"XLEN", NULL, 2, 2, do_xlen},
    {"XRANGE", NULL, 4, 6, do_xrange},
    {"XREVRANGE", NULL, 4, 6, do_xrevrange},
    {"SELECT", NULL, 2, 2, do_select},
    {"CLIENT", "SETNAME", 3, 3, do_ok},
    {"CLIENT", "SETINFO", 4, 4, do_ok},
    {"COMMAND", NULL, 1, 0, do_command},
    {"QUIT", NULL, 1, 1, do_quit},
};

static const struct command *find(const struct proto_request *q)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct command *c = &commands[i];
        if (span_eq_nocase(q->argv[0], span_str(c->name)) &&
            (!c->sub || (q->argc > 1 && span_eq_nocase(q->argv[1], span_str(c->sub)))))
            return c;
    }
    return NULL;
}

void dispatch_request(struct dispatch *d, const struct proto_request *request, int fd, struct reply *reply)
{
    const struct command *c = find(request);

    reply->done = true;
    d->count.requests++;
    if (!c) {
        d->count.unknown_commands++;
        resp_error(reply->out, "ERR", "unknown command; etagd knows PING, INFO, ATTACH, ETAG KEY|GET|FETCH|PUT|FILE|HASH|"
                                      "INVALIDATE|HOSTS|APPLIED, XADD, XRANGE, XREVRANGE, XLEN");
    } else if (request->argc < c->min || (c->max && request->argc > c->max)) {
        resp_error(reply->out, "ERR", "wrong number of arguments");
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
