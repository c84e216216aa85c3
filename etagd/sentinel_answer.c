/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/sentinel_answer.h"

#include <string.h>

/* The value behind a name in a flat list of pairs; empty: there is none. */
static struct span value_of(const struct redis_reply *pairs, const char *name)
{
    for (size_t i = 0; i + 1 < redis_count(pairs); i += 2)
        if (span_eq(redis_text(redis_at(pairs, i)), span_str(name)))
            return redis_text(redis_at(pairs, i + 1));
    return span_of(NULL, 0);
}

static bool read_number(const struct redis_reply *pairs, const char *name, uint64_t max, uint64_t *out)
{
    struct span text = value_of(pairs, name);

    *out = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || *out > max / 10)
            return false;
        *out = *out * 10 + (uint64_t)(text.p[i] - '0');
    }
    return *out <= max;
}

static bool read_address(const struct redis_reply *pairs, struct redis_address *out)
{
    struct span host = value_of(pairs, "ip");
    uint64_t port;

    memset(out, 0, sizeof *out);
    if (host.n == 0 || host.n >= sizeof out->host || memchr(host.p, '\0', host.n) ||
        !read_number(pairs, "port", 65535, &port) || port == 0)
        return false;
    memcpy(out->host, host.p, host.n);
    out->port = (unsigned)port;
    return true;
}

bool sentinel_read_master(const struct redis_reply *reply, struct sentinel_answer *out)
{
    uint64_t others;

    if (!read_address(reply, &out->master) || !read_number(reply, "config-epoch", UINT64_MAX / 2, &out->config_epoch) ||
        !read_number(reply, "failover-timeout", UINT64_MAX / 2, &out->failover_ms) ||
        !read_number(reply, "num-other-sentinels", 10000, &others))
        return false;
    out->others = (unsigned)others;
    /* Anything more says that it is held for down, not heard of, or being replaced. */
    out->well = span_eq(value_of(reply, "flags"), SPAN_LITERAL("master"));
    return true;
}

static bool has_flag(struct span flags, struct span flag)
{
    for (size_t i = 0; i + flag.n <= flags.n; i++) {
        bool begins = i == 0 || flags.p[i - 1] == ',';

        if (begins && memcmp(flags.p + i, flag.p, flag.n) == 0 && (i + flag.n == flags.n || flags.p[i + flag.n] == ','))
            return true;
    }
    return false;
}

/* None that a failover passes over for these reasons (sentinelSelectSlave() of Redis); it passes over more. */
static bool may_confirm(const struct redis_reply *replica)
{
    static const struct span never[] = {{"s_down", 6}, {"o_down", 6}, {"disconnected", 12}};
    struct span flags = value_of(replica, "flags");

    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        if (has_flag(flags, never[i]))
            return false;
    return true;
}

static void add(struct sentinel_replicas *to, const struct redis_address *at)
{
    for (size_t i = 0; i < to->n; i++)
        if (witness_same_address(&to->at[i], at))
            return;
    if (to->n == REPLICAS_MAX)
        to->full = true;
    else
        to->at[to->n++] = *at;
}

void sentinel_add_replicas(struct sentinel_replicas *to, const struct sentinel_replicas *from)
{
    to->full |= from->full;
    for (size_t i = 0; i < from->n; i++)
        add(to, &from->at[i]);
}

bool sentinel_read_replicas(const struct redis_reply *reply, struct sentinel_answer *out)
{
    struct redis_address at;

    out->replicas.n = 0;
    out->replicas.full = false;
    if (redis_kind(reply) != REDIS_LIST)
        return false;
    for (size_t i = 0; i < redis_count(reply); i++) {
        if (!read_address(redis_at(reply, i), &at))
            return false;
        if (may_confirm(redis_at(reply, i)))
            add(&out->replicas, &at);
    }
    return true;
}

bool sentinel_read_vote(const struct redis_reply *reply, struct sentinel_answer *out)
{
    long long epoch = redis_number(redis_at(reply, 2));

    if (redis_count(reply) < 3 || redis_kind(redis_at(reply, 2)) != REDIS_NUMBER || epoch < 0)
        return false;
    out->vote_epoch = (uint64_t)epoch;
    return true;
}
