/* SPDX-License-Identifier: Apache-2.0 */
/* The store's inside, shared by store.c and its parts store_*.c only. */
#ifndef ETAGD_STORE_STATE_H
#define ETAGD_STORE_STATE_H

#include "etagd/conf.h"
#include "etagd/digests.h"
#include "etagd/effect.h"
#include "etagd/embedded.h"
#include "etagd/entry_text.h"
#include "etagd/lib/key.h"
#include "etagd/positions.h"
#include "etagd/shared.h"
#include "etagd/store.h"
#include "etagd/versions.h"

struct event;
struct name_call;

/* Why a put or a fetched entry was refused; store_info names them. */
enum refusal {
    REFUSED_GENERATION, /* of another table */
    REFUSED_LEASE, /* there is no lease */
    REFUSED_OLD, /* its snapshot is older than the map of positions */
    REFUSED_SETTLE, /* begun too soon after a record that said settle */
    REFUSED_COVERED, /* something newer covers it */
    REFUSED_LONG, /* the record or its capsule does not fit */
    REFUSED_FORM, /* fetched: malformed, or its life is nearly over */
    REFUSED_EPOCH, /* fetched: of another epoch */
    REFUSED_FLOOR, /* fetched: from before the floor */
    REFUSALS
};

struct store_counts {
    uint64_t puts, names_puts, files, refused[REFUSALS], refused_bad, names_asked;
    uint64_t fetches, fetch_hits, inserted, unshared, conflicts;
    uint64_t invalidations, records, widened;
    uint64_t name_asks, name_table_hits, name_gives, name_makes;
    uint64_t versions_told, versions_doubted, versions_refused, version_conflicts;
};

/* The scopes of a record, in storage of their own. */
struct scope_list {
    const struct hosts *hosts;
    struct span at[SCOPE_MAX];
    size_t n, used;
    bool full;
    bool any_query; /* ENTRY_ANY_QUERY */
    char text[SCOPE_MAX * 512];
};

struct store {
    const struct conf *conf;
    struct writer *writer;
    uint64_t birth_ms; /* CLOCK_BOOTTIME at which the table was made */
    struct digests *digests; /* of files, for the next start; NULL: not wanted */
    struct positions *positions;
    struct hosts *hosts;
    uint64_t hosts_version; /* with which the scopes so far were resolved */
    struct effect effect;

    /* One of the two. */
    struct embedded *embedded;
    struct shared *shared;
    struct event *lease_timer; /* embedded: the loop is alive, so the lease holds */
    char embedded_epoch[33];

    /* settle: until when nothing is taken, and below which seq nothing is taken afterwards. */
    struct event *settle_timer;
    uint64_t settle_until_ms, settle_seq;

    struct event *clean_timer; /* once in the longest life of a record */
    uint64_t clean_seq; /* the table's seq when it last came: what has a smaller one is over when it comes again */

    struct versions *versions;
    uint64_t version_warned_ms; /* last line about one in doubt */

    uint64_t conflict_warned_ms, detection_told_ms;
    uint64_t warned_ms; /* last line about operations that were widened */
    char last_operation[200];
    struct store_counts counts;

    struct scope_list name_scopes; /* scratch: large */
    struct name_call *naming; /* on their way to the store and back */
    size_t nnaming;
    struct digest *digest;
    uint64_t name_ms; /* the latest clock that a name was judged by */
    char names[ENTRY_TAG_MAX]; /* what store_put hands out */
    struct entry_text text; /* scratch: large */
    char url[400]; /* of Redis, for people */
};

/* With names of hosts resolved as they are known now. False when the key has no scopes or they do not fit: it
 * must not be stored. */
bool store_scopes(const struct store *s, struct scope_list *list, struct span key, unsigned flags,
                  const struct span *tags, size_t ntags, const struct span *groups, size_t ngroups);

/* Counts a refusal; false. */
bool store_refuse(struct store *s, enum refusal why);

/* Whether a snapshot still means something; its place in the log. */
bool store_place(struct store *s, uint64_t generation, uint64_t seq, struct log_id *as_of);

/* Visible characters, at least one. */
bool store_clean_key(struct span key);

/* key#variant in text. */
struct span store_join(char text[KEY_SIZE], struct span key, struct span variant);

/* writer_put, refusals counted. */
enum writer_result store_insert(struct store *s, const struct writer_put *put);

/* An invalidation by this node: over on it when this returns. id: the log's, or "local". */
void store_append(struct store *s, const struct span *fields, size_t n, char id[LOG_ID_TEXT]);

/* store_forget's part for names. */
void store_forget_names(struct store *s, const void *arg);

/* Into the table alone. */
bool store_insert_file(struct store *s, struct span identity, const uint8_t digest[32]);

bool store_has_lease(const struct store *s);

/* Longest life of anything learned: a record that covers it is still in the log then. */
uint64_t store_longest_ms(const struct store *s);

/* shared_events.entry */
bool store_take_entry(void *arg, struct span key, const struct entry_text *text, struct span capsule, uint64_t ttl_ms);

/* The record whose effect is the store's says that the names of a key have grown. */
void store_names_announced(struct store *s);

const char *store_epoch(const struct store *s);

/* Why an entry that another node stored under this key is void, as far as the log was applied here; REFUSALS: it is
 * not. Whether that is far enough to believe it, the lease says. */
enum refusal store_doubt(const struct store *s, struct span key, const struct entry_text *text,
                         const struct scope_list *scopes);

/* ---- store_version.c ---- */

/* The record id, whose effect is the store's, is applied: its versions are told. */
void store_versions_told(struct store *s, struct log_id id);

/* Nothing is known any more of what was told. The table's records were flushed. */
void store_versions_forget(struct store *s);

/* Into the table again, from where it was evicted; false: the version is unknown. */
bool store_version_restore(struct store *s, struct span name);

/* ---- store_conflict.c ---- */

/* What a response of this entry is beside what the table holds under its key. */
enum conflict {
    CONFLICT_NONE,
    CONFLICT_NEW, /* another tag is current there */
    CONFLICT_KNOWN, /* a mark that has this tag */
    CONFLICT_AGAIN /* a mark that has another one */
};
enum conflict store_conflict(const struct store *s, struct span key, const struct entry *entry);

/* The encoded mark that an entry becomes, in value; empty: it can be none. */
struct span store_conflict_mark(uint8_t value[ENTRY_SIZE], const struct entry *entry);

/* Counts and tells. kind: of one of the tags. */
void store_conflict_report(struct store *s, struct span key, enum entry_kind kind);

/* The response cannot be kept as a mark: what it contradicts goes, here and everywhere. */
void store_conflict_unmarked(struct store *s, struct span key, enum entry_kind kind, enum conflict conflict);

/* Stores the entry of text, which is changed, as a mark for the other nodes. announce: they do not know of the
 * conflict yet. */
void store_conflict_share(struct store *s, struct span key, struct entry_text *text, bool announce, uint64_t ttl_ms);

/* The record id, whose effect is the store's, announces a conflict. */
void store_conflict_announced(struct store *s, struct log_id id);

/* Whether the entry is from before a conflict was announced, and none itself. */
bool store_conflict_covers(const struct store *s, struct span key, const struct entry_text *text);

/* shared_events.met */
bool store_meet_entry(void *arg, struct span key, const struct entry_text *text, uint64_t ttl_ms);

#endif
