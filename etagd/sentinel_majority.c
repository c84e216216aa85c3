/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/sentinel_majority.h"

unsigned sentinel_majority_known(const struct sentinel_majority *m)
{
    unsigned known = m->n;

    for (unsigned i = 0; i < m->n; i++)
        if (m->one[i].answer.others + 1 > known)
            known = m->one[i].answer.others + 1;
    return known;
}

/* A vote given at a time that we do not know, but saw no later than vote_seen_ms. Its failover is given up
 * failover-timeout after the election at the latest; the leader's may be another one than this Sentinel's, hence
 * twice. A leader that was stopped in between and promotes later still is met by WAIT. */
static bool may_have_voted(const struct sentinel_opinion *one, uint64_t now_ms)
{
    return one->vote_epoch && now_ms - one->vote_seen_ms <= 2 * one->answer.failover_ms + SENTINEL_ELECTION_MS;
}

static bool agrees(const struct sentinel_majority *m, const struct sentinel_opinion *one, uint64_t round,
                   uint64_t now_ms)
{
    return one->round >= round && one->answer.well && witness_same_address(&one->answer.master, &m->master) &&
           !may_have_voted(one, now_ms);
}

unsigned sentinel_majority_agreeing(const struct sentinel_majority *m, uint64_t round, uint64_t now_ms)
{
    unsigned agreeing = 0;

    for (unsigned i = 0; i < m->n; i++)
        agreeing += agrees(m, &m->one[i], round, now_ms);
    return agreeing;
}

bool sentinel_majority_agrees(const struct sentinel_majority *m, uint64_t round, uint64_t now_ms, unsigned *replicas)
{
    struct sentinel_replicas all = {.n = 0};

    for (unsigned i = 0; i < m->n; i++)
        if (agrees(m, &m->one[i], round, now_ms))
            sentinel_add_replicas(&all, &m->one[i].answer.replicas);
    *replicas = (unsigned)all.n;
    return sentinel_majority_agreeing(m, round, now_ms) > sentinel_majority_known(m) / 2 && !all.full;
}

static bool follow(struct sentinel_majority *m, const struct sentinel_answer *answer)
{
    m->epoch = answer->config_epoch;
    if (witness_same_address(&m->master, &answer->master))
        return false;
    m->master = answer->master;
    return true;
}

static bool is_fresh(const struct sentinel_opinion *one, uint64_t newest)
{
    return one->round && one->round + 1 >= newest;
}

/* A newer failover counts at once: who made it has a majority behind it. What says less than is known counts when
 * most say so and nobody knows better any more, which happens when all Sentinels were set up anew. */
static bool look_for_master(struct sentinel_majority *m, const struct sentinel_answer *said, uint64_t newest)
{
    unsigned same = 0;

    /* Who leads a failover tells its epoch together with the old master's address until it is over. */
    if (m->master.host[0] && !said->well)
        return false;
    if (m->master.host[0] == '\0' || said->config_epoch > m->epoch)
        return follow(m, said);
    for (unsigned i = 0; i < m->n; i++) {
        const struct sentinel_answer *answer = &m->one[i].answer;

        if (!is_fresh(&m->one[i], newest) || !answer->well)
            continue;
        if (answer->config_epoch == m->epoch && witness_same_address(&answer->master, &m->master))
            return false;
        same += witness_same_address(&answer->master, &said->master);
    }
    return same > sentinel_majority_known(m) / 2 && follow(m, said);
}

bool sentinel_majority_told(struct sentinel_majority *m, unsigned i, const struct sentinel_answer *answer,
                            uint64_t round, uint64_t newest, uint64_t now_ms)
{
    struct sentinel_opinion *one = &m->one[i];
    uint64_t vote = answer->vote_epoch > answer->config_epoch ? answer->vote_epoch : 0;

    one->answer = *answer;
    one->round = round;
    if (vote != one->vote_epoch)
        one->vote_seen_ms = now_ms;
    one->vote_epoch = vote;
    return look_for_master(m, &one->answer, newest);
}
