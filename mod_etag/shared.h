/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that all children of this httpd share and that outlives a graceful restart: what is known of
 * etagd's state, so that a change is logged once and not by every child, the invalidations that
 * could not be handed over, so that a child's death does not lose them (that there are such is also noted
 * on disk, pending_file.h, and a new httpd that finds the note forgets everything), and what DetectionOnly counts.
 * Any thread of any child.
 */
#ifndef MOD_ETAG_SHARED_H
#define MOD_ETAG_SHARED_H

#include <httpd.h>

#include "etagd/lib/detection.h"
#include "etagd/lib/span.h"

/* post_config, in the parent: makes the memory, or finds that of the generation before. */
apr_status_t shared_create(apr_pool_t *p, server_rec *s);

/* --- what is known of etagd --- */

enum shared_state { SHARED_UNKNOWN, SHARED_ATTACHED, SHARED_LOST, SHARED_REFUSED };

/* True when this is a change, and the caller is the one to log it. */
bool shared_change_state(enum shared_state to);
enum shared_state shared_state_now(void);

/* Grows when some child finds a connection dead: etagd may have been restarted, and then tables mapped
 * before are no longer the ones that invalidations reach. A table is used only while the number is what
 * it was when the table was attached. */
uint32_t shared_doubt(void);
/* Called with the number from when the dead connection was made: many dead connections count once. */
void shared_raise_doubt(uint32_t made_at);
/* A child attached a table of this generation, having begun at this number: another generation than the one
 * met before puts all tables in doubt but this one. Returns the number that this one is good for. */
uint32_t shared_meet_generation(uint64_t generation, uint32_t begun_at);

/* True when this caller shall announce the virtual hosts to the etagd of this table generation. */
bool shared_claim_announcement(uint64_t generation);
bool shared_announced(uint64_t generation);
void shared_announcement_failed(void);

/* --- invalidations that wait --- */

#define SHARED_HOSTS 64
#define SHARED_HOST_SIZE 264 /* a name, a port, and a NUL */

struct shared_pending {
    bool all;
    size_t n;
    char host[SHARED_HOSTS][SHARED_HOST_SIZE];
    uint64_t serial; /* of the youngest that is contained */
};

bool shared_pending_any(void);
/* The empty host, a host too long, or one host too many: everything. */
void shared_pending_keep(struct span host);
void shared_pending_copy(struct shared_pending *out);
/* What was copied has been handed over; what came in since stays. */
void shared_pending_done(const struct shared_pending *copied);

/* --- what DetectionOnly counts --- */

void shared_count(enum detection_counter which);
/* True, and what was counted since it was last true: at most once a second, and only when there is something. The
 * caller reports it, or returns it. */
bool shared_counts_take(uint64_t out[DETECTION_COUNT]);
void shared_counts_return(const uint64_t counts[DETECTION_COUNT]);

#endif
