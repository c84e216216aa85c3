/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries asked of Redis. Everybody who asks for a key while it is on its way shares one answer. The life
 * left is asked before the value, so that an entry never outlives what was promised. Capsules, which many
 * entries share, are kept by their id. Event-loop thread only.
 */
#ifndef ETAGD_FETCH_H
#define ETAGD_FETCH_H

#include "etagd/entry_text.h"
#include "etagd/routes.h"

struct fetches;

struct fetch_stats {
    uint64_t asked, found, failed;
    size_t in_flight;
};

/* entry decides whether what was found is good, and puts it into the table. prefix is copied. NULL: out of
 * memory. */
struct fetches *fetches_new(const char *prefix,
                            bool (*entry)(void *arg, struct span key, const struct entry_text *text,
                                          struct span capsule, uint64_t ttl_ms),
                            void *arg);
void fetches_free(struct fetches *f); /* after the connection was freed */

/* done NULL: nobody waits. Otherwise it is called exactly once, perhaps at once. */
void fetches_ask(struct fetches *f, struct routes *routes, struct span key, void (*done)(void *arg, bool known),
                 void *arg);
void fetches_forget(struct fetches *f, void *arg);

void fetches_stats(const struct fetches *f, struct fetch_stats *out);

/* Stores a capsule under its id unless that was done a short while ago; writes the id. False when it
 * could not be sent. */
bool fetches_share_capsule(struct fetches *f, struct routes *routes, struct span capsule, uint64_t ttl_ms,
                           char id[ENTRY_TEXT_CAPSULE + 1]);

/* Redis may have lost what was stored: capsules are stored again. */
void fetches_capsules_lost(struct fetches *f);

#endif
