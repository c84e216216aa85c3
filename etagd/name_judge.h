/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may carry which name (etagd/lib/name.h): decided from what the caller says and what is stored, wherever
 * that lies. Pure functions.
 *
 * A response may carry the name of a generation only if the name's as-of position is at or before the one from
 * which the response was made, and nothing covers it since: so a response that was begun before an invalidation
 * never gets a name that is given after it, nor one that the invalidation has ended.
 *
 * The date of a content is given once for the cluster. Where nothing is known of what was there before (a new URL,
 * a new epoch, a record whose life is over) it is the present second: any date of a file may have been another
 * content's before, since files are rolled back and whole trees carry one date. Another content gets a later one,
 * also when its file is older, and later than the moment at which the former became known: whoever holds that one
 * may have been told any date up to then. A content that came less than NAME_SETTLE_S after the one before it gets
 * none yet. So no date is ever given twice as long as the store's clock does not go back while it forgets; who
 * sends dates waits a few seconds, for the clocks of two stores (mod_etag/modified.c).
 */
#ifndef ETAGD_NAME_JUDGE_H
#define ETAGD_NAME_JUDGE_H

#include "etagd/lib/entry.h"
#include "etagd/lib/name.h"
#include "etagd/log_id.h"

/* What ETAG NAME proposes (proto.h). */
struct name_proposal {
    unsigned flags; /* ENTRY_ANY_QUERY or 0 */
    uint64_t ttl_ms; /* of a new name; 0: the configured default */
    uint8_t digest[DIGEST_SIZE]; /* NAME_MODIFIED: of the content */
    int64_t mtime;
};

bool name_proposal_read(char kind, struct span text, struct name_proposal *out);

struct name_claim {
    char kind; /* NAME_GENERATION, NAME_MODIFIED */
    struct log_id as_of; /* of the response */
    bool covered; /* something newer covers it */
    const uint8_t *digest; /* NAME_MODIFIED: of the content, DIGEST_SIZE bytes */
    int64_t mtime; /* NAME_MODIFIED: seconds since 1970 */
    int64_t now; /* NAME_MODIFIED: the store's clock, in seconds */
};

struct name_stored {
    bool known; /* an entry of this kind and epoch; otherwise the rest says nothing */
    bool valid; /* at or above the floor, and not covered */
    bool ageing; /* more than half of its life is over */
    struct log_id as_of; /* where it is valid */
    struct entry entry;
};

enum name_verdict {
    NAME_NONE, /* this response carries no name */
    NAME_GIVEN, /* what is stored, or for a date: date and since, whatever is stored */
    NAME_STORE /* to be stored first, in the place of exactly this */
};

struct name_decision {
    enum name_verdict verdict;
    int64_t date, since; /* NAME_MODIFIED; date may be ENTRY_UNDATED */
    bool stands; /* NAME_GIVEN: it is what is stored */
    bool changed; /* NAME_STORE: of another content than before */
};

void name_judge(const struct name_claim *claim, const struct name_stored *stored, struct name_decision *out);

#endif
