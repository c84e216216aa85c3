/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many nodes in one process, as Redis sees them: etagd's own follower for each, with its tail and its lease, and a
 * third connection that is idle, as a node's is while its clients ask for what it knows. There is no table.
 *
 *   followers REDIS-URL COUNT NAME
 *
 * Says "ready" once all of them hold a lease. For each line that it reads then it says what happened since the last
 * one: "renewals N lapses N" (leases that ran out), and after it "microseconds:records" for each time that records
 * took, from the moment that whoever appended them wrote into their field x-sent (CLOCK_MONOTONIC, in nanoseconds).
 * Ends with its input.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/follower.h"
#include "etagd/log.h"

#define START_EVERY_US 1000 /* one node after the other: their renewals are spread over the time as well */
#define STEP_US 50u
#define STEPS 200000u /* ten seconds */

struct node {
    struct swarm *swarm;
    struct conf conf;
    struct follower *follower;
    struct redis *idle;
    uint64_t until_ms; /* of the newest lease; 0: none yet */
    uint64_t renewals; /* reported */
};

struct swarm {
    struct event_base *base;
    struct event *start_timer;
    struct redis_url url;
    struct node *nodes;
    size_t n, started, leased; /* leased: at least once */
    uint64_t lapses;
    uint32_t took[STEPS]; /* records by how long they took, in steps */
};

/* ---- what a node hears ---- */

static void on_entered(void *arg, struct log_id position)
{
    (void)arg;
    (void)position;
}

static void on_record(void *arg, struct log_id id, const struct span *fields, size_t n)
{
    struct node *node = arg;
    uint64_t now = clock_ns(CLOCK_MONOTONIC), sent, step;

    (void)id;
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (!span_eq(fields[i], SPAN_LITERAL("x-sent")) || !log_number_parse(fields[i + 1], &sent))
            continue;
        step = (now - sent) / 1000 / STEP_US;
        node->swarm->took[step < STEPS ? step : STEPS - 1]++;
    }
}

/* A lease that ran out is told by nobody before the next one. */
static void on_lease(void *arg, uint64_t until_ms)
{
    struct node *node = arg;
    struct swarm *s = node->swarm;

    if (node->until_ms)
        s->lapses += until_ms == 0 || clock_boot_ms() > node->until_ms;
    else if (until_ms && ++s->leased == s->n) {
        puts("ready");
        fflush(stdout);
    }
    if (until_ms)
        node->until_ms = until_ms;
}

/* ---- a node ---- */

static void nothing(void *arg)
{
    (void)arg;
}

static void on_idle_down(void *arg, const char *why)
{
    (void)arg;
    log_warn("idle connection: %s", why);
}

static void start_node(struct swarm *s, struct node *node)
{
    struct coherence_events events = {
        .entered = on_entered, .missed = on_entered, .record = on_record, .lease = on_lease, .arg = node};
    struct redis_options options = {.url = &s->url,
                                    .name = node->conf.node,
                                    .connect_ms = 2000,
                                    .reply_ms = 2000,
                                    .queue_max = 16,
                                    .up = nothing,
                                    .down = on_idle_down};

    node->follower = follower_new(s->base, &node->conf, &s->url, NULL, &events);
    node->idle = redis_new(s->base, &options);
    if (!node->follower || !node->idle) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    follower_start(node->follower);
}

static void on_start_timer(evutil_socket_t fd, short what, void *arg)
{
    struct swarm *s = arg;

    (void)fd;
    (void)what;
    start_node(s, &s->nodes[s->started++]);
    if (s->started == s->n)
        event_del(s->start_timer);
}

/* ---- reports ---- */

static uint64_t renewals(struct swarm *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->started; i++) {
        struct follower_stats stats;

        follower_stats(s->nodes[i].follower, &stats);
        sum += stats.renewals - s->nodes[i].renewals;
        s->nodes[i].renewals = stats.renewals;
    }
    return sum;
}

static void report(struct swarm *s)
{
    printf("renewals %" PRIu64 " lapses %" PRIu64, renewals(s), s->lapses);
    for (uint32_t i = 0; i < STEPS; i++)
        if (s->took[i])
            printf(" %u:%u", i * STEP_US, s->took[i]);
    putchar('\n');
    fflush(stdout);
    memset(s->took, 0, sizeof s->took);
    s->lapses = 0;
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
    struct swarm *s = arg;
    char line[64];

    (void)what;
    if (read(fd, line, sizeof line) > 0)
        report(s);
    else
        event_base_loopbreak(s->base);
}

/* ---- life ---- */

static void raise_limit(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void fail(const char *why)
{
    fprintf(stderr, "followers: %s\n", why);
    exit(2);
}

static void make_nodes(struct swarm *s, const char *name)
{
    struct conf_error error;
    const struct conf *conf = conf_new(&error);

    s->nodes = calloc(s->n, sizeof *s->nodes);
    if (!conf || !s->nodes)
        fail("out of memory");
    for (size_t i = 0; i < s->n; i++) {
        char own[64];

        snprintf(own, sizeof own, "%s-%zu", name, i);
        s->nodes[i] = (struct node){.swarm = s, .conf = *conf};
        s->nodes[i].conf.node = strdup(own);
    }
}

int main(int argc, char **argv)
{
    static struct swarm s;
    const struct timeval every = {0, START_EVERY_US};
    const char *why;
    struct event *input;

    if (argc != 4 || (s.n = strtoul(argv[2], NULL, 10)) == 0)
        fail("usage: followers REDIS-URL COUNT NAME");
    if (!redis_url_parse(argv[1], &s.url, &why))
        fail(why);
    log_open(NULL, LOG_LEVEL_WARN);
    raise_limit();
    make_nodes(&s, argv[3]);
    s.base = event_base_new();
    s.start_timer = s.base ? event_new(s.base, -1, EV_PERSIST, on_start_timer, &s) : NULL;
    input = s.base ? event_new(s.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &s) : NULL;
    if (!s.start_timer || !input || event_add(input, NULL) != 0 || event_add(s.start_timer, &every) != 0)
        fail("out of memory");
    event_base_dispatch(s.base);
    return 0;
}
