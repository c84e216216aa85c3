/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection comes up, is watched, and goes down. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "etagd/redis_state.h"
#include "etagd/redis_transport.h"

#define PAUSE_FIRST_MS 50u
#define PAUSE_MAX_MS 2000u

void redis_arm(struct redis *r, uint64_t ms)
{
    struct timeval after = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    event_add(r->timer, &after);
}

/* ---- going down ---- */

void redis_fail(struct redis *r, const char *why)
{
    if (!r->give_up)
        snprintf(r->why, sizeof r->why, "%s", why);
    r->give_up = true;
}

static void close_connection(struct redis *r)
{
    redis_transport_close(r->transport);
    redis_reader_close(r);
    r->stage = STAGE_DOWN;
}

static unsigned jitter(unsigned up_to)
{
    uint16_t random;

    evutil_secure_rng_get_bytes(&random, sizeof random);
    return random % (up_to + 1);
}

static bool has_server(const struct redis *r)
{
    return r->url.path[0] || r->url.at.host[0];
}

/* The end of every entry from the event loop: acts on what redis_fail decided. */
static void leave(struct redis *r)
{
    unsigned pause = r->pause_ms;

    if (!r->give_up)
        return;
    r->give_up = false;
    close_connection(r);
    r->pause_ms = pause == 0 ? PAUSE_FIRST_MS : pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
    if (has_server(r))
        redis_arm(r, pause / 2 + jitter(pause / 2));
    redis_lose(r);
    r->options.down(r->options.arg, r->why);
}

static void start_again(struct redis *r, const char *why)
{
    struct timeval now = {0, 0};

    r->pause_ms = 0;
    redis_fail(r, why);
    event_add(r->timer, &now);
}

void redis_reconnect(struct redis *r)
{
    if (r->stage != STAGE_DOWN) /* else it is on its way */
        start_again(r, "started again");
}

void redis_move(struct redis *r, const struct redis_address *to)
{
    struct timeval now = {0, 0};

    r->url.at = *to;
    r->pause_ms = PAUSE_FIRST_MS;
    if (r->stage == STAGE_DOWN)
        event_add(r->timer, &now);
    else
        start_again(r, "another server is named the master");
}

/* ---- greeting ---- */

static bool read_password(struct redis *r, char *out, size_t size)
{
    int fd = open(r->password_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

    if (fd >= 0)
        close(fd);
    if (n < 0) {
        char why[256];

        snprintf(why, sizeof why, "%s: %s", r->password_file, strerror(errno));
        redis_fail(r, why);
        return false;
    }
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

static void on_greeting(void *arg, const struct redis_reply *reply)
{
    struct redis *r = arg;

    if (redis_kind(reply) != REDIS_FAULT)
        return;
    char why[256];
    redis_explain(redis_text(reply), NULL, why, sizeof why);
    redis_fail(r, why);
}

/* Who names the master may name a server that is a replica by now, or not yet a master. */
static void on_role(void *arg, const struct redis_reply *reply)
{
    struct redis *r = arg;
    struct span role = redis_text(redis_at(reply, 0));
    char why[256], where[160];

    on_greeting(arg, reply);
    if (r->give_up || redis_kind(reply) == REDIS_LOST || span_eq(role, SPAN_LITERAL("master")))
        return;
    redis_url_text(&r->url, where, sizeof where);
    snprintf(why, sizeof why, "%s is no master but a %.*s: who names it has not settled yet", where,
             (int)(role.n < 16 ? role.n : 16), role.n ? role.p : "");
    redis_fail(r, why);
}

/* PING says whether the server is ready and knows us. */
static void on_greeted(void *arg, const struct redis_reply *reply)
{
    struct redis *r = arg;

    on_greeting(arg, reply);
    if (r->give_up || redis_kind(reply) == REDIS_LOST)
        return;
    event_del(r->timer);
    r->stage = STAGE_UP;
    r->pause_ms = PAUSE_FIRST_MS;
    redis_transport_keep_address(r->transport);
    r->options.up(r->options.arg);
}

static void greet(struct redis *r)
{
    char password[512], database[16];
    const char *user = r->user ? r->user : r->url.user;
    struct span auth[3] = {SPAN_LITERAL("AUTH")}, select[2], name[3];
    struct span role = SPAN_LITERAL("ROLE"), ping = SPAN_LITERAL("PING");
    size_t n = 1;

    r->stage = STAGE_GREETING;
    if (r->password_file) {
        if (!read_password(r, password, sizeof password))
            return;
        if (user[0])
            auth[n++] = span_str(user);
        auth[n++] = span_str(password);
        redis_push(r, n, auth, on_greeting, r);
        explicit_bzero(password, sizeof password);
    }
    snprintf(database, sizeof database, "%u", r->url.database);
    select[0] = SPAN_LITERAL("SELECT");
    select[1] = span_str(database);
    if (r->url.database)
        redis_push(r, 2, select, on_greeting, r);
    name[0] = SPAN_LITERAL("CLIENT");
    name[1] = SPAN_LITERAL("SETNAME");
    name[2] = span_str(r->name);
    redis_push(r, 3, name, NULL, NULL);
    if (r->options.master)
        redis_push(r, 1, &role, on_role, r);
    if (!redis_push(r, 1, &ping, on_greeted, r))
        redis_fail(r, "out of memory");
}

/* ---- events ---- */

static void on_readable(void *arg)
{
    redis_read(arg);
    leave(arg);
}

static void on_open(void *arg)
{
    greet(arg);
    leave(arg);
}

static void on_broken(void *arg, const char *why)
{
    redis_fail(arg, why);
    leave(arg);
}

static void connect_now(struct redis *r)
{
    r->stage = STAGE_CONNECTING;
    redis_arm(r, r->options.connect_ms);
    if (redis_reader_open(r))
        redis_transport_connect(r->transport, &r->url);
    else
        redis_fail(r, "out of memory");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct redis *r = arg;
    uint64_t patience;

    (void)fd;
    (void)what;
    switch (r->give_up ? STAGE_GREETING : r->stage) {
    case STAGE_DOWN:
        connect_now(r);
        break;
    case STAGE_CONNECTING:
    case STAGE_GREETING:
        redis_fail(r, redis_transport_waiting_for(r->transport));
        break;
    case STAGE_UP:
        patience = r->in_flight ? redis_patience(r) : 0;
        if (patience)
            redis_arm(r, patience);
        else if (r->in_flight)
            redis_fail(r, "no reply in time");
        break;
    }
    leave(r);
}

/* ---- life ---- */

struct redis *redis_new(struct event_base *base, const struct redis_options *options)
{
    struct redis *r = calloc(1, sizeof *r);
    struct redis_transport_events events = {.open = on_open, .readable = on_readable, .broken = on_broken, .arg = r};
    struct timeval now = {0, 0};

    if (!r)
        return NULL;
    r->options = *options;
    r->url = *options->url;
    r->user = options->user ? strdup(options->user) : NULL;
    r->password_file = options->password_file ? strdup(options->password_file) : NULL;
    r->name = strdup(options->name);
    r->newest = &r->oldest;
    r->pause_ms = PAUSE_FIRST_MS;
    r->transport = redis_transport_new(base, options->tls, &events);
    r->timer = event_new(base, -1, 0, on_timer, r);
    if (r->transport && r->timer && r->name && (!has_server(r) || event_add(r->timer, &now) == 0))
        return r;
    redis_free(r);
    return NULL;
}

void redis_free(struct redis *r)
{
    if (!r)
        return;
    close_connection(r);
    redis_lose(r);
    if (r->timer)
        event_free(r->timer);
    redis_transport_free(r->transport);
    free(r->user);
    free(r->password_file);
    free(r->name);
    free(r);
}

bool redis_is_up(const struct redis *r)
{
    return r->stage == STAGE_UP && !r->give_up;
}

/* ---- for people ---- */

void redis_connection_name(const char *node, const char *role, char *out, size_t size)
{
    snprintf(out, size, "etagd:%s:%s", node, role);
    for (char *c = out; *c; c++)
        if (*c <= ' ' || *c > '~')
            *c = '-';
}

static const struct {
    const char *code, *remedy;
} remedies[] = {
    {"WRONGPASS", "check RedisUser and RedisPasswordFile against the server's ACL (for a Sentinel: SentinelUser and "
                  "SentinelPasswordFile)"},
    {"NOAUTH", "the server wants a password: put it in a file and name it with RedisPasswordFile (a Sentinel's: "
               "SentinelPasswordFile)"},
    {"ERR AUTH", "the server has no password set, or wants none for this user: check RedisPasswordFile"},
    {"NOPERM", "the user's ACL lacks this command or key: see conf/redis/users.acl"},
    {"WRONGTYPE", "something else uses this key: DEL it, or choose another KeyPrefix"},
    {"READONLY", "this server is a replica: name the master in the Redis URL, or its Sentinels"},
    {"NOREPLICAS", "too few replicas follow this master: it may be cut off from them, or they are down"},
    {"OOM", "the server is out of memory: raise maxmemory, and set maxmemory-policy volatile-lru"},
    {"MISCONF", "the server cannot write to its disk: look into its log"},
    {"LOADING", "the server is still loading its data: wait"},
    {"MASTERDOWN", "this server is a replica without its master: name the master in the Redis URL"},
    {"MOVED",
     "this key is another server's: name nodes of the Cluster in the Redis URL (cluster://); with such a URL the "
     "other server is being looked for"},
    {"ASK", "this key is being moved to another server of the Cluster: wait, or see redis-cli --cluster check"},
    {"TRYAGAIN", "these keys are being moved to another server of the Cluster: wait, or see redis-cli --cluster check"},
    {"CLUSTERDOWN", "the Cluster lacks masters, or this one is cut off from them: see redis-cli --cluster check"},
    {"ERR This instance has cluster support disabled",
     "this is no Cluster: name the server with redis:// in the Redis URL"},
    {"ERR unknown command", "Redis 7.0 or newer, or Valkey, is needed"},
};

void redis_explain(struct span fault, const char *key, char *out, size_t size)
{
    const char *remedy = "see the server's log";

    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (span_starts(fault, span_str(remedies[i].code)))
            remedy = remedies[i].remedy;
    snprintf(out, size, "%s%s%.*s: %s", key ? key : "", key ? ": " : "", (int)(fault.n < 120 ? fault.n : 120), fault.p,
             remedy);
}
