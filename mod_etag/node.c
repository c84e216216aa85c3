/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/node.h"

#include <pthread.h>
#include <unistd.h>

#include <apr_strings.h>
#include <http_log.h>

#include "mod_etag/node_private.h"
#include "mod_etag/shared.h"

APLOG_USE_MODULE(etag);

#define ATTACH_EVERY (200 * NODE_MS) /* at most; up to half of it is added by chance */
#define ATTACH_SELDOM (2000 * NODE_MS) /* at most, while etagd answers but its table has no lease */

struct mapped {
    struct table *table;
    uint64_t generation;
    uint32_t doubt; /* shared.h: usable while that is the number */
    unsigned refs; /* one of node.current, one of each hold; under node.lock */
};

struct node_hold {
    struct mapped *mapped;
};

static struct {
    pthread_mutex_t lock; /* everything here */
    struct mapped *current;
    bool suspect; /* current was found void */
    bool attaching, handing_over;
    int64_t next_attach, pause;
    unsigned seed; /* of the jitter: children must not come in step */
} node = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Of the children; written by the parent before there are any. Empty: not known. */
static char time_namespace_of_children[TIME_NAMESPACE_SIZE];

/* --- references --- */

/* The lock is held. Returns the table to be unmapped once it is not. */
static struct table *unref(struct mapped *m)
{
    struct table *table = NULL;

    if (m && --m->refs == 0) {
        table = m->table;
        free(m);
    }
    return table;
}

static apr_status_t release(void *data)
{
    const struct node_hold *hold = data;

    pthread_mutex_lock(&node.lock);
    struct table *table = unref(hold->mapped);
    pthread_mutex_unlock(&node.lock);
    if (table)
        table_unmap(table);
    return APR_SUCCESS;
}

/* A hold of the current table, when it may be used now or for files. */
static struct node_hold *hold_current(apr_pool_t *p, bool files)
{
    struct node_hold *hold = NULL;
    const uint32_t doubt = shared_doubt();

    pthread_mutex_lock(&node.lock);
    if (node.current && (files || node.current->doubt == doubt)) {
        node.current->refs++;
        hold = apr_palloc(p, sizeof *hold);
        hold->mapped = node.current;
    }
    pthread_mutex_unlock(&node.lock);
    if (hold)
        apr_pool_cleanup_register(p, hold, release, apr_pool_cleanup_null);
    return hold;
}

/* --- attaching --- */

/* Whether this thread is to attach now; attach_done ends its turn. urgent: there is a reason that cannot wait. */
static bool attach_due(bool urgent)
{
    const uint32_t doubt = shared_doubt();
    bool due = false;

    pthread_mutex_lock(&node.lock);
    const bool doubted = node.current && node.current->doubt != doubt;
    if (!node.current || node.suspect || doubted || urgent) {
        const int64_t now = client_now();
        due = !node.attaching && (urgent || now >= node.next_attach);
        if (due) {
            node.attaching = true;
            node.next_attach = now + node.pause + rand_r(&node.seed) % (ATTACH_EVERY / 2);
        }
    }
    pthread_mutex_unlock(&node.lock);
    return due;
}

/* A lease of another clock might be believed for hours. */
static bool same_clock(const struct client_attachment *a)
{
    return !*a->time_namespace || !*time_namespace_of_children ||
           strcmp(a->time_namespace, time_namespace_of_children) == 0;
}

static void report_refused(const char *why, const char *advice)
{
    if (shared_change_state(SHARED_REFUSED))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, connections_server(),
                     "mod_etag: the table of etagd at %s cannot be used: %s; %s", connections_path(), why, advice);
}

/* Takes over what etagd handed out. NULL: refused, and said so. */
static struct mapped *map(const struct client_attachment *a, uint32_t doubt)
{
    const char *why = "out of memory", *advice = "install mod_etag and etagd of one release on this machine";
    struct mapped *m = malloc(sizeof *m);
    struct table *table = NULL;

    if (!same_clock(a)) {
        why = "httpd and etagd run in different time namespaces and cannot agree on when a lease ends";
        advice = "run both in one (lsns -t time)";
    } else if (m) {
        table = table_map(a->table_fd, a->touch_fd, &why);
    }
    close(a->table_fd);
    if (a->touch_fd >= 0)
        close(a->touch_fd);
    if (!table) {
        free(m);
        report_refused(why, advice);
        return NULL;
    }
    *m = (struct mapped){.table = table, .generation = table_generation(table), .refs = 1};
    m->doubt = shared_meet_generation(m->generation, doubt);
    return m;
}

/* Puts a table in the place of the current one, unless it is the same. */
static void install(struct mapped *m)
{
    struct table *old;

    pthread_mutex_lock(&node.lock);
    node.suspect = false;
    if (node.current && node.current->generation == m->generation) {
        /* etagd lives, its table has no lease (the store is away): asking often would not help. */
        node.current->doubt = m->doubt;
        node.pause = 2 * node.pause < ATTACH_SELDOM ? 2 * node.pause : ATTACH_SELDOM;
        old = unref(m);
    } else {
        node.pause = ATTACH_EVERY;
        old = unref(node.current);
        node.current = m;
    }
    pthread_mutex_unlock(&node.lock);
    if (old)
        table_unmap(old);
}

/* Whether a table is mapped now that was not in doubt when this began. */
static bool attach(int64_t *budget_ns)
{
    const int64_t begun = client_now();
    struct client_attachment a;
    uint32_t doubt;
    struct client *c = connection_new(&doubt);
    enum client_error e = c ? client_attach(c, connections_deadline(*budget_ns), &a) : CLIENT_ABSENT;

    if (c)
        connection_give_back(c, doubt);
    breaker_note(e);
    struct mapped *m = e == CLIENT_OK ? map(&a, doubt) : NULL;
    if (m) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, connections_server(),
                     "mod_etag: child %" APR_PID_T_FMT " mapped table %016" APR_UINT64_T_HEX_FMT, getpid(),
                     (apr_uint64_t)m->generation);
        if (shared_change_state(SHARED_ATTACHED))
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, connections_server(),
                         "mod_etag: attached to etagd at %s (node %s, %s store)", connections_path(), a.node, a.store);
        install(m);
    }
    *budget_ns -= client_now() - begun;
    return m != NULL;
}

static void attach_done(void)
{
    pthread_mutex_lock(&node.lock);
    node.attaching = false;
    pthread_mutex_unlock(&node.lock);
}

/* Attaches when that is due. True when it did. */
static bool attach_now(bool urgent, int64_t *budget_ns)
{
    bool attached;

    if (*budget_ns <= 0 || !attach_due(urgent))
        return false;
    attached = breaker_allows() && attach(budget_ns);
    attach_done();
    return attached;
}

/* --- invalidations --- */

/* The host that an operation's argument names; empty: it names none, or too much to keep. */
static struct span host_of(struct span op, struct span arg)
{
    static const char *const with_host[] = {"url", "prefix", "host", "group"};
    const char *scheme = arg.n ? memmem(arg.p, arg.n, "://", 3) : NULL;
    size_t n = 0;

    if (scheme)
        arg = span_of(scheme + 3, arg.n - (size_t)(scheme + 3 - arg.p));
    while (n < arg.n && arg.p[n] != '/' && arg.p[n] != '?' && arg.p[n] != ' ')
        n++;
    for (size_t i = 0; i < sizeof with_host / sizeof *with_host; i++)
        if (span_eq(op, span_str(with_host[i])))
            return span_of(arg.p, n);
    return (struct span){NULL, 0};
}

static bool invalidate(apr_pool_t *p, const struct span *fields, size_t n, int64_t *budget_ns)
{
    struct span *argv = apr_palloc(p, (n + 2) * sizeof *argv);
    bool fresh;

    argv[0] = SPAN_LITERAL("ETAG");
    argv[1] = SPAN_LITERAL("INVALIDATE");
    memcpy(argv + 2, fields, n * sizeof *argv);
    const struct redisReply *reply = connections_call(p, (int)n + 2, argv, -1, budget_ns, &fresh);
    if (!reply || !node_reply_done(reply))
        return false;
    /* A restarted etagd has heard it, and fills another table than the one that is mapped. */
    if (fresh && !attach_now(true, budget_ns))
        shared_raise_doubt(shared_doubt());
    return true;
}

bool node_invalidate(apr_pool_t *p, const struct span *fields, size_t n, int64_t *budget_ns)
{
    if (invalidate(p, fields, n, budget_ns))
        return true;
    for (size_t i = 0; i + 1 < n; i += 2)
        shared_pending_keep(host_of(fields[i], fields[i + 1]));
    return false;
}

/* Hands over what waits; true when nothing waits any more. One thread of a child at a time. */
static bool hand_over(apr_pool_t *p, int64_t *budget_ns)
{
    struct shared_pending *pending;
    struct span *fields;
    size_t n = 0;
    bool mine, done;

    pthread_mutex_lock(&node.lock);
    mine = !node.handing_over;
    node.handing_over = true;
    pthread_mutex_unlock(&node.lock);
    if (!mine)
        return false;
    pending = apr_palloc(p, sizeof *pending);
    shared_pending_copy(pending);
    fields = apr_palloc(p, 2 * (pending->n + 1) * sizeof *fields);
    if (pending->all) {
        fields[n++] = SPAN_LITERAL("all");
        fields[n++] = SPAN_LITERAL("1");
    }
    for (size_t i = 0; i < pending->n; i++) {
        fields[n++] = SPAN_LITERAL("host");
        fields[n++] = span_str(pending->host[i]);
    }
    done = n == 0 || invalidate(p, fields, n, budget_ns);
    if (done)
        shared_pending_done(pending);
    pthread_mutex_lock(&node.lock);
    node.handing_over = false;
    pthread_mutex_unlock(&node.lock);
    return done && !shared_pending_any();
}

/* --- requests --- */

struct node_hold *node_hold(apr_pool_t *p, int64_t *budget_ns)
{
    struct node_hold *hold;

    /* What this server was told to forget and etagd does not know yet: no table may be believed. */
    if (shared_pending_any() && !hand_over(p, budget_ns))
        return NULL;
    attach_now(false, budget_ns);
    hold = hold_current(p, false);
    if (hold)
        announce_hosts(p, hold->mapped->generation, budget_ns);
    return hold;
}

struct node_hold *node_hold_files(apr_pool_t *p)
{
    return hold_current(p, true);
}

const struct table *node_table(const struct node_hold *hold)
{
    return hold->mapped->table;
}

void node_void(struct node_hold *hold)
{
    pthread_mutex_lock(&node.lock);
    if (hold->mapped == node.current)
        node.suspect = true;
    pthread_mutex_unlock(&node.lock);
}

/* --- life --- */

static apr_status_t let_go(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&node.lock);
    struct table *table = unref(node.current);
    node.current = NULL;
    node.next_attach = INT64_MAX; /* the child ends */
    pthread_mutex_unlock(&node.lock);
    if (table)
        table_unmap(table);
    return APR_SUCCESS;
}

apr_status_t node_post_config(apr_pool_t *p, server_rec *s)
{
    announce_collect(p, s);
    time_namespace(TIME_NAMESPACE_OF_CHILDREN, time_namespace_of_children);
    return shared_create(p, s);
}

void node_child_init(apr_pool_t *p, server_rec *s)
{
    connections_init(p, s);
    node.pause = ATTACH_EVERY;
    node.seed = (unsigned)getpid();
    apr_pool_cleanup_register(p, NULL, let_go, apr_pool_cleanup_null);
}
