/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conflicts: two responses of one variant with different entity-tags and nothing in the log between them that
 * covers it. The handler is not deterministic, or the content changed and nobody announced it; which of the two
 * is current cannot be told, and whoever published last would decide. So the record becomes a mark
 * (ENTRY_CONFLICT) that answers nothing, until something covers it or its life is over.
 *
 * The mark carries the newest tag: a response that says the same leaves it as it is, so that a page that changed
 * once is learned again when the mark's life ends; another tag makes it anew.
 *
 * Other nodes: the mark is stored in place of the entry, then announced in the log as a remark "x-conflict
 * <key>#<variant>". Entries from before that record are not believed any more unless they are marks.
 */
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/log.h"
#include "etagd/store_state.h"

#include "etagd/lib/detection.h"
#include "etagd/lib/key.h"

#define WARN_MS 10000u /* between lines about conflicts; INFO counts them */

/* Whatever the lease says: records and answers from before it lapsed come in before there is one again. */
static enum table_result look(const struct store *s, struct span key, struct table_copy *out)
{
    const struct table *t = writer_table(s->writer);

    return table_lookup_unleased(t, table_identify(t, key), out);
}

static bool same_tag(const struct entry *a, const struct entry *b)
{
    return a->kind == b->kind && span_eq(a->tag, b->tag);
}

enum conflict store_conflict(const struct store *s, struct span key, const struct entry *entry)
{
    struct table_copy copy;

    switch (look(s, key, &copy)) {
    case TABLE_HIT:
        return same_tag(&copy.entry, entry) ? CONFLICT_NONE : CONFLICT_NEW;
    case TABLE_CONFLICT:
        return same_tag(&copy.entry, entry) ? CONFLICT_KNOWN : CONFLICT_AGAIN;
    default:
        return CONFLICT_NONE;
    }
}

struct span store_conflict_mark(uint8_t value[ENTRY_SIZE], const struct entry *entry)
{
    struct entry mark = *entry;

    mark.flags |= ENTRY_CONFLICT;
    return span_of((const char *)value, entry_encode(value, ENTRY_SIZE, &mark));
}

/* Of nodes that look on: nobody has been answered with either tag. */
static void report_detected(struct store *s, struct span key, uint64_t now)
{
    if (s->detection_told_ms && now - s->detection_told_ms < WARN_MS)
        return;
    s->detection_told_ms = now;
    const size_t url = (size_t)((const char *)memchr(key.p, '#', key.n) - key.p);
    log_info("%.*s: DetectionOnly met responses with different entity-tags and no invalidation between them: "
             "with ETagEngine On an early 304 would have confirmed the first one wrongly",
             (int)(url < 300 ? url : 300), key.p);
}

void store_conflict_report(struct store *s, struct span key, enum entry_kind kind)
{
    uint64_t now = clock_mono_ms();

    if (detection_is_key(key)) {
        report_detected(s, key, now);
        return;
    }
    s->counts.conflicts++;
    s->counts.version_conflicts += kind == ENTRY_VERSION_BASE;
    if (s->conflict_warned_ms && now - s->conflict_warned_ms < WARN_MS)
        return;
    s->conflict_warned_ms = now;
    if (kind == ENTRY_VERSION_BASE) {
        log_warn("%.*s: entity-tags that differ by more than the version, of responses with another Content-Type, "
                 "Content-Language or Content-Encoding: not confirmed before the handler until a record covers it or "
                 "ETagTTL is over",
                 (int)(key.n < 300 ? key.n : 300), key.p);
        return;
    }
    log_warn("%.*s: responses with different entity-tags and no invalidation between them: not confirmed before the "
             "handler until a record covers it or ETagTTL is over; its handler is not deterministic, or a change "
             "was not announced",
             (int)(key.n < 300 ? key.n : 300), key.p);
}

void store_conflict_unmarked(struct store *s, struct span key, enum entry_kind kind, enum conflict conflict)
{
    if (conflict != CONFLICT_NEW)
        return;
    store_conflict_report(s, key, kind);
    writer_remove(s->writer, key);
    if (s->shared)
        shared_forget_url(s->shared, key);
}

/* ---- other nodes ---- */

/* Valid now, whatever was begun when: later records decide. False: the position is not known. */
static bool position_now(const struct store *s, struct log_id *out)
{
    return positions_as_of(s->positions, writer_seq(s->writer), out);
}

void store_conflict_share(struct store *s, struct span key, struct entry_text *text, bool announce, uint64_t ttl_ms)
{
    text->entry.flags |= ENTRY_CONFLICT;
    if (position_now(s, &text->as_of))
        shared_put_conflict(s->shared, key, text, announce, ttl_ms);
}

/* No scope of a resource begins like this; effect.c does not make it, no record of the table has it. */
static struct span announced_scope(char storage[KEY_SIZE + 1], struct span key)
{
    storage[0] = '!';
    memcpy(storage + 1, key.p, key.n);
    return span_of(storage, 1 + key.n);
}

bool store_conflict_covers(const struct store *s, struct span key, const struct entry_text *text)
{
    char storage[KEY_SIZE + 1];
    struct span scope = announced_scope(storage, key);

    return !(text->entry.flags & ENTRY_CONFLICT) && positions_covered(s->positions, &scope, 1, text->as_of);
}

void store_conflict_announced(struct store *s, struct log_id id)
{
    struct span key = s->effect.conflict;
    char storage[KEY_SIZE + 1];
    struct table_copy copy;

    if (!s->shared || key.n >= KEY_SIZE)
        return;
    positions_mark(s->positions, announced_scope(storage, key), id);
    if (look(s, key, &copy) != TABLE_HIT)
        return;
    writer_remove(s->writer, key);
    shared_fetch(s->shared, key, NULL, NULL);
}

/* ---- what stands in Redis beside what was published here ---- */

static uint64_t life_left(const struct store *s, const struct table_copy *copy)
{
    uint64_t now = clock_boot_ms(), end = s->birth_ms + (uint64_t)copy->expiry_s * 1000;

    return end > now ? end - now : 0;
}

static bool insert_mark(struct store *s, struct span key, const struct entry *entry, const struct scope_list *scopes,
                        uint64_t ttl_ms)
{
    uint8_t value[ENTRY_SIZE];
    struct writer_put put = {
        .key = key,
        .seq = writer_seq(s->writer),
        .ttl_s = (uint32_t)(ttl_ms / 1000),
        .scopes = scopes->at,
        .nscopes = scopes->n,
        .value = store_conflict_mark(value, entry),
    };

    return put.ttl_s && put.value.n && writer_put(s->writer, &put) == WRITER_OK;
}

/* The mark has the scopes of what stands there and the tag of what was published here. */
static void conflict_with(struct store *s, struct span key, const struct entry_text *there,
                          const struct table_copy *here, const struct scope_list *scopes)
{
    struct entry_text *text = &s->text;
    bool is_new = !(there->entry.flags & ENTRY_CONFLICT);
    uint64_t ttl_ms = life_left(s, here);

    if (!insert_mark(s, key, &here->entry, scopes, ttl_ms)) {
        store_conflict_unmarked(s, key, here->entry.kind, CONFLICT_NEW);
        return;
    }
    if (is_new)
        store_conflict_report(s, key, here->entry.kind);
    text->entry = here->entry;
    text->ntags = there->ntags;
    text->ngroups = there->ngroups;
    memcpy(text->tags, there->tags, there->ntags * sizeof *there->tags);
    memcpy(text->groups, there->groups, there->ngroups * sizeof *there->groups);
    store_conflict_share(s, key, text, is_new, ttl_ms);
}

bool store_meet_entry(void *arg, struct span key, const struct entry_text *text, uint64_t ttl_ms)
{
    struct store *s = arg;
    bool is_mark = (text->entry.flags & ENTRY_CONFLICT) != 0;
    struct scope_list scopes;
    struct table_copy here;
    enum table_result result = look(s, key, &here);

    if (!store_scopes(s, &scopes, key, text->entry.flags, text->tags, text->ntags, text->groups, text->ngroups) ||
        store_doubt(s, key, text, &scopes) != REFUSALS)
        return false;
    /* Nothing of it will be answered with within its last second: it ends by itself. */
    if (ttl_ms < 1000 || result == TABLE_CONFLICT)
        return true;
    if (result == TABLE_HIT && !same_tag(&here.entry, &text->entry))
        conflict_with(s, key, text, &here, &scopes);
    else if (is_mark && !insert_mark(s, key, &text->entry, &scopes, ttl_ms))
        writer_remove(s->writer, key);
    return true;
}
