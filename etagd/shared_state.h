/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of shared.c (connections), shared_entry.c, shared_name.c and shared_log.c (what this node writes into the
 * log). */
#ifndef ETAGD_SHARED_STATE_H
#define ETAGD_SHARED_STATE_H

#include "etagd/conf.h"
#include "etagd/fetch.h"
#include "etagd/follower.h"
#include "etagd/routes.h"
#include "etagd/script.h"
#include "etagd/shared.h"
#include "etagd/unsent.h"
#include "etagd/witnesses.h"

struct event;

#define UNCONFIRMED_MAX 1024u /* records sent and not acknowledged; more wait */

struct shared {
    const struct conf *conf;
    struct hosts *hosts;
    struct shared_events events;
    struct witnesses *witnesses; /* NULL: the URL names a server */
    bool is_cluster;
    struct follower *follower;
    struct redis *data; /* to the server that has the log */
    struct routes *routes; /* to those that have the entries */
    struct fetches *fetches;
    struct script put, names, name;
    char log_key[160], hosts_key[160];
    bool entered; /* an epoch was known before */
    bool moving; /* the connection is being made anew on purpose */

    struct unsent *unsent;
    size_t appending; /* records in flight */
    struct log_id answered[UNCONFIRMED_MAX]; /* ids of those that are in the log, but perhaps not on all replicas */
    size_t nanswered;
    size_t asked, confirming; /* how many of them the witnesses are asked for, the WAIT in flight is about; 0: none */
    struct witness_wait majority;
    unsigned replicas; /* that must confirm them */
    bool append_failed; /* one of them was refused: all are sent again, in order */
    uint64_t restart; /* serial that must be in the log before the first lease, 0: none */
    struct event *retry_timer, *marker_timer;

    bool hosts_known, hosts_reading, hosts_again;
    size_t announcing; /* aliases being written */
    bool announced; /* one of them was */
    uint64_t announced_ms;
    uint64_t script_ms; /* last time the scripts were loaded */
    char error[256], logged[256];
    uint64_t logged_ms;
    struct shared_stats stats;
};

/* A command was refused: tells why, the same once, another not at once. key: what a WRONGTYPE is about. */
void shared_report(struct shared *s, const struct redis_reply *reply, const char *key);

/* The connection has come up; it is lost; a while has gone by after a refusal. */
void shared_log_up(struct shared *s);
void shared_log_down(struct shared *s);
void shared_log_retry(struct shared *s);

/* A majority of the witnesses has agreed since it was asked for. */
void shared_log_majority(void *arg, unsigned replicas);

/* What a former etagd may have kept back goes first. */
void shared_log_recover(struct shared *s);

/* Whether a script was carried out. If not it has been seen to. */
bool shared_is_answer(struct shared *s, const struct redis_reply *reply);

/* Whether this entry may be sent now; counted when not. */
bool shared_has_room(struct shared *s, struct span key);

/* The key in Redis; 0: too long. */
size_t shared_entry_key(const struct shared *s, struct span key, char *out, size_t size);

#endif
