/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared table's only writer (layout and rules: etagd/lib/table.h). Runs on the event loop's
 * thread alone; nothing here blocks. A live table is never resized, truncated or adopted after a
 * restart: a new generation replaces it and starts empty.
 */
#ifndef ETAGD_WRITER_H
#define ETAGD_WRITER_H

#include "etagd/lib/table.h"

struct writer;

struct writer_size {
    uint64_t bytes;      /* of the whole table; the parts follow from it. At least 4 MiB. */
    unsigned log2_cells; /* scope cells, 2^n; 0: 2^20, less in small tables */
    uint32_t dict_bytes; /* for capsules, at most 4 MiB; 0: 4 MiB, less in small tables */
};

struct writer_stats {
    uint64_t records;     /* live */
    uint64_t bytes;       /* size of the table */
    uint64_t puts, refused, evicted, reinserted, promoted, ghost_hits, kicked, bucket_full, removed,
        invalidations;
    uint64_t cells_marked;    /* cells that lookups of their scopes must read */
    uint64_t capsules;        /* in the dictionary */
    uint64_t capsules_inline; /* puts that carried their own: the dictionary had no room */
    uint64_t capsules_full;   /* puts refused: no room in the dictionary nor in the record */
};

/* NULL and *why (static text naming the remedy) when memfd, sealing or memory is refused. */
struct writer *writer_create(const struct writer_size *size, const char **why);

/* Marks the table retired, ends its lease, gives its memory back although idle readers still map it
 * (they then read zeros: misses), and frees the handle: for a table that is replaced. */
void writer_retire(struct writer *w);

/* Ends the lease and frees the handle, the table stays as it is for those who map it: for a daemon that
 * stops, so that files keep their tags until the next one hands out its own. */
void writer_leave(struct writer *w);

int writer_table_fd(const struct writer *w); /* read-only re-open, to be passed to clients */
int writer_touch_fd(const struct writer *w);
uint64_t writer_generation(const struct writer *w);
uint64_t writer_seq(const struct writer *w);
void writer_stats(const struct writer *w, struct writer_stats *out);

enum writer_result {
    WRITER_OK = 0,
    WRITER_STALE,   /* seq is older than an invalidation that covers the record */
    WRITER_TOO_LONG /* record over TABLE_RECORD_WORDS */
};

struct writer_put {
    struct span key;          /* with "#variant" where there is one */
    uint64_t seq;             /* snapshot's seq; ignored for TABLE_SELF */
    unsigned flags;           /* TABLE_SELF or 0 */
    uint32_t ttl_s;           /* 0: none */
    const struct span *scopes; /* scope texts (scope.h), at most SCOPE_MAX */
    size_t nscopes;
    struct span value;        /* an encoded entry */
    struct span capsule;      /* at most CAPSULE_MAX; interned in the dictionary; when that is full, in the
                                 record; when it does not fit there either the put is WRITER_TOO_LONG */
};

/* A put that is too long takes away what was under the key: that is known to be superseded. */
enum writer_result writer_put(struct writer *w, const struct writer_put *put);
bool writer_remove(struct writer *w, struct span key);

/* Takes one seq and marks every scope with it (all of one log record's scopes in one call); n == 0
 * flushes every trusted record. Returns the seq. Visible to readers before it returns. */
uint64_t writer_invalidate(struct writer *w, const struct span *scopes, size_t n);

/* Invalidations up to seq, a seq of long ago, no longer cost lookups anything; trusted records with a smaller seq
 * die with them, so there should be none left. A pass over the cells: 2 ms for 2^20 of them. */
void writer_clean(struct writer *w, uint64_t seq);

/* until: CLOCK_BOOTTIME in ms; 0 ends the lease. */
void writer_lease(struct writer *w, uint64_t until_ms);

/* The writer's own lookup, for ETAG GET: like table_lookup on its own mapping. */
const struct table *writer_table(const struct writer *w);

#endif
