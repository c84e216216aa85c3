/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/node_private.h"

#include <pthread.h>

#include <ap_mpm.h>
#include <http_log.h>

#include <hiredis/hiredis.h>

#include "mod_etag/config.h"
#include "mod_etag/shared.h"

APLOG_USE_MODULE(etag);

#define IDLE_MIN 4 /* HTTP/2 has threads of its own, also under prefork */
#define FAILURES_TO_OPEN 3 /* in a row */
#define PAUSE_FIRST (500 * NODE_MS) /* how long etagd is then left alone; doubles */
#define PAUSE_SLOW (5000 * NODE_MS) /* the most where asking costs a request its time */
#define PAUSE_CHEAP (1000 * NODE_MS) /* and where failing is quick: nobody listens */

struct idle {
    struct client *client;
    uint32_t doubt;
};

static struct {
    server_rec *server;
    const char *path;
    int64_t timeout_ns;
    pthread_mutex_t lock; /* the rest */
    struct idle *idle;
    size_t nidle, capacity;
    bool closed; /* the child ends */
    unsigned failures;
    bool trying; /* the breaker is open, and one thread tries whether it still need be */
    int64_t open_until, pause;
} connections = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- life --- */

static void drop_idle(void)
{
    pthread_mutex_lock(&connections.lock);
    while (connections.nidle)
        client_free(connections.idle[--connections.nidle].client);
    pthread_mutex_unlock(&connections.lock);
}

static apr_status_t close_all(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&connections.lock);
    connections.closed = true;
    pthread_mutex_unlock(&connections.lock);
    drop_idle();
    return APR_SUCCESS;
}

void connections_init(apr_pool_t *p, server_rec *s)
{
    const struct etag_server *server = etag_server_of(s);
    int threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    connections.server = s;
    connections.path = server->daemon;
    connections.timeout_ns = server->timeout * 1000;
    connections.capacity = threads > IDLE_MIN ? (size_t)threads : IDLE_MIN;
    connections.idle = apr_pcalloc(p, connections.capacity * sizeof *connections.idle);
    apr_pool_cleanup_register(p, NULL, close_all, apr_pool_cleanup_null);
}

const char *connections_path(void)
{
    return connections.path;
}

server_rec *connections_server(void)
{
    return connections.server;
}

int64_t connections_deadline(int64_t budget_ns)
{
    return client_now() + (budget_ns < connections.timeout_ns ? budget_ns : connections.timeout_ns);
}

struct client *connection_new(uint32_t *doubt)
{
    *doubt = shared_doubt();
    return client_new(connections.path);
}

/* An idle connection, else a new one. *reused: it may have died while nobody looked. */
static struct client *take(uint32_t *doubt, bool *reused)
{
    struct client *c = NULL;

    pthread_mutex_lock(&connections.lock);
    if (connections.nidle) {
        struct idle *i = &connections.idle[--connections.nidle];
        c = i->client;
        *doubt = i->doubt;
    }
    pthread_mutex_unlock(&connections.lock);
    *reused = c != NULL;
    return c ? c : connection_new(doubt);
}

void connection_give_back(struct client *c, uint32_t doubt)
{
    pthread_mutex_lock(&connections.lock);
    if (client_connected(c) && !connections.closed && connections.nidle < connections.capacity) {
        connections.idle[connections.nidle++] = (struct idle){c, doubt};
        c = NULL;
    }
    pthread_mutex_unlock(&connections.lock);
    client_free(c);
}

/* --- circuit breaker --- */

bool breaker_allows(void)
{
    bool allowed = true;

    pthread_mutex_lock(&connections.lock);
    if (connections.failures >= FAILURES_TO_OPEN) {
        allowed = !connections.trying && client_now() >= connections.open_until;
        connections.trying |= allowed;
    }
    pthread_mutex_unlock(&connections.lock);
    return allowed;
}

/* True when the breaker is open after this failure. */
static bool count_failure(enum client_error e)
{
    const int64_t most = e == CLIENT_TIMEOUT ? PAUSE_SLOW : PAUSE_CHEAP, now = client_now();
    bool open;

    pthread_mutex_lock(&connections.lock);
    connections.failures++;
    connections.trying = false;
    open = connections.failures >= FAILURES_TO_OPEN;
    /* Threads that were waiting when it opened fail as well: that is not news. */
    if (open && now >= connections.open_until) {
        connections.pause = connections.pause ? 2 * connections.pause : PAUSE_FIRST;
        if (connections.pause > most)
            connections.pause = most;
        connections.open_until = now + connections.pause;
    }
    pthread_mutex_unlock(&connections.lock);
    return open;
}

static void count_success(void)
{
    pthread_mutex_lock(&connections.lock);
    connections.failures = 0;
    connections.trying = false;
    connections.pause = 0;
    pthread_mutex_unlock(&connections.lock);
}

static void report_lost(enum client_error e)
{
    if (shared_change_state(SHARED_LOST))
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, connections.server,
            "mod_etag: working without etagd (%s: %s): pages are served without shared tags, files keep theirs; "
            "start etagd, or say with ETagDaemon where it listens",
            connections.path, client_error_text(e));
}

static void report_refused(enum client_error e)
{
    if (shared_change_state(SHARED_REFUSED))
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, connections.server,
            "mod_etag: etagd at %s cannot be used: %s; pages are served without shared tags, files keep theirs: %s",
            connections.path, client_error_text(e),
            e == CLIENT_DENIED ? "name httpd's user in AllowUsers and let it reach the socket (SocketGroup)"
                               : "install mod_etag and etagd of one release");
}

void breaker_note(enum client_error e)
{
    if (e == CLIENT_OK) {
        count_success();
        /* One slow answer is no loss, and one quick answer is no attachment. */
        if (shared_state_now() == SHARED_LOST && shared_change_state(SHARED_ATTACHED))
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, connections.server, "mod_etag: etagd at %s answers again",
                         connections.path);
        return;
    }
    const bool open = count_failure(e);
    if (e == CLIENT_DENIED || e == CLIENT_VERSION)
        report_refused(e);
    else if (e != CLIENT_TIMEOUT || open)
        report_lost(e);
}

/* --- one command --- */

static apr_status_t free_reply(void *reply)
{
    freeReplyObject(reply);
    return APR_SUCCESS;
}

/* Once, and once more on a new connection where an idle one turned out dead. */
static enum client_error call(int argc, const struct span *argv, int fd, int64_t deadline, struct redisReply **reply,
                              bool *fresh)
{
    enum client_error e = CLIENT_ABSENT;
    bool reused;
    uint32_t doubt;

    do {
        struct client *c = take(&doubt, &reused);
        if (!c)
            return CLIENT_ABSENT;
        e = client_call(c, argc, argv, fd, deadline, reply);
        connection_give_back(c, doubt);
        if (e == CLIENT_CLOSED || e == CLIENT_ABSENT || e == CLIENT_PROTOCOL) {
            shared_raise_doubt(doubt);
            drop_idle();
        }
    } while (e == CLIENT_CLOSED && reused);
    *fresh = !reused;
    return e;
}

struct redisReply *connections_call(apr_pool_t *p, int argc, const struct span *argv, int fd, int64_t *budget_ns,
                                    bool *fresh)
{
    struct redisReply *reply = NULL;
    const int64_t begun = client_now();

    if (*budget_ns <= 0 || !breaker_allows())
        return NULL;
    enum client_error e = call(argc, argv, fd, connections_deadline(*budget_ns), &reply, fresh);
    *budget_ns -= client_now() - begun;
    breaker_note(e);
    if (e != CLIENT_OK)
        return NULL;
    apr_pool_cleanup_register(p, reply, free_reply, apr_pool_cleanup_null);
    return reply;
}

struct redisReply *node_call(apr_pool_t *p, int argc, const struct span *argv, int fd, int64_t *budget_ns)
{
    bool fresh;
    return connections_call(p, argc, argv, fd, budget_ns, &fresh);
}

bool node_reply_true(const struct redisReply *reply)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
}

bool node_reply_done(const struct redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

bool node_reply_text(const struct redisReply *reply, const char **text)
{
    if (reply->type != REDIS_REPLY_STRING)
        return false;
    *text = reply->str;
    return true;
}

bool node_reply_error(const struct redisReply *reply, const char *word, const char **rest)
{
    const size_t n = strlen(word);

    if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, word, n) != 0 ||
        (reply->str[n] != ' ' && reply->str[n] != '\0'))
        return false;
    *rest = reply->str + n + (reply->str[n] == ' ');
    return true;
}
