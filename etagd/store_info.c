/* SPDX-License-Identifier: Apache-2.0 */
/* What the store tells people. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "etagd/clock.h"
#include "etagd/lib/digest.h"
#include "etagd/store_state.h"

static const char *const refusal_names[REFUSALS] = {
    [REFUSED_GENERATION] = "refused_generation", [REFUSED_LEASE] = "refused_no_lease",
    [REFUSED_OLD] = "refused_old_snapshot",      [REFUSED_SETTLE] = "refused_settling",
    [REFUSED_COVERED] = "refused_invalidated",   [REFUSED_LONG] = "refused_too_long",
    [REFUSED_FORM] = "refused_malformed",        [REFUSED_EPOCH] = "refused_other_epoch",
    [REFUSED_FLOOR] = "refused_below_floor",
};

struct section {
    void (*line)(void *arg, const char *section, const char *name, const char *value);
    void *arg;
    const char *name;
};

static void text(const struct section *to, const char *name, const char *value)
{
    to->line(to->arg, to->name, name, value);
}

static void number(const struct section *to, const char *name, uint64_t value)
{
    char out[24];

    snprintf(out, sizeof out, "%" PRIu64, value);
    text(to, name, out);
}

static void id(const struct section *to, const char *name, struct log_id value)
{
    char out[LOG_ID_TEXT];

    log_id_format(value, out);
    text(to, name, out);
}

static void store_section(const struct store *s, struct section to)
{
    const struct store_counts *c = &s->counts;
    struct shared_stats shared = {0};

    to.name = "Store";
    text(&to, "mode", s->embedded ? "embedded" : "redis");
    if (s->shared) {
        shared_stats(s->shared, &shared);
        text(&to, "redis", s->url);
        text(&to, "redis_connected", shared.connected ? "1" : "0");
    }
    text(&to, "epoch", store_epoch(s));
    text(&to, "key_prefix", s->conf->key_prefix);
    number(&to, "hosts", hosts_count(s->hosts));
    number(&to, "puts", c->puts);
    number(&to, "puts_names", c->names_puts);
    number(&to, "puts_files", c->files);
    number(&to, "names_asked", c->names_asked);
    number(&to, "refused_bad", c->refused_bad);
    for (size_t i = 0; i < REFUSALS; i++)
        number(&to, refusal_names[i], c->refused[i]);
    number(&to, "fetches", c->fetches);
    number(&to, "fetch_table_hits", c->fetch_hits);
    number(&to, "fetch_inserted", c->inserted);
    number(&to, "conflicts", c->conflicts);
    number(&to, "name_asks", c->name_asks);
    number(&to, "name_table_hits", c->name_table_hits);
    number(&to, "name_gives", c->name_gives);
    number(&to, "name_makes", c->name_makes);
    number(&to, "invalidations_here", c->invalidations);
    if (!s->shared)
        return;
    number(&to, "unshared_too_long", c->unshared);
    number(&to, "shared_puts", shared.puts);
    number(&to, "shared_puts_newer_there", shared.puts_newer);
    number(&to, "shared_puts_other_tag", shared.puts_replaced);
    number(&to, "shared_puts_conflict_there", shared.puts_conflict);
    number(&to, "shared_puts_dropped", shared.puts_dropped);
    number(&to, "shared_gets", shared.gets);
    number(&to, "shared_gets_found", shared.gets_found);
    number(&to, "shared_gets_failed", shared.gets_failed);
    number(&to, "fetches_in_flight", shared.fetching);
    number(&to, "invalidations_appended", shared.appended);
    number(&to, "invalidations_unsent", shared.unsent);
    number(&to, "invalidations_widened", shared.widened);
}

static void versions_section(const struct store *s, struct section to)
{
    const struct store_counts *c = &s->counts;

    to.name = "Versions";
    number(&to, "versions", versions_count(s->versions));
    number(&to, "versions_told", c->versions_told);
    number(&to, "versions_doubted", c->versions_doubted);
    number(&to, "versions_refused", c->versions_refused);
    number(&to, "version_conflicts", c->version_conflicts);
}

static void table_section(const struct store *s, struct section to)
{
    struct writer_stats t;
    char generation[20];

    to.name = "Table";
    writer_stats(s->writer, &t);
    snprintf(generation, sizeof generation, "%016" PRIx64, writer_generation(s->writer));
    text(&to, "generation", generation);
    number(&to, "seq", writer_seq(s->writer));
    number(&to, "records", t.records);
    number(&to, "bytes", t.bytes);
    number(&to, "table_puts", t.puts);
    number(&to, "table_refused", t.refused);
    number(&to, "evicted", t.evicted);
    number(&to, "reinserted", t.reinserted);
    number(&to, "promoted", t.promoted);
    number(&to, "ghost_hits", t.ghost_hits);
    number(&to, "kicked", t.kicked);
    number(&to, "bucket_full", t.bucket_full);
    number(&to, "removed", t.removed);
    number(&to, "scopes_invalidated", t.invalidations);
    number(&to, "cells_marked", t.cells_marked);
    number(&to, "capsules", t.capsules);
    number(&to, "capsules_inline", t.capsules_inline);
    number(&to, "capsules_full", t.capsules_full);
}

static void digests_section(const struct store *s, struct section to)
{
    struct digests_stats d = {.start = "none wanted"};

    to.name = "Digests";
    if (s->digests)
        digests_stats(s->digests, &d);
    text(&to, "digest_file", s->digests ? digests_path(s->digests) : "none");
    text(&to, "digest_file_at_start", d.start);
    number(&to, "digests_kept", d.kept);
    number(&to, "digests_restored", d.restored);
    number(&to, "digests_dropped", d.dropped);
    number(&to, "digest_file_saves", d.saves);
    number(&to, "digest_file_failures", d.save_failures);
    number(&to, "digest_file_bytes", d.file_bytes);
}

static void log_section(const struct store *s, struct section to)
{
    to.name = "Log";
    if (s->embedded) {
        id(&to, "applied", embedded_last(s->embedded));
        number(&to, "length", embedded_length(s->embedded));
    } else {
        const struct coherence *c = shared_coherence(s->shared);

        id(&to, "applied", coherence_position(c));
        id(&to, "floor", coherence_floor(c));
        number(&to, "floor_raised", coherence_floors(c));
        number(&to, "records_counted", coherence_count(c));
    }
    number(&to, "records_applied", s->counts.records);
    number(&to, "operations_widened", s->counts.widened);
    text(&to, "last_record", s->last_operation);
}

static void lease_section(const struct store *s, struct section to)
{
    struct shared_stats shared;
    char master[REDIS_HOST + 16], name[32];

    to.name = "Lease";
    number(&to, "lease_ms", s->conf->lease_ms);
    number(&to, "left_ms", table_lease_left(writer_table(s->writer)));
    if (s->embedded) {
        text(&to, "state", "held");
        return;
    }
    shared_stats(s->shared, &shared);
    text(&to, "state", shared.state);
    if (shared.witnesses_name) {
        snprintf(master, sizeof master, "%s:%u", shared.witnesses.master.host, shared.witnesses.master.port);
        text(&to, "master", shared.witnesses.master.port ? master : "");
        snprintf(name, sizeof name, "%c%s", span_lower(shared.witnesses_name[0]), shared.witnesses_name + 1);
        number(&to, name, shared.witnesses.known);
        strcat(name, "_agreeing");
        number(&to, name, shared.witnesses.agreeing);
    }
    number(&to, "replicas_wanted", shared.replicas);
    number(&to, "renewals", shared.renewals);
    number(&to, "refusals", shared.refusals);
    text(&to, "last_error", shared.error);
}

void store_info(struct store *s, void (*line)(void *arg, const char *section, const char *name, const char *value),
                void *arg)
{
    struct section to = {line, arg, NULL};

    store_section(s, to);
    versions_section(s, to);
    table_section(s, to);
    digests_section(s, to);
    log_section(s, to);
    lease_section(s, to);
}

/* ---- one key ---- */

struct description {
    void (*line)(void *arg, const char *name, struct span value);
    void *arg;
};

static void describe(const struct description *to, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void describe(const struct description *to, const char *name, const char *format, ...)
{
    char value[64];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    to->line(to->arg, name, span_str(value));
}

static const char *kind_name(enum entry_kind kind)
{
    switch (kind) {
    case ENTRY_DIGEST:
        return "digest";
    case ENTRY_VERSION:
        return "version";
    case ENTRY_GENERATION:
        return "generation";
    case ENTRY_UPSTREAM:
        return "upstream";
    case ENTRY_NAMES:
        return "names";
    case ENTRY_FILE:
        return "file";
    case ENTRY_MODIFIED:
        return "modified";
    case ENTRY_VERSION_BASE:
        return "version base";
    case ENTRY_VERSION_VALUE:
        return "version value";
    }
    return "unknown";
}

static void describe_tag(const struct description *to, const struct entry *e)
{
    char opaque[64];

    switch (e->kind) {
    case ENTRY_NAMES:
        to->line(to->arg, "names", e->tag);
        return;
    case ENTRY_UPSTREAM:
    case ENTRY_VERSION_VALUE:
        to->line(to->arg, "tag", e->tag);
        return;
    case ENTRY_FILE:
    case ENTRY_MODIFIED:
        digest_base64url((const uint8_t *)e->tag.p, DIGEST_SIZE, opaque);
        break;
    default:
        digest_opaque((char)e->kind, (const uint8_t *)e->tag.p, opaque);
        break;
    }
    to->line(to->arg, "tag", span_str(opaque));
}

static void describe_hit(const struct store *s, const struct description *to, const struct table_copy *copy)
{
    uint64_t now = clock_boot_ms(), end = s->birth_ms + (uint64_t)copy->expiry_s * 1000;

    describe(to, "kind", "%s", kind_name(copy->entry.kind));
    describe_tag(to, &copy->entry);
    describe(to, "weak", "%u", copy->entry.flags & ENTRY_WEAK);
    if (copy->entry.last_modified != ENTRY_UNDATED)
        describe(to, "last-modified", "%" PRId64, copy->entry.last_modified);
    if (copy->expiry_s != UINT32_MAX)
        describe(to, "expires-in", "%" PRIu64, end > now ? (end - now) / 1000 : 0);
    describe(to, "seq", "%" PRIu64, copy->seq);
}

bool store_describe(struct store *s, struct span key, void (*line)(void *arg, const char *name, struct span value),
                    void *arg)
{
    const struct table *t = writer_table(s->writer);
    struct description to = {line, arg};
    struct table_copy copy;
    enum table_result result = table_lookup(t, table_identify(t, key), &copy);

    if (result == TABLE_MISS)
        return false;
    describe(&to, "state", "%s",
             result == TABLE_HIT        ? "hit"
             : result == TABLE_STALE    ? "invalidated"
             : result == TABLE_EXPIRED  ? "expired"
             : result == TABLE_CONFLICT ? "conflict"
                                        : "no lease");
    if (result == TABLE_HIT || result == TABLE_CONFLICT)
        describe_hit(s, &to, &copy);
    describe(&to, "lease", "%" PRIu64, table_lease_left(t));
    return true;
}
