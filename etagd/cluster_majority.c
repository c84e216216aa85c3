/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/cluster_majority.h"

unsigned cluster_majority_known(const struct cluster_majority *m, uint64_t newest)
{
    unsigned known = 1;

    for (unsigned i = 0; i < CLUSTER_NODES_MAX; i++) {
        const struct cluster_opinion *one = &m->one[i];

        if (one->round && one->round + 1 >= newest && one->answer.voters > known)
            known = one->answer.voters;
    }
    return known;
}

static bool names(const struct cluster_opinion *one, uint64_t round, const struct cluster_node_id *master)
{
    const struct cluster_answer *a = &one->answer;

    return one->round && one->round >= round && a->votes && a->found && cluster_same_node(&a->master, master);
}

/* A node that is asked by two addresses counts once. */
static unsigned count_naming(const struct cluster_majority *m, uint64_t round, const struct cluster_node_id *master,
                             bool well)
{
    unsigned n = 0;

    for (unsigned i = 0, j; i < CLUSTER_NODES_MAX; i++) {
        const struct cluster_answer *a = &m->one[i].answer;

        if (!names(&m->one[i], round, master) || (well && !a->well))
            continue;
        for (j = 0; j < i; j++)
            if (names(&m->one[j], round, master) && cluster_same_node(&m->one[j].answer.self, &a->self))
                break;
        n += j == i;
    }
    return n;
}

unsigned cluster_majority_agreeing(const struct cluster_majority *m, uint64_t round)
{
    return m->found ? count_naming(m, round, &m->master, true) : 0;
}

/* ---- elections ---- */

/* It may have voted for a replica that it does not know to be a master yet. */
static bool may_have_voted(const struct cluster_opinion *one, uint64_t now_ms)
{
    return one->settled < one->epoch && now_ms - one->epoch_seen_ms <= CLUSTER_ELECTION_MS;
}

static bool has_come_out(const struct cluster_answer *a, uint64_t epoch)
{
    for (size_t i = 0; i < a->nepochs; i++)
        if (a->epochs[i] == epoch)
            return true;
    return false;
}

static void note_epoch(struct cluster_opinion *one, uint64_t now_ms)
{
    const struct cluster_answer *a = &one->answer;

    if (one->epoch == 0 && a->current_epoch > 0)
        one->settled = a->current_epoch - 1; /* what was before cannot be told any more: WAIT is about it, too */
    else if (!may_have_voted(one, now_ms))
        one->settled = one->epoch;
    if (a->current_epoch != one->epoch)
        one->epoch_seen_ms = now_ms;
    one->epoch = a->current_epoch;
    while (one->settled < one->epoch && has_come_out(a, one->settled + 1))
        one->settled++;
}

/* ---- replicas ---- */

static void add_replica(struct cluster_replicas *to, const struct cluster_node_id *id)
{
    for (size_t i = 0; i < to->n; i++)
        if (cluster_same_node(&to->at[i].id, id))
            return;
    if (to->n == CLUSTER_REPLICAS)
        to->full = true;
    else
        to->at[to->n++].id = *id;
}

static void add_replicas(struct cluster_replicas *to, const struct cluster_replicas *from, bool all)
{
    to->full |= from->full;
    for (size_t i = 0; i < from->n; i++)
        if (all || !from->at[i].failed)
            add_replica(to, &from->at[i].id);
}

bool cluster_majority_agrees(const struct cluster_majority *m, uint64_t round, uint64_t newest, uint64_t now_ms,
                             unsigned *replicas)
{
    struct cluster_replicas all = {.n = 0};
    unsigned known = cluster_majority_known(m, newest);

    for (unsigned i = 0; i < CLUSTER_NODES_MAX; i++)
        if (names(&m->one[i], round, &m->master))
            add_replicas(&all, &m->one[i].answer.replicas, may_have_voted(&m->one[i], now_ms));
    *replicas = (unsigned)all.n;
    return cluster_majority_agreeing(m, round) > known / 2 && known <= CLUSTER_MASTERS && !all.full;
}

/* ---- the master ---- */

static bool follow(struct cluster_majority *m, const struct cluster_answer *a)
{
    bool moved = m->at.port != a->at.port || strcmp(m->at.host, a->at.host) != 0;

    m->found = true;
    m->master = a->master;
    m->at = a->at;
    m->config_epoch = a->config_epoch;
    return moved;
}

/* A newer one counts at once: a slot's epoch only rises. An older one counts when most say so and nobody knows better
 * any more, which happens when a Cluster was set up anew or slots were given away by hand. */
static bool look_for_master(struct cluster_majority *m, const struct cluster_answer *a, uint64_t newest)
{
    uint64_t lately = newest ? newest - 1 : 0;

    if (!a->found || a->at.port == 0)
        return false;
    if (m->found && cluster_same_node(&a->master, &m->master))
        /* What a node takes for its own address counts only while nobody else tells. */
        return a->config_epoch >= m->config_epoch && !cluster_same_node(&a->self, &a->master) && follow(m, a);
    if (!m->found || a->config_epoch > m->config_epoch)
        return follow(m, a);
    return count_naming(m, lately, &a->master, false) > cluster_majority_known(m, newest) / 2 &&
           count_naming(m, lately, &m->master, false) == 0 && follow(m, a);
}

bool cluster_majority_told(struct cluster_majority *m, unsigned i, const struct cluster_answer *answer, uint64_t round,
                           uint64_t newest, uint64_t now_ms)
{
    struct cluster_opinion *one = &m->one[i];

    one->answer = *answer;
    one->round = round;
    note_epoch(one, now_ms);
    return look_for_master(m, &one->answer, newest);
}

void cluster_majority_forget(struct cluster_majority *m, unsigned i)
{
    memset(&m->one[i], 0, sizeof m->one[i]);
}
