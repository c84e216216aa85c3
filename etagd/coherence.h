/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When this node may believe its table. This header is the protocol's specification; it holds the state
 * and decides, follower.c talks to Redis and reports here.
 *
 * Keys ({prefix} is KeyPrefix, "etag" by default; the braces keep them in one slot of a cluster):
 *   {etag}:log    stream: XADD {etag}:log '*' <op> <arg> [<op> <arg>...]; operations: etagd/lib/scope.h
 *   {etag}:epoch  hash, written by renew.lua only
 *   {etag}:nodes  hash: node -> "<applied id> <epoch> <server's ms> <remark>", the nodes that renew
 *
 * The log is the only truth. An *epoch* (a random id) names an unbroken history of it; renew.lua opens a
 * new one whenever a record may have been lost, and everything learned before is void. A node *applies*
 * the records in order and counts them. Its *lease* says until when its table may be believed:
 *
 *   1. t0 = CLOCK_BOOTTIME, then the renewal is sent. Its answer is (epoch, last id, records ever added).
 *   2. An epoch that we once left came back (a restored snapshot, SWAPDB): no lease; the next renewal
 *      asks for a new one. An epoch is never entered twice.
 *   3. Another epoch: the lease ends, everything is flushed, the position is the epoch's first record,
 *      and the tail starts again from there.
 *   4. The lease becomes t0 + LEASE once the log is applied up to that last id and as many records were
 *      counted up to it as were ever added. Fewer: records were removed before we saw them; everything
 *      up to them is void (the *floor* rises, all is flushed), then the lease. More: the log was
 *      made anew; a new epoch is asked for.
 *   5. A read of the log that was sent after an answer and found nothing, although that answer's last id
 *      was not applied yet: those records are gone; the floor rises to that last id.
 *
 * So staleness after an acknowledged invalidation is bounded by LEASE whatever breaks, counted from
 * before the send, on one clock of one machine. A late answer shortens the lease, none lets it run out.
 *
 * Replicas: a renewal is reported here only after a majority of the Sentinels, or of the masters of a Cluster, asked
 * after t0, has agreed about the master of the log, and as many replicas have confirmed it (WAIT) as they show
 * (etagd/sentinel.h, etagd/cluster.h; where nobody is asked, WaitReplicas says how many). Nobody was promoted before t0
 * then, so nothing can have been appended elsewhere before t0, and the bound above holds on an isolated master too. A
 * promotion changes the replication history, hence the epoch, and so does a slot's move to another master: records that
 * the new master never saw are covered by it, on every node. What is appended to an isolated master after another one
 * was promoted is not: who invalidates must see as many replicas confirm it (WAIT), as etagd does with its own. With
 * replicas that nobody waits for (WaitReplicas 0, redis://), do not promote one while the old master can still be
 * reached.
 *
 * Event-loop thread only.
 */
#ifndef ETAGD_COHERENCE_H
#define ETAGD_COHERENCE_H

#include "etagd/log_id.h"

struct coherence;

#define COHERENCE_EPOCH 64 /* longest epoch */

/* An answer of renew.lua. */
struct coherence_renewal {
    char epoch[COHERENCE_EPOCH + 1];
    struct log_id born; /* the epoch's first record */
    uint64_t born_added; /* records ever added to the log, it included */
    struct log_id last; /* newest record ever */
    uint64_t added; /* records ever added */
    struct log_id first; /* oldest record kept; 0-0: none */
    struct log_id deleted; /* greatest id ever deleted by name */
};

struct coherence_events {
    /* Another epoch: whatever was learned or is stored is void. The lease has ended before. */
    void (*entered)(void *arg, struct log_id position);
    /* Records up to coherence_floor() were missed: what the table holds is void, and so is whatever is
     * stored from before the floor; what the records seen since named stays known. The lease has ended
     * before. */
    void (*missed)(void *arg, struct log_id position);
    /* The next record; the position is its id when this has returned. */
    void (*record)(void *arg, struct log_id id, const struct span *fields, size_t n);
    void (*lease)(void *arg, uint64_t until_ms); /* CLOCK_BOOTTIME; 0: ended */
    void *arg;
};

/* NULL: out of memory. */
struct coherence *coherence_new(uint64_t lease_ms, const struct coherence_events *events);
void coherence_free(struct coherence *c);

/* What the next renewal must say: the epoch known, and whether it must end. */
void coherence_ask(const struct coherence *c, struct span *known, bool *end);

enum coherence_verdict {
    COHERENCE_PENDING, /* the lease comes with the records still missing */
    COHERENCE_LEASED,
    COHERENCE_RESTART, /* another epoch: the tail must start again at coherence_position() */
    COHERENCE_REFUSED /* history came back or was made anew: renew again, see coherence_ask */
};

enum coherence_verdict coherence_renewed(struct coherence *c, uint64_t t0_ms, const struct coherence_renewal *r);

/* Changes with every epoch: what was asked of the log under another one is answered in vain. */
uint64_t coherence_generation(const struct coherence *c);

/* A record read under this generation; ids must rise. True when it gave a lease. */
bool coherence_record(struct coherence *c, uint64_t generation, struct log_id id, const struct span *fields, size_t n);

/* Taken when a read of the log is sent, given back when it found nothing (rule 5). */
struct coherence_mark {
    uint64_t generation;
    bool behind;
    struct log_id last;
    uint64_t added;
};
void coherence_mark(const struct coherence *c, struct coherence_mark *mark);
bool coherence_nothing(struct coherence *c, const struct coherence_mark *mark);

const char *coherence_epoch(const struct coherence *c); /* "": none yet */
struct log_id coherence_position(const struct coherence *c);
struct log_id coherence_floor(const struct coherence *c);
uint64_t coherence_lease(const struct coherence *c); /* CLOCK_BOOTTIME in ms; 0: none */
uint64_t coherence_count(const struct coherence *c); /* records ever added, up to the position */
uint64_t coherence_floors(const struct coherence *c); /* times the floor has risen */

#endif
