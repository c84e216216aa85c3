/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/cluster.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/cluster_majority.h"
#include "etagd/conf.h"
#include "etagd/log.h"

#define CONNECT_MS 2000u

struct cluster_node {
    struct cluster *all;
    unsigned place; /* in all->node and all->said */
    struct redis_address at;
    struct redis *ask;
    bool seed; /* the URL's: asked for ever */
    bool asking, again; /* replies are awaited; it is to be asked once more then */
    bool complete; /* of those so far */
    bool told; /* one line per outage */
    uint64_t asked_round;
    struct cluster_answer coming;
};

struct cluster {
    const struct conf *conf;
    struct event_base *base;
    struct redis_url url;
    struct witness_events events;
    struct cluster_map_events map_events;
    struct event *timer;
    unsigned slot; /* of the log */
    struct cluster_majority said;

    struct cluster_map map, coming; /* the newest; scratch */
    uint64_t map_epoch;

    uint64_t round, asked_ms; /* the newest */
    unsigned replicas; /* of the last majority */
    struct witness_wait *waiting;

    char error[320];
    struct cluster_node *node[CLUSTER_NODES_MAX]; /* NULL: free */
};

static void remember_error(struct cluster_node *one, const char *why)
{
    char where[REDIS_HOST + 16];

    witness_address(&one->at, where, sizeof where);
    snprintf(one->all->error, sizeof one->all->error, "Cluster node %.100s: %.190s", where, why);
    if (!one->told)
        log_warn("%s", one->all->error);
    one->told = true;
}

/* ---- what they say together ---- */

static void ask_all(struct cluster *c);

static void follow(struct cluster *c)
{
    char where[REDIS_HOST + 16];

    c->map_epoch = 0; /* the next map is this one's */
    witness_address(&c->said.at, where, sizeof where);
    log_info("the master of slot %u, which has the log, is %s", c->slot, where);
    c->events.master(c->events.arg, &c->said.at);
    ask_all(c); /* what was said so far was about the one before */
}

static void consider(struct cluster *c)
{
    uint64_t round = c->round; /* who is called may ask again, which is a later one */
    struct witness_wait *w;
    unsigned replicas;

    if (!cluster_majority_agrees(&c->said, round, round, clock_boot_ms(), &replicas))
        return;
    c->replicas = replicas;
    c->error[0] = '\0';
    while ((w = witness_wait_take(&c->waiting, round)))
        w->majority(w->arg, replicas);
}

/* ---- the nodes ---- */

static bool add_node(struct cluster *c, const struct redis_address *at, bool seed);

static bool is_in_map(const struct cluster *c, const struct redis_address *at)
{
    for (unsigned i = 0; i < c->map.n; i++)
        if (witness_same_address(&c->map.at[i], at))
            return true;
    return false;
}

/* A map that is out of date does little harm: who is asked wrongly says so (MOVED). */
static void take_map(struct cluster *c, const struct cluster_answer *a)
{
    if (!a->found || !cluster_same_node(&a->master, &c->said.master) || a->current_epoch < c->map_epoch)
        return;
    c->map_epoch = a->current_epoch;
    if (memcmp(&c->map, &c->coming, sizeof c->map) == 0)
        return;
    c->map = c->coming;
    for (unsigned i = 0; i < c->map.n; i++)
        if (c->map.at[i].port)
            add_node(c, &c->map.at[i], false);
    c->map_events.map(c->map_events.arg, &c->map);
}

static void free_node(struct cluster_node *one)
{
    if (one)
        redis_free(one->ask);
    free(one);
}

/* Not from a callback of their connections. */
static void drop_former_masters(struct cluster *c)
{
    for (unsigned i = 0; i < CLUSTER_NODES_MAX; i++) {
        struct cluster_node *one = c->node[i];

        if (!one || one->seed || is_in_map(c, &one->at))
            continue;
        c->node[i] = NULL;
        cluster_majority_forget(&c->said, i);
        free_node(one);
    }
}

/* ---- one node ---- */

static void ask(struct cluster_node *one);

static void on_answered(struct cluster_node *one)
{
    struct cluster *c = one->all;

    one->asking = false;
    if (one->complete) {
        one->told = false;
        if (cluster_majority_told(&c->said, one->place, &one->coming, one->asked_round, c->round, clock_boot_ms()))
            follow(c);
        take_map(c, &one->coming);
        consider(c);
    }
    if (one->again)
        ask(one);
}

static void on_fault(struct cluster_node *one, const struct redis_reply *reply)
{
    char why[256];

    one->complete = false;
    if (redis_kind(reply) == REDIS_LOST)
        return;
    if (redis_kind(reply) == REDIS_FAULT)
        redis_explain(redis_text(reply), NULL, why, sizeof why);
    else
        snprintf(why, sizeof why, "its answer makes no sense: is it a node of a Redis Cluster?");
    remember_error(one, why);
}

static void on_info(void *arg, const struct redis_reply *reply)
{
    struct cluster_node *one = arg;

    if (redis_kind(reply) != REDIS_TEXT || !cluster_read_info(redis_text(reply), &one->coming))
        on_fault(one, reply);
}

/* The last of the two. */
static void on_nodes(void *arg, const struct redis_reply *reply)
{
    struct cluster_node *one = arg;
    struct cluster *c = one->all;

    if (one->complete && (redis_kind(reply) != REDIS_TEXT ||
                          !cluster_read_nodes(redis_text(reply), &one->at, c->slot, &one->coming, &c->coming)))
        on_fault(one, reply);
    on_answered(one);
}

/* The epoch first: a vote that is given between the two answers was given after this round began. */
static void ask(struct cluster_node *one)
{
    struct span info[] = {SPAN_LITERAL("CLUSTER"), SPAN_LITERAL("INFO")};
    struct span nodes[] = {SPAN_LITERAL("CLUSTER"), SPAN_LITERAL("NODES")};

    one->again = one->asking;
    if (one->asking || !redis_is_up(one->ask))
        return;
    one->asked_round = one->all->round;
    one->complete = redis_send(one->ask, 2, info, on_info, one);
    one->asking = redis_send(one->ask, 2, nodes, on_nodes, one);
}

static void ask_all(struct cluster *c)
{
    c->round++;
    c->asked_ms = clock_boot_ms();
    for (unsigned i = 0; i < CLUSTER_NODES_MAX; i++)
        if (c->node[i])
            ask(c->node[i]);
}

static void on_up(void *arg)
{
    ask(arg);
}

static void on_down(void *arg, const char *why)
{
    struct cluster_node *one = arg;

    one->asking = one->again = false;
    remember_error(one, why);
}

static struct redis *connect_to(struct cluster_node *one)
{
    struct cluster *c = one->all;
    struct redis_url url = c->url;
    char name[160];
    struct redis_options options = {
        .url = &url,
        .tls = c->conf->tls,
        .user = c->conf->redis_user,
        .password_file = c->conf->redis_password_file,
        .name = name,
        .connect_ms = CONNECT_MS,
        .reply_ms = (unsigned)c->conf->lease_ms,
        .queue_max = 8,
        .up = on_up,
        .down = on_down,
        .arg = one,
    };

    url.at = one->at;
    redis_connection_name(c->conf->node, "cluster", name, sizeof name);
    return redis_new(c->base, &options);
}

/* False: out of memory, or too many. */
static bool add_node(struct cluster *c, const struct redis_address *at, bool seed)
{
    struct cluster_node *one;
    unsigned place = CLUSTER_NODES_MAX;

    for (unsigned i = CLUSTER_NODES_MAX; i-- > 0;) {
        if (!c->node[i])
            place = i;
        else if (witness_same_address(&c->node[i]->at, at))
            return true;
    }
    one = place < CLUSTER_NODES_MAX ? calloc(1, sizeof *one) : NULL;
    if (!one)
        return false;
    *one = (struct cluster_node){.all = c, .place = place, .at = *at, .seed = seed};
    one->ask = connect_to(one);
    if (!one->ask) {
        free_node(one);
        return false;
    }
    c->node[place] = one;
    return true;
}

/* ---- life ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct cluster *c = arg;
    uint64_t period = c->conf->lease_ms / 5, since = clock_boot_ms() - c->asked_ms;

    (void)fd;
    (void)what;
    drop_former_masters(c);
    /* Who waits for a majority asks again by himself; a slow round is given time. */
    if (since >= (c->waiting ? c->conf->lease_ms / 2 : period / 2))
        ask_all(c);
}

struct cluster *cluster_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                            const struct witness_events *events, const struct cluster_map_events *map)
{
    struct cluster *c = calloc(1, sizeof *c);
    uint64_t period = conf->lease_ms / 5;
    struct timeval every = {(time_t)(period / 1000), (suseconds_t)(period % 1000 * 1000)};
    char key[160];

    if (!c)
        return NULL;
    c->conf = conf;
    c->base = base;
    c->url = *url;
    c->events = *events;
    c->map_events = *map;
    snprintf(key, sizeof key, "{%s}:log", conf->key_prefix);
    c->slot = cluster_slot(span_str(key));
    memset(c->map.owner, CLUSTER_NOBODY, sizeof c->map.owner);
    c->timer = event_new(base, -1, EV_PERSIST, on_timer, c);
    for (unsigned i = 0; i < url->nseeds; i++)
        if (!add_node(c, &url->seeds[i], true))
            goto fail;
    if (c->timer && event_add(c->timer, &every) == 0)
        return c;
fail:
    cluster_free(c);
    return NULL;
}

void cluster_free(struct cluster *c)
{
    if (!c)
        return;
    c->waiting = NULL;
    for (unsigned i = 0; i < CLUSTER_NODES_MAX; i++)
        free_node(c->node[i]);
    if (c->timer)
        event_free(c->timer);
    free(c);
}

void cluster_ask(struct cluster *c, struct witness_wait *wait)
{
    ask_all(c);
    witness_wait_add(&c->waiting, wait, c->round);
}

void cluster_doubt(struct cluster *c)
{
    /* Answers of a round that somebody waits for are not made void by another one, and are new enough. */
    if (!c->waiting && clock_boot_ms() - c->asked_ms >= c->conf->lease_ms / 20)
        ask_all(c);
}

void cluster_stats(const struct cluster *c, struct witness_stats *out)
{
    uint64_t lately = c->round ? c->round - 1 : 0; /* the newest round may be on its way */

    out->known = cluster_majority_known(&c->said, c->round);
    out->agreeing = cluster_majority_agreeing(&c->said, lately);
    out->replicas = c->replicas;
    out->master = c->said.at;
    memcpy(out->error, c->error, sizeof out->error);
}
