/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A protection of the product taken away, by -DPLANT_..., to show that the soak notices: power.py puts this in front
 * of one source file (-include) in a build tree of its own. Nothing of it is in the product.
 */
#ifndef ETAG_TESTS_SOAK_PLANTED_H
#define ETAG_TESTS_SOAK_PLANTED_H

#if defined(PLANT_NO_LEASE) || defined(PLANT_WINDOW) || defined(PLANT_CHECKSUM) /* etagd/lib/table.c */
#include "tests/stress/table_planted.h"
#endif

#if defined(PLANT_AS_OF) /* etagd/store_put.c: whatever is learned or fetched counts as begun now */
#include "etagd/store_state.h"

static inline enum writer_result put_as_of_now(struct writer *w, const struct writer_put *put)
{
    struct writer_put now = *put;

    now.seq = writer_seq(w);
    return writer_put(w, &now);
}
#define writer_put(w, put) put_as_of_now(w, put)
#define positions_covered(positions, scopes, n, as_of) ((void)(as_of), false)
#endif

#if defined(PLANT_EPOCH) /* etagd/coherence.c: one epoch is like another */
#include <string.h>

#define strcmp(known, told) (*(known) ? 0 : strcmp(known, told))
#endif

#if defined(PLANT_GAP) /* etagd/coherence.c: records that were missed do not matter */
#include "etagd/coherence.h"

#define missed(arg, position) lease(arg, 0)
#define log_id_max(floor, lost) (floor)
#endif

#endif
