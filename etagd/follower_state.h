/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of follower.c (the tail, life) and follower_lease.c (renewals, what people are told). */
#ifndef ETAGD_FOLLOWER_STATE_H
#define ETAGD_FOLLOWER_STATE_H

#include "etagd/follower.h"
#include "etagd/script.h"

struct event;

struct follower {
    const struct conf *conf;
    struct event_base *base;
    struct redis_url url;
    struct coherence *coherence;
    char epoch_key[160], log_key[160], nodes_key[160];

    struct redis *lease;
    struct script renew;
    struct event *renew_timer;
    struct witnesses *witnesses; /* NULL: none */
    bool asking; /* whether a majority of them agrees */
    struct witness_wait majority;
    bool renewing, renew_again;
    uint64_t renew_t0;
    unsigned wanted, confirmed; /* replicas, for the renewal on its way */
    bool waiting; /* for their confirmation */
    bool answered; /* by renewal and why */
    struct coherence_renewal renewal;
    char why[64];

    struct redis *tail;
    struct event *pace_timer; /* the next read */
    struct event *recheck_timer; /* the next look at the epoch */
    bool reading, restarting;
    struct coherence_mark mark; /* of the read in flight */
    uint64_t second_ms, second_records;

    bool held; /* as last logged */
    uint64_t logged_ms;
    char logged[256];
    uint64_t renewals, refusals;
    char error[256];
};

/* Something went wrong; told once per outage. */
void follower_error(struct follower *f, const char *what, const char *why);
void follower_fault(struct follower *f, const char *what, const struct redis_reply *reply);

/* One line when the lease was given or has ended. */
void follower_report(struct follower *f);

/* Callbacks of the lease's connection, of the witnesses and of the timer. */
void follower_lease_up(void *arg);
void follower_lease_down(void *arg, const char *why);
void follower_majority(void *arg, unsigned replicas);
void follower_lease_timer(int fd, short what, void *arg);

/* Another epoch: the tail starts again. */
void follower_restart_tail(struct follower *f);

#endif
