/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What outlives a restart: the digests of files that this daemon published, by identity, of the last
 * DIGEST_FILE_MAX files, and of each file the last; kept in memory beside the table, whose records cannot be
 * turned back into identities, and in a state file (digest_file.h). Identities with a MINUTE are over too soon to
 * be kept.
 *
 * The file is written a while after a change, by a thread of its own, and at the end; the event loop never
 * waits for a disk, and for the thread only as long as copying a few hundred records takes. Everything but
 * that thread belongs to the event loop's.
 */
#ifndef ETAGD_DIGESTS_H
#define ETAGD_DIGESTS_H

#include "etagd/lib/digest.h"

#define DIGESTS_SAVE_EVERY_MS 120000

struct event_base;
struct digests;

struct digests_stats {
    uint64_t kept;                  /* now */
    uint64_t restored, dropped;     /* at the start; dropped: their mount is gone */
    uint64_t saves, save_failures;
    uint64_t file_bytes;            /* of the last one written here */
    const char *start;              /* what became of the file that was there */
};

/* Reads the file. save_every_ms: from a change until it is on disk. NULL: out of memory. */
struct digests *digests_new(struct event_base *base, const char *path, uint64_t save_every_ms);

/* Calls each(arg, identity, digest) for all that are kept, the oldest first as far as that is known. */
void digests_each(const struct digests *d, void (*each)(void *arg, struct span identity, const uint8_t *digest),
                  void *arg);

/* Keeps it in place of what was kept of the same file; what is no identity of this boot is not kept. */
void digests_add(struct digests *d, struct span identity, const uint8_t digest[DIGEST_SIZE]);

/* Writes what has changed now and waits for it: for the end. */
void digests_save(struct digests *d);
void digests_free(struct digests *d); /* does not write */

const char *digests_path(const struct digests *d);
void digests_stats(const struct digests *d, struct digests_stats *out);

#endif
