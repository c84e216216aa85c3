/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's side towards Redis: entries, capsules, names of hosts, and our own invalidations on their
 * way into the log. Nothing here decides what is valid; what is read is handed up as it is found. Event-
 * loop thread only.
 */
#ifndef ETAGD_SHARED_H
#define ETAGD_SHARED_H

#include "etagd/coherence.h"
#include "etagd/entry_text.h"
#include "etagd/hosts.h"
#include "etagd/witness.h"

struct event_base;
struct conf;
struct shared;

struct shared_events {
    struct coherence_events log; /* its arg is passed to all of them */
    /* An entry was read under this key; capsule holds its bytes. True when the table holds it now. */
    bool (*entry)(void *arg, struct span key, const struct entry_text *text, struct span capsule, uint64_t ttl_ms);
    /* Another tag, or a mark of conflict, stands or stood under the key of an entry that was just put there, with
     * this much of its life left. False: it cannot be believed here. */
    bool (*met)(void *arg, struct span key, const struct entry_text *text, uint64_t ttl_ms);
    /* Names of hosts were read. */
    void (*hosts)(void *arg);
    /* An invalidation of ours, and all before it, has the id it was waiting for. */
    void (*appended)(void *arg, uint64_t serial, struct log_id id, const struct span *fields, size_t n);
};

struct shared_stats {
    uint64_t puts, puts_newer, puts_replaced, puts_conflict, puts_dropped, gets, gets_found, gets_failed, appended,
        widened;
    size_t unsent, fetching;
    bool connected;
    const char *witnesses_name; /* NULL: none are asked */
    struct witness_stats witnesses;
    /* the lease's */
    const char *state;
    unsigned replicas; /* that must confirm a renewal */
    uint64_t renewals, refusals;
    char error[320];
};

/* NULL and *why. conf, hosts and what events point to outlive it. */
struct shared *shared_new(struct event_base *base, const struct conf *conf, struct hosts *hosts,
                          const struct shared_events *events, const char **why);
void shared_free(struct shared *s);

const struct coherence *shared_coherence(const struct shared *s);

/* Stores an entry under "key#variant" with its capsule. The text's epoch and capsule id are filled in
 * here. A mark of conflict as of marks_since or newer that stands there is left. Nothing is waited for; what
 * cannot be sent is counted and forgotten. */
void shared_put(struct shared *s, struct span key, struct entry_text *text, struct span capsule,
                struct log_id marks_since, uint64_t ttl_ms);

/* Stores a mark of conflict. announce: tells all nodes in the log once it stands; one that does not come to
 * stand becomes an invalidation of the URL instead. */
void shared_put_conflict(struct shared *s, struct span key, struct entry_text *text, bool announce, uint64_t ttl_ms);

/* Invalidates the URL of a key because of a conflict that cannot be marked. */
void shared_forget_url(struct shared *s, struct span key);

/* Adds names to those of a plain key; what stands there afterwards arrives as an entry, and all nodes hear of it where
 * it is more than what others could know. */
void shared_names(struct shared *s, struct span key, struct log_id as_of, struct span names, struct log_id valid_since,
                  uint64_t ttl_ms);

/* A name: what lies in the store after shared_name. */
struct shared_name {
    struct span value; /* the text, empty: none */
    uint64_t ttl_ms; /* left; 0: none */
    uint64_t now_ms; /* the server's clock */
    bool mine; /* it is what the caller stored */
};

/* Puts an entry in the place of exactly the value that was judged (empty: of none); text NULL: only looks. The
 * text's epoch is filled in here. done is called once, later, with NULL when nothing was learned. False: it
 * could not be sent, done is not called. */
bool shared_name(struct shared *s, struct span key, struct span judged, struct entry_text *text, uint64_t ttl_ms,
                 void (*done)(void *arg, const struct shared_name *there), void *arg);

/* Asks for a key. done exactly once, perhaps at once, unless shared_forget came first. */
void shared_fetch(struct shared *s, struct span key, void (*done)(void *arg, bool known), void *arg);
void shared_forget(struct shared *s, void *arg);

/* Appends a record, now or as soon as it can be. Returns its serial. Never refuses: short of room or
 * memory it widens what waits. */
uint64_t shared_append(struct shared *s, const struct span *fields, size_t n);

/* The hash of hosts changed somewhere, or hosts were announced here. */
void shared_hosts_changed(struct shared *s);

/* A new epoch was entered, perhaps on another server behind the same name: the connection is made anew. */
void shared_entered(struct shared *s);

/* A record said that a new epoch began: ask at once. */
void shared_renew(struct shared *s);

void shared_stats(const struct shared *s, struct shared_stats *out);

#endif
