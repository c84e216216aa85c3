/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/shared.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/log.h"
#include "etagd/lua.h"
#include "etagd/shared_state.h"

#define CONNECT_MS 2000u
#define REPLY_MS 2000u
#define QUEUE_MAX 8192u
#define UNSENT_MAX 4096u

/* ---- connections ---- */

static void load_scripts(struct shared *s, struct redis *redis)
{
    s->script_ms = 0;
    script_load(&s->put, redis);
    script_load(&s->names, redis);
    script_load(&s->name, redis);
}

static void on_up(void *arg)
{
    struct shared *s = arg;

    s->error[0] = s->logged[0] = '\0';
    if (!s->is_cluster)
        load_scripts(s, s->data);
    shared_log_up(s);
}

static void on_route_up(void *arg, struct redis *redis)
{
    load_scripts(arg, redis);
}

static void on_moved(void *arg)
{
    struct shared *s = arg;

    witnesses_doubt(s->witnesses);
}

/* A replica that has become a master may lack what was stored last, capsules that we take for stored among it. */
static void on_map(void *arg, const struct cluster_map *map)
{
    struct shared *s = arg;

    fetches_capsules_lost(s->fetches);
    routes_map(s->routes, map);
}

static void on_down(void *arg, const char *why)
{
    struct shared *s = arg;

    shared_log_down(s);
    if (!s->moving && strcmp(why, s->error) != 0)
        log_warn("Redis: %s", why);
    if (!s->moving)
        snprintf(s->error, sizeof s->error, "%s", why);
    s->moving = false;
}

static void on_retry_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    shared_log_retry(arg);
}

static void on_marker_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shared *s = arg;

    (void)fd;
    (void)what;
    unsent_settle(s->unsent);
}

void shared_entered(struct shared *s)
{
    bool first = !s->entered;

    s->entered = true;
    fetches_capsules_lost(s->fetches);
    if (first || !redis_is_up(s->data))
        return;
    s->moving = true;
    redis_reconnect(s->data);
}

/* ---- life ---- */

static struct unsent *make_unsent(const struct conf *conf)
{
    char path[4096];

    return conf_state_file(conf, ".unsent", path, sizeof path) ? unsent_new(UNSENT_MAX, path) : NULL;
}

static void on_master(void *arg, const struct redis_address *at)
{
    struct shared *s = arg;

    s->moving = redis_is_up(s->data);
    redis_move(s->data, at);
    follower_move(s->follower, at);
}

static bool make_witnesses(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    struct witness_events events = {.master = on_master, .arg = s};
    struct cluster_map_events map = {.map = on_map, .arg = s};

    s->is_cluster = url->cluster;
    s->majority = (struct witness_wait){.majority = shared_log_majority, .arg = s};
    if (witnesses_named(url))
        s->witnesses = witnesses_new(base, s->conf, url, &events, &map);
    return !witnesses_named(url) || s->witnesses;
}

static bool make_routes(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    struct routes_events events = {.up = on_route_up, .moved = on_moved, .arg = s};

    s->routes = routes_new(base, s->conf, url, url->cluster ? NULL : s->data, &events);
    return s->routes != NULL;
}

static bool make_connection(struct shared *s, struct event_base *base, const struct redis_url *url)
{
    char name[128];
    struct redis_options options = {
        .url = url,
        .tls = s->conf->tls,
        .user = s->conf->redis_user,
        .password_file = s->conf->redis_password_file,
        .name = name,
        .master = s->witnesses != NULL,
        .connect_ms = CONNECT_MS,
        .reply_ms = REPLY_MS,
        .queue_max = QUEUE_MAX,
        .up = on_up,
        .down = on_down,
        .arg = s,
    };

    redis_connection_name(s->conf->node, "data", name, sizeof name);
    s->data = redis_new(base, &options);
    return s->data != NULL;
}

struct shared *shared_new(struct event_base *base, const struct conf *conf, struct hosts *hosts,
                          const struct shared_events *events, const char **why)
{
    struct shared *s = calloc(1, sizeof *s);
    struct redis_url url;

    *why = "out of memory";
    if (!s)
        return NULL;
    s->conf = conf;
    s->hosts = hosts;
    s->events = *events;
    snprintf(s->log_key, sizeof s->log_key, "{%s}:log", conf->key_prefix);
    snprintf(s->hosts_key, sizeof s->hosts_key, "{%s}:hosts", conf->key_prefix);
    if (!redis_url_parse(conf->redis, &url, why))
        goto fail;
    s->unsent = make_unsent(conf);
    if (!make_witnesses(s, base, &url))
        goto fail;
    s->follower = follower_new(base, conf, &url, s->witnesses, &events->log);
    s->fetches = fetches_new(conf->key_prefix, events->entry, events->log.arg);
    s->retry_timer = event_new(base, -1, 0, on_retry_timer, s);
    s->marker_timer = event_new(base, -1, 0, on_marker_timer, s);
    if (!s->unsent || !s->follower || !s->fetches || !s->retry_timer || !s->marker_timer ||
        !script_init(&s->put, lua_put) || !script_init(&s->names, lua_names) || !script_init(&s->name, lua_name) ||
        !make_connection(s, base, &url) || !make_routes(s, base, &url))
        goto fail;
    shared_log_recover(s);
    return s;
fail:
    shared_free(s);
    return NULL;
}

void shared_free(struct shared *s)
{
    if (!s)
        return;
    witnesses_free(s->witnesses);
    /* Who hears that a command is lost may send another: both must still be there. */
    routes_close(s->routes);
    redis_free(s->data);
    routes_free(s->routes);
    follower_free(s->follower);
    fetches_free(s->fetches);
    unsent_free(s->unsent);
    if (s->retry_timer)
        event_free(s->retry_timer);
    if (s->marker_timer)
        event_free(s->marker_timer);
    free(s);
}

const struct coherence *shared_coherence(const struct shared *s)
{
    return follower_coherence(s->follower);
}

void shared_renew(struct shared *s)
{
    follower_renew(s->follower);
}

void shared_stats(const struct shared *s, struct shared_stats *out)
{
    struct follower_stats follower;
    struct fetch_stats fetches;

    *out = s->stats;
    follower_stats(s->follower, &follower);
    fetches_stats(s->fetches, &fetches);
    out->gets = fetches.asked;
    out->gets_found = fetches.found;
    out->gets_failed = fetches.failed;
    out->fetching = fetches.in_flight;
    out->unsent = unsent_count(s->unsent);
    out->widened = unsent_widened(s->unsent);
    if (s->witnesses) {
        out->witnesses_name = witnesses_name(s->witnesses);
        witnesses_stats(s->witnesses, &out->witnesses);
    }
    out->connected = redis_is_up(s->data);
    out->state = follower.state;
    out->replicas = follower.replicas;
    out->renewals = follower.renewals;
    out->refusals = follower.refusals;
    snprintf(out->error, sizeof out->error, "%s",
             follower.error[0] ? follower.error
             : s->error[0]     ? s->error
             : s->witnesses    ? out->witnesses.error
                               : "");
}
