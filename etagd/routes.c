/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/routes.h"

#include <stdio.h>
#include <stdlib.h>

#include "etagd/conf.h"
#include "etagd/log.h"
#include "etagd/script.h"
#include "etagd/witness.h"

#define CONNECT_MS 2000u
#define REPLY_MS 2000u
#define QUEUE_MAX 8192u
#define HOPS_MAX 5 /* redirections of one command */
#define ROUTES_MAX (2 * CLUSTER_MASTERS) /* masters of the map, and others that were named since */

struct route {
    struct routes *all;
    struct redis_address at;
    struct redis *redis;
    bool told; /* one line per outage */
};

struct routes {
    struct event_base *base;
    const struct conf *conf;
    struct redis_url url;
    struct redis *only;
    struct routes_events events;
    struct route *route[ROUTES_MAX]; /* NULL: free */
    uint8_t owner[CLUSTER_SLOTS]; /* place in route, CLUSTER_NOBODY */
};

/* ---- connections ---- */

static void on_up(void *arg)
{
    struct route *route = arg;
    struct routes *r = route->all;

    route->told = false;
    r->events.up(r->events.arg, route->redis);
}

static void on_down(void *arg, const char *why)
{
    struct route *route = arg;
    char where[REDIS_HOST + 16];

    witness_address(&route->at, where, sizeof where);
    if (!route->told)
        log_warn("entries at %.100s: %s", where, why);
    route->told = true;
    route->all->events.moved(route->all->events.arg);
}

static struct redis *connect_to(struct route *route)
{
    struct routes *r = route->all;
    struct redis_url url = r->url;
    char name[160];
    struct redis_options options = {
        .url = &url,
        .tls = r->conf->tls,
        .user = r->conf->redis_user,
        .password_file = r->conf->redis_password_file,
        .name = name,
        .connect_ms = CONNECT_MS,
        .reply_ms = REPLY_MS,
        .queue_max = QUEUE_MAX,
        .up = on_up,
        .down = on_down,
        .arg = route,
    };

    url.at = route->at;
    redis_connection_name(r->conf->node, "entries", name, sizeof name);
    return redis_new(r->base, &options);
}

static void free_route(struct route *route)
{
    if (route)
        redis_free(route->redis);
    free(route);
}

/* Its place; made where there is none. CLUSTER_NOBODY: that is not possible. */
static uint8_t place_of(struct routes *r, const struct redis_address *at)
{
    struct route *route;
    size_t place = ROUTES_MAX;

    for (size_t i = ROUTES_MAX; i-- > 0;) {
        if (!r->route[i])
            place = i;
        else if (witness_same_address(&r->route[i]->at, at))
            return (uint8_t)i;
    }
    route = place < ROUTES_MAX && at->port ? calloc(1, sizeof *route) : NULL;
    if (!route)
        return CLUSTER_NOBODY;
    *route = (struct route){.all = r, .at = *at};
    route->redis = connect_to(route);
    if (!route->redis) {
        free_route(route);
        return CLUSTER_NOBODY;
    }
    r->route[place] = route;
    return (uint8_t)place;
}

static bool is_in_map(const struct cluster_map *map, const struct redis_address *at)
{
    for (unsigned i = 0; i < map->n; i++)
        if (witness_same_address(&map->at[i], at))
            return true;
    return false;
}

void routes_map(struct routes *r, const struct cluster_map *map)
{
    struct route *former[ROUTES_MAX];
    uint8_t place[CLUSTER_MASTERS];
    size_t n = 0;

    for (size_t i = 0; i < ROUTES_MAX; i++) {
        if (r->route[i] && !is_in_map(map, &r->route[i]->at)) {
            former[n++] = r->route[i];
            r->route[i] = NULL;
        }
    }
    for (unsigned i = 0; i < map->n; i++)
        place[i] = place_of(r, &map->at[i]);
    for (size_t slot = 0; slot < CLUSTER_SLOTS; slot++)
        r->owner[slot] = map->owner[slot] < map->n ? place[map->owner[slot]] : CLUSTER_NOBODY;
    while (n) /* who hears that a command is lost may send another */
        free_route(former[--n]);
}

static struct redis *redis_of(const struct routes *r, struct span key)
{
    uint8_t place;

    if (r->only)
        return r->only;
    place = r->owner[cluster_slot(key)];
    return place == CLUSTER_NOBODY ? NULL : r->route[place]->redis;
}

bool routes_is_up(const struct routes *r, struct span key)
{
    const struct redis *redis = redis_of(r, key);

    return redis && redis_is_up(redis);
}

size_t routes_in_flight(const struct routes *r, struct span key)
{
    const struct redis *redis = redis_of(r, key);

    return redis ? redis_in_flight(redis) : 0;
}

/* ---- commands that may have to be sent once more ---- */

struct errand {
    struct routes *all;
    struct redis_address at; /* the server that was asked */
    void (*reply)(void *arg, const struct redis_reply *reply);
    void *arg;
    int hops;
    size_t argc;
    struct span argv[];
};

static struct errand *errand_new(size_t argc, const struct span *argv)
{
    size_t n = sizeof(struct errand) + argc * sizeof *argv;
    struct errand *e;
    char *bytes;

    for (size_t i = 0; i < argc; i++)
        n += argv[i].n;
    e = malloc(n);
    if (!e)
        return NULL;
    e->argc = argc;
    bytes = (char *)(e->argv + argc);
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].n)
            memcpy(bytes, argv[i].p, argv[i].n);
        e->argv[i] = span_of(bytes, argv[i].n);
        bytes += argv[i].n;
    }
    return e;
}

static void on_errand(void *arg, const struct redis_reply *reply);

static bool send_errand(struct errand *e, struct route *route, bool asking)
{
    struct span first = SPAN_LITERAL("ASKING");

    e->at = route->at;
    return (!asking || redis_send(route->redis, 1, &first, NULL, NULL)) &&
           redis_send(route->redis, e->argc, e->argv, on_errand, e);
}

/* True when it is on its way again. ASK is about this command alone, MOVED about all that follow. */
static bool follow(struct errand *e, const struct redis_reply *reply)
{
    struct routes *r = e->all;
    bool asking = redis_is_fault(reply, "ASK ");
    struct redis_address to;
    unsigned slot;
    uint8_t place;

    if (e->hops++ == HOPS_MAX || !cluster_read_redirection(redis_text(reply), &e->at, &slot, &to))
        return false;
    place = place_of(r, &to);
    if (!asking) {
        r->owner[slot] = place;
        r->events.moved(r->events.arg);
    }
    return place != CLUSTER_NOBODY && send_errand(e, r->route[place], asking);
}

static void on_errand(void *arg, const struct redis_reply *reply)
{
    struct errand *e = arg;
    bool elsewhere = redis_is_fault(reply, "MOVED ") || redis_is_fault(reply, "ASK ");

    if (elsewhere && follow(e, reply))
        return;
    if (e->reply)
        e->reply(e->arg, elsewhere ? NULL : reply);
    free(e);
}

bool routes_send(struct routes *r, struct span key, size_t argc, const struct span *argv,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    uint8_t place;
    struct errand *e;

    if (r->only)
        return redis_send(r->only, argc, argv, reply, arg);
    place = r->owner[cluster_slot(key)];
    if (place == CLUSTER_NOBODY || !redis_is_up(r->route[place]->redis) || !(e = errand_new(argc, argv)))
        return false;
    e->all = r;
    e->reply = reply;
    e->arg = arg;
    e->hops = 0;
    if (send_errand(e, r->route[place], false))
        return true;
    free(e);
    return false;
}

/* ---- scripts ---- */

bool routes_call(struct routes *r, const struct script *script, size_t n, const struct span *args,
                 void (*reply)(void *arg, const struct redis_reply *reply), void *arg)
{
    struct script_command command;

    return script_command(script, 1, n, args, &command) &&
           routes_send(r, args[0], command.argc, command.argv, reply, arg);
}

void routes_load(struct routes *r, const struct script *script)
{
    if (r->only)
        script_load(script, r->only);
    for (size_t i = 0; i < ROUTES_MAX; i++)
        if (r->route[i])
            script_load(script, r->route[i]->redis);
}

/* ---- life ---- */

struct routes *routes_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                          struct redis *only, const struct routes_events *events)
{
    struct routes *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->base = base;
    r->conf = conf;
    r->url = *url;
    r->only = only;
    r->events = *events;
    memset(r->owner, CLUSTER_NOBODY, sizeof r->owner);
    return r;
}

void routes_close(struct routes *r)
{
    if (!r)
        return;
    memset(r->owner, CLUSTER_NOBODY, sizeof r->owner);
    for (size_t i = 0; i < ROUTES_MAX; i++) {
        struct route *route = r->route[i];

        r->route[i] = NULL;
        free_route(route);
    }
}

void routes_free(struct routes *r)
{
    routes_close(r);
    free(r);
}
