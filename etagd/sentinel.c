/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/sentinel.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/log.h"
#include "etagd/sentinel_majority.h"

#define CONNECT_MS 2000u

struct sentinel {
    struct sentinels *all;
    struct redis_address at;
    struct redis *ask, *listen;
    bool asking, again; /* replies are awaited; it is to be asked once more then */
    bool complete; /* of those so far */
    bool told; /* one line per outage */
    uint64_t asked_round;
    struct sentinel_answer coming;
};

struct sentinels {
    const struct conf *conf;
    struct witness_events events;
    struct event *timer;
    char master_name[128];
    struct sentinel_majority said;

    uint64_t round, asked_ms; /* the newest */
    unsigned replicas; /* of the last majority */
    struct witness_wait *waiting;

    char error[320];
    struct sentinel one[REDIS_SEEDS];
};

static void remember_error(struct sentinel *one, const char *why)
{
    char where[REDIS_HOST + 16];

    witness_address(&one->at, where, sizeof where);
    snprintf(one->all->error, sizeof one->all->error, "Sentinel %.100s: %.200s", where, why);
    if (!one->told)
        log_warn("%s", one->all->error);
    one->told = true;
}

/* ---- what they say together ---- */

static void ask_all(struct sentinels *s);

static void follow(struct sentinels *s)
{
    char where[REDIS_HOST + 16];

    witness_address(&s->said.master, where, sizeof where);
    log_info("the master of %s is %s", s->master_name, where);
    s->events.master(s->events.arg, &s->said.master);
    ask_all(s); /* votes were asked about the one before */
}

static void consider(struct sentinels *s)
{
    uint64_t round = s->round; /* who is called may ask again, which is a later one */
    struct witness_wait *w;
    unsigned replicas;

    if (!sentinel_majority_agrees(&s->said, round, clock_boot_ms(), &replicas))
        return;
    s->replicas = replicas;
    s->error[0] = '\0';
    while ((w = witness_wait_take(&s->waiting, round)))
        w->majority(w->arg, replicas);
}

/* ---- one Sentinel ---- */

static void ask(struct sentinel *one);

static void on_answered(struct sentinel *one)
{
    struct sentinels *s = one->all;

    one->asking = false;
    if (one->complete) {
        one->told = false;
        if (sentinel_majority_told(&s->said, (unsigned)(one - s->one), &one->coming, one->asked_round, s->round,
                                   clock_boot_ms()))
            follow(s);
        consider(s);
    }
    if (one->again)
        ask(one);
}

static void on_fault(struct sentinel *one, const struct redis_reply *reply)
{
    char why[256];

    one->complete = false;
    if (redis_kind(reply) == REDIS_LOST)
        return;
    if (redis_is_fault(reply, "ERR No such master"))
        snprintf(why, sizeof why, "it knows no master \"%s\": check the name in the Redis URL", one->all->master_name);
    else if (redis_kind(reply) == REDIS_FAULT)
        redis_explain(redis_text(reply), NULL, why, sizeof why);
    else
        snprintf(why, sizeof why, "its answer makes no sense: is it a Sentinel of Redis 6.2 or newer?");
    remember_error(one, why);
}

static void on_master(void *arg, const struct redis_reply *reply)
{
    struct sentinel *one = arg;

    if (!sentinel_read_master(reply, &one->coming))
        on_fault(one, reply);
}

static void on_replicas(void *arg, const struct redis_reply *reply)
{
    struct sentinel *one = arg;

    if (one->complete && !sentinel_read_replicas(reply, &one->coming))
        on_fault(one, reply);
}

/* The last of the three. */
static void on_vote(void *arg, const struct redis_reply *reply)
{
    struct sentinel *one = arg;

    if (one->complete && !sentinel_read_vote(reply, &one->coming))
        on_fault(one, reply);
    on_answered(one);
}

/* Asked with the epoch 0, for which no vote is given, a Sentinel tells its last vote. */
static void ask(struct sentinel *one)
{
    struct sentinels *s = one->all;
    struct span name = span_str(s->master_name);
    bool known = s->said.master.host[0] != '\0';
    char port[8];

    one->again = one->asking;
    if (one->asking || !redis_is_up(one->ask))
        return;
    snprintf(port, sizeof port, "%u", known ? s->said.master.port : 1);
    struct span master[] = {SPAN_LITERAL("SENTINEL"), SPAN_LITERAL("MASTER"), name};
    struct span replicas[] = {SPAN_LITERAL("SENTINEL"), SPAN_LITERAL("REPLICAS"), name};
    struct span vote[] = {SPAN_LITERAL("SENTINEL"),
                          SPAN_LITERAL("IS-MASTER-DOWN-BY-ADDR"),
                          known ? span_str(s->said.master.host) : SPAN_LITERAL("127.0.0.1"),
                          span_str(port),
                          SPAN_LITERAL("0"),
                          SPAN_LITERAL("etagd")};

    one->asked_round = s->round;
    one->complete =
        redis_send(one->ask, 3, master, on_master, one) && redis_send(one->ask, 3, replicas, on_replicas, one);
    one->asking = redis_send(one->ask, 6, vote, on_vote, one);
}

static void ask_all(struct sentinels *s)
{
    s->round++;
    s->asked_ms = clock_boot_ms();
    for (unsigned i = 0; i < s->said.n; i++)
        ask(&s->one[i]);
}

static void on_ask_up(void *arg)
{
    ask(arg);
}

static void on_ask_down(void *arg, const char *why)
{
    struct sentinel *one = arg;

    one->asking = one->again = false;
    remember_error(one, why);
}

/* ---- +switch-master ---- */

static void on_listen_up(void *arg)
{
    struct sentinel *one = arg;
    struct span subscribe[] = {SPAN_LITERAL("SUBSCRIBE"), SPAN_LITERAL("+switch-master")};

    redis_send(one->listen, 2, subscribe, NULL, NULL);
}

/* Whatever it says: what counts is what they answer now. */
static void on_message(void *arg, const struct redis_reply *message)
{
    struct sentinel *one = arg;

    (void)message;
    ask_all(one->all);
}

static void on_listen_down(void *arg, const char *why)
{
    (void)arg;
    (void)why; /* the other connection tells */
}

/* ---- life ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct sentinels *s = arg;
    uint64_t period = s->conf->lease_ms / 5, since;

    (void)fd;
    (void)what;
    since = clock_boot_ms() - s->asked_ms;
    /* Who waits for a majority asks again by himself; a slow round is given time. */
    if (since >= (s->waiting ? s->conf->lease_ms / 2 : period / 2))
        ask_all(s);
}

static bool make_connections(struct sentinel *one, struct event_base *base, bool tls)
{
    const struct conf *conf = one->all->conf;
    struct redis_url url = {.at = one->at, .tls = tls};
    char name[160];
    struct redis_options options = {
        .url = &url,
        .tls = conf->tls,
        .user = conf->sentinel_user,
        .password_file = conf->sentinel_password_file,
        .name = name,
        .connect_ms = CONNECT_MS,
        .reply_ms = (unsigned)conf->lease_ms,
        .queue_max = 8,
        .up = on_ask_up,
        .down = on_ask_down,
        .arg = one,
    };

    redis_connection_name(conf->node, "sentinel", name, sizeof name);
    one->ask = redis_new(base, &options);
    options.up = on_listen_up;
    options.down = on_listen_down;
    options.message = on_message;
    one->listen = redis_new(base, &options);
    return one->ask && one->listen;
}

struct sentinels *sentinels_new(struct event_base *base, const struct conf *conf, const struct redis_url *url,
                                const struct witness_events *events)
{
    struct sentinels *s = calloc(1, sizeof *s);
    uint64_t period = conf->lease_ms / 5;
    struct timeval every = {(time_t)(period / 1000), (suseconds_t)(period % 1000 * 1000)};

    if (!s)
        return NULL;
    s->conf = conf;
    s->events = *events;
    snprintf(s->master_name, sizeof s->master_name, "%s", url->master);
    s->timer = event_new(base, -1, EV_PERSIST, on_timer, s);
    for (unsigned i = 0; i < url->nseeds; i++) {
        struct sentinel *one = &s->one[s->said.n++];

        *one = (struct sentinel){.all = s, .at = url->seeds[i]};
        if (!make_connections(one, base, url->tls))
            goto fail;
    }
    if (s->timer && event_add(s->timer, &every) == 0)
        return s;
fail:
    sentinels_free(s);
    return NULL;
}

void sentinels_free(struct sentinels *s)
{
    if (!s)
        return;
    s->waiting = NULL;
    for (unsigned i = 0; i < s->said.n; i++) {
        redis_free(s->one[i].ask);
        redis_free(s->one[i].listen);
    }
    if (s->timer)
        event_free(s->timer);
    free(s);
}

void sentinels_ask(struct sentinels *s, struct witness_wait *wait)
{
    ask_all(s);
    witness_wait_add(&s->waiting, wait, s->round);
}

void sentinels_stats(const struct sentinels *s, struct witness_stats *out)
{
    out->known = sentinel_majority_known(&s->said);
    out->agreeing = sentinel_majority_agreeing(&s->said, s->round ? s->round - 1 : 0,
                                               clock_boot_ms()); /* the newest round may be on its way */
    out->replicas = s->replicas;
    out->master = s->said.master;
    memcpy(out->error, s->error, sizeof out->error);
}
