/* SPDX-License-Identifier: Apache-2.0 */
/* Entries on their way into the table: published on this node, or fetched from the others. */
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/store_state.h"

#include "etagd/lib/name.h"
#include "etagd/lib/version.h"

static void add_text(struct scope_list *list, char letter, struct span rest)
{
    if (list->n == SCOPE_MAX || sizeof list->text - list->used < 1 + rest.n) {
        list->full = true;
        return;
    }
    list->text[list->used] = letter;
    memcpy(list->text + list->used + 1, rest.p, rest.n);
    list->at[list->n++] = span_of(list->text + list->used, 1 + rest.n);
    list->used += 1 + rest.n;
}

static void add_scope(void *arg, struct span text)
{
    struct scope_list *list = arg;
    char storage[SCOPE_TEXT];
    struct span resolved, rest;

    /* A host that nobody announced stands for itself: an operation that names it counts as all. */
    hosts_resolve(list->hosts, text, storage, &resolved);
    rest = span_of(resolved.p + 1, resolved.n - 1);
    add_text(list, resolved.p[0], rest);
    if (list->any_query && resolved.p[0] == 'U' && !memchr(rest.p, '?', rest.n))
        add_text(list, 'Q', rest); /* effect.c: what the invalidation of any query of the path names */
}

/* A reader tells by the groups of a record whether a response says anything new, and knows them by the host of
 * its own key alone. Where there is no room left it publishes once more. */
static void add_own_group(void *arg, struct span text)
{
    struct scope_list *list = arg;
    char storage[SCOPE_TEXT];
    struct span resolved;

    if (text.p[0] != 'G' || list->n == SCOPE_MAX || sizeof list->text - list->used < text.n)
        return;
    hosts_resolve(list->hosts, text, storage, &resolved);
    if (!span_eq(text, resolved))
        add_text(list, 'G', span_of(text.p + 1, text.n - 1));
}

bool store_scopes(const struct store *s, struct scope_list *list, struct span key, unsigned flags,
                  const struct span *tags, size_t ntags, const struct span *groups, size_t ngroups)
{
    list->hosts = s->hosts;
    list->n = list->used = 0;
    list->full = false;
    list->any_query = (flags & ENTRY_ANY_QUERY) != 0;
    if (!scope_each_of_key(key, tags, ntags, groups, ngroups, add_scope, list) || list->full)
        return false;
    if (ngroups)
        scope_each_of_key(key, NULL, 0, groups, ngroups, add_own_group, list);
    return true;
}

bool store_has_lease(const struct store *s)
{
    return table_lease_left(writer_table(s->writer)) > 0;
}

uint64_t store_longest_ms(const struct store *s)
{
    return s->conf->horizon_ms / 2;
}

const char *store_epoch(const struct store *s)
{
    return s->shared ? coherence_epoch(shared_coherence(s->shared)) : s->embedded_epoch;
}

/* ---- checks ---- */

static bool is_clean_capsule(struct span capsule)
{
    struct span rest = capsule, name, value;

    while (rest.n)
        if (!capsule_next(&rest, &name, &value))
            return false;
    return capsule.n <= CAPSULE_MAX;
}

static bool is_learnable(enum entry_kind kind)
{
    return kind == ENTRY_DIGEST || kind == ENTRY_VERSION || kind == ENTRY_GENERATION || kind == ENTRY_UPSTREAM ||
           kind == ENTRY_VERSION_BASE;
}

bool store_clean_key(struct span key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return false;
    return key.n > 0;
}

/* What no well-behaved client sends. NULL: sound. */
static const char *fault_of(const struct store *s, const struct store_put *put, struct entry *entry)
{
    if (!store_clean_key(put->key) || memchr(put->key.p, '#', put->key.n))
        return "the key is not canonical";
    if (!store_clean_key(put->variant) || memchr(put->variant.p, '#', put->variant.n))
        return "the variant is empty or not clean";
    if (name_is_variant(put->variant))
        return "names are asked for by ETAG NAME";
    if (put->key.n + 1 + put->variant.n >= KEY_SIZE)
        return "key and variant are too long";
    if (!entry_text_names_valid(put->names) || put->names.n > ENTRY_TAG_MAX)
        return "names are lower case, sorted, joined by commas, at most 400 bytes";
    if (!entry_decode(put->value, entry) || !is_learnable(entry->kind) || (entry->flags & ENTRY_CONFLICT))
        return "the value is no entry that can be learned";
    if (!is_clean_capsule(put->capsule))
        return "the capsule is malformed";
    if (put->generation == writer_generation(s->writer) && put->seq > writer_seq(s->writer))
        return "the position is from the future";
    if (put->ttl_ms != 0 && put->ttl_ms < 1000)
        return "a life below a second cannot be kept";
    return NULL;
}

bool store_refuse(struct store *s, enum refusal why)
{
    s->counts.refused[why]++;
    return false;
}

bool store_place(struct store *s, uint64_t generation, uint64_t seq, struct log_id *as_of)
{
    if (generation != writer_generation(s->writer))
        return store_refuse(s, REFUSED_GENERATION);
    if (!store_has_lease(s))
        return store_refuse(s, REFUSED_LEASE);
    if (!positions_as_of(s->positions, seq, as_of))
        return store_refuse(s, REFUSED_OLD);
    if (clock_boot_ms() < s->settle_until_ms || seq < s->settle_seq)
        return store_refuse(s, REFUSED_SETTLE);
    return true;
}

enum writer_result store_insert(struct store *s, const struct writer_put *put)
{
    enum writer_result result = writer_put(s->writer, put);

    if (result == WRITER_STALE)
        store_refuse(s, REFUSED_COVERED);
    else if (result == WRITER_TOO_LONG)
        store_refuse(s, REFUSED_LONG);
    return result;
}

/* ---- names ---- */

/* The names the table holds for a plain key. */
static bool known_names(const struct store *s, struct span key, struct table_copy *copy, struct span *names)
{
    const struct table *t = writer_table(s->writer);

    if (table_lookup_unleased(t, table_identify(t, key), copy) != TABLE_HIT || copy->entry.kind != ENTRY_NAMES)
        return false;
    *names = copy->entry.tag;
    return true;
}

static bool insert_names(struct store *s, struct span key, uint64_t seq, struct span names, uint64_t ttl_ms,
                         const struct scope_list *scopes)
{
    struct entry entry = {.kind = ENTRY_NAMES, .last_modified = ENTRY_UNDATED, .tag = names};
    uint8_t value[ENTRY_SIZE];
    struct writer_put put = {
        .key = key,
        .seq = seq,
        .ttl_s = (uint32_t)(ttl_ms / 1000),
        .scopes = scopes->at,
        .nscopes = scopes->n,
        .value = span_of((const char *)value, entry_encode(value, sizeof value, &entry)),
    };

    if (put.value.n == 0)
        return store_refuse(s, REFUSED_LONG);
    if (store_insert(s, &put) != WRITER_OK)
        return false;
    s->counts.names_puts++;
    return true;
}

/* Names carry the scopes of the URL alone: outliving a tag they only ask for more variants than needed.
 * Where other nodes have a say, theirs are awaited first, so that a name is never missing here. */
static void learn_names(struct store *s, const struct store_put *put, struct log_id as_of)
{
    uint64_t ttl_ms = store_longest_ms(s);
    struct scope_list scopes;

    if (!store_scopes(s, &scopes, put->key, 0, NULL, 0, NULL, 0))
        return;
    if (s->shared)
        shared_names(s->shared, put->key, as_of, put->names, positions_valid_since(s->positions, scopes.at, scopes.n),
                     ttl_ms);
    else
        insert_names(s, put->key, put->seq, put->names, ttl_ms, &scopes);
}

/* ---- published here ---- */

/* The oldest as-of position at which a mark under the key still counts. */
static struct log_id marks_since(const struct store *s, const struct scope_list *scopes)
{
    return log_id_max(positions_valid_since(s->positions, scopes->at, scopes->n),
                      coherence_floor(shared_coherence(s->shared)));
}

static void share(struct store *s, struct span key, const struct store_put *put, const struct entry *entry,
                  struct log_id as_of, const struct scope_list *scopes, enum conflict conflict, uint64_t ttl_ms)
{
    struct entry_text *t = &s->text;

    if (put->ntags > ENTRY_TEXT_NAMES || put->ngroups > ENTRY_TEXT_NAMES) {
        s->counts.unshared++;
        if (conflict == CONFLICT_NEW)
            shared_forget_url(s->shared, key);
        return;
    }
    t->as_of = as_of;
    t->entry = *entry;
    t->ntags = put->ntags;
    t->ngroups = put->ngroups;
    if (t->ntags)
        memcpy(t->tags, put->tags, put->ntags * sizeof *put->tags);
    if (t->ngroups)
        memcpy(t->groups, put->groups, put->ngroups * sizeof *put->groups);
    if (conflict == CONFLICT_NONE)
        shared_put(s->shared, key, t, put->capsule, marks_since(s, scopes), ttl_ms);
    else
        store_conflict_share(s, key, t, conflict == CONFLICT_NEW, ttl_ms);
}

struct span store_join(char text[KEY_SIZE], struct span key, struct span variant)
{
    memcpy(text, key.p, key.n);
    text[key.n] = '#';
    memcpy(text + key.n + 1, variant.p, variant.n);
    return span_of(text, key.n + 1 + variant.n);
}

static enum store_result learn(struct store *s, const struct store_put *put, const struct entry *entry,
                               struct log_id as_of, bool names_known)
{
    uint64_t ttl_ms = put->ttl_ms ? put->ttl_ms : s->conf->tag_ttl_ms;
    struct scope_list scopes;
    char key[KEY_SIZE];
    uint8_t mark[ENTRY_SIZE];
    struct writer_put w = {.key = store_join(key, put->key, put->variant), .seq = put->seq, .value = put->value};
    enum conflict conflict = store_conflict(s, w.key, entry);

    if (ttl_ms > store_longest_ms(s))
        ttl_ms = store_longest_ms(s);
    if (!store_scopes(s, &scopes, put->key, entry->flags, put->tags, put->ntags, put->groups, put->ngroups)) {
        store_refuse(s, REFUSED_LONG);
        store_conflict_unmarked(s, w.key, entry->kind, conflict);
        return STORE_OK; /* not stored: the next request asks the handler again */
    }
    w.ttl_s = (uint32_t)(ttl_ms / 1000);
    w.scopes = scopes.at;
    w.nscopes = scopes.n;
    w.capsule = put->capsule;
    if (conflict != CONFLICT_NONE) {
        w.value = store_conflict_mark(mark, entry);
        w.capsule = span_of(NULL, 0);
    }
    switch (conflict == CONFLICT_KNOWN ? WRITER_OK : store_insert(s, &w)) {
    case WRITER_OK:
        break;
    case WRITER_STALE:
        return STORE_STALE;
    case WRITER_TOO_LONG:
        store_conflict_unmarked(s, w.key, entry->kind, conflict);
        return STORE_OK;
    }
    s->counts.puts++;
    if (conflict == CONFLICT_NEW)
        store_conflict_report(s, w.key, entry->kind);
    if (s->shared && conflict != CONFLICT_KNOWN)
        share(s, w.key, put, entry, as_of, &scopes, conflict, ttl_ms);
    if (!names_known)
        learn_names(s, put, as_of);
    return STORE_OK;
}

enum store_result store_put(struct store *s, const struct store_put *put, struct span *names, const char **why)
{
    struct table_copy copy;
    struct entry entry;
    struct log_id as_of;
    struct span known;
    bool names_known;
    size_t n;

    *why = fault_of(s, put, &entry);
    if (*why) {
        s->counts.refused_bad++;
        return STORE_BAD;
    }
    if (!store_place(s, put->generation, put->seq, &as_of))
        return STORE_STALE;
    names_known = known_names(s, put->key, &copy, &known);
    if (names_known) {
        if (!entry_text_names_union(known, put->names, s->names, sizeof s->names, &n)) {
            store_refuse(s, REFUSED_LONG);
            writer_remove(s->writer, put->key); /* looked up by fewer it might answer what it must not */
            if (s->shared)
                learn_names(s, put, as_of);
            return STORE_OK;
        }
        *names = span_of(s->names, n);
        if (!span_eq(*names, put->names)) {
            s->counts.names_asked++;
            return STORE_NAMES;
        }
        names_known = span_eq(known, put->names);
    }
    return learn(s, put, &entry, as_of, names_known);
}

bool store_insert_file(struct store *s, struct span identity, const uint8_t digest[32])
{
    struct entry entry = {.kind = ENTRY_FILE, .last_modified = ENTRY_UNDATED, .tag = span_of((const char *)digest, 32)};
    uint8_t value[ENTRY_SIZE];
    struct writer_put put = {
        .key = identity,
        .flags = TABLE_SELF,
        .value = span_of((const char *)value, entry_encode(value, sizeof value, &entry)),
    };

    return identity.n != 0 && put.value.n != 0 && store_insert(s, &put) == WRITER_OK;
}

bool store_put_file(struct store *s, struct span identity, const uint8_t digest[32])
{
    if (!store_insert_file(s, identity, digest))
        return false;
    digests_add(s->digests, identity, digest);
    s->counts.files++;
    return true;
}

/* ---- fetched from the others ---- */

/* Between two records of the log: what is good now and carries the current seq stays good until a record
 * that names it. */
enum refusal store_doubt(const struct store *s, struct span key, const struct entry_text *text,
                         const struct scope_list *scopes)
{
    const struct coherence *c = shared_coherence(s->shared);

    if (!span_eq(text->epoch, span_str(coherence_epoch(c))))
        return REFUSED_EPOCH;
    if (log_id_cmp(text->as_of, coherence_floor(c)) < 0)
        return REFUSED_FLOOR;
    if (positions_covered(s->positions, scopes->at, scopes->n, text->as_of) || store_conflict_covers(s, key, text))
        return REFUSED_COVERED;
    return REFUSALS;
}

/* Names that the table knows already are never taken away by what another node stored. */
static bool take_names(struct store *s, struct span key, struct span names, uint64_t ttl_ms,
                       const struct scope_list *scopes)
{
    char both[ENTRY_TAG_MAX];
    struct table_copy copy;
    struct span known;
    size_t n;

    if (known_names(s, key, &copy, &known)) {
        if (!entry_text_names_union(known, names, both, sizeof both, &n))
            return store_refuse(s, REFUSED_LONG);
        names = span_of(both, n);
    }
    return insert_names(s, key, writer_seq(s->writer), names, ttl_ms, scopes);
}

void store_names_announced(struct store *s)
{
    struct span names = s->effect.names;
    const char *space = memchr(names.p, ' ', names.n);
    const struct span key = span_of(names.p, space ? (size_t)(space - names.p) : 0);
    struct scope_list scopes;

    names = span_of(names.p + key.n + 1, space ? names.n - key.n - 1 : 0);
    if (!store_clean_key(key) || key.n >= KEY_SIZE || memchr(key.p, '#', key.n) || !entry_text_names_valid(names) ||
        names.n > ENTRY_TAG_MAX || !store_scopes(s, &scopes, key, 0, NULL, 0, NULL, 0))
        return; /* no node writes that */
    /* Also where none are known: an answer of the store's from before may be on its way. */
    if (span_eq(names, SPAN_LITERAL("*")) || !take_names(s, key, names, store_longest_ms(s), &scopes))
        writer_remove(s->writer, key);
}

bool store_take_entry(void *arg, struct span key, const struct entry_text *text, struct span capsule, uint64_t ttl_ms)
{
    struct store *s = arg;
    struct scope_list scopes;
    uint8_t value[ENTRY_SIZE];
    struct writer_put put = {.key = key, .seq = writer_seq(s->writer), .capsule = capsule};
    const char *hash = memchr(key.p, '#', key.n);
    bool is_variant = hash != NULL;
    enum refusal doubt;

    if (ttl_ms > store_longest_ms(s))
        ttl_ms = store_longest_ms(s);
    if (ttl_ms < 1000 || is_variant == (text->entry.kind == ENTRY_NAMES) ||
        (!is_learnable(text->entry.kind) && text->entry.kind != ENTRY_NAMES) ||
        (hash && name_is_variant(span_of(hash + 1, (size_t)(key.p + key.n - hash - 1)))) ||
        !is_clean_capsule(capsule) ||
        !store_scopes(s, &scopes, key, text->entry.flags, text->tags, text->ntags, text->groups, text->ngroups))
        return store_refuse(s, REFUSED_FORM);
    doubt = store_has_lease(s) ? store_doubt(s, key, text, &scopes) : REFUSED_LEASE;
    if (doubt != REFUSALS)
        return store_refuse(s, doubt);
    if (!is_variant)
        return take_names(s, key, text->entry.tag, ttl_ms, &scopes);
    if (store_conflict(s, key, &text->entry) != CONFLICT_NONE) {
        /* Published here while it was on its way. */
        store_meet_entry(s, key, text, ttl_ms);
        return false;
    }
    put.value = span_of((const char *)value, entry_encode(value, sizeof value, &text->entry));
    if (put.value.n == 0)
        return store_refuse(s, REFUSED_FORM);
    put.ttl_s = (uint32_t)(ttl_ms / 1000);
    put.scopes = scopes.at;
    put.nscopes = scopes.n;
    if (store_insert(s, &put) != WRITER_OK)
        return false;
    s->counts.inserted++;
    return !(text->entry.flags & ENTRY_CONFLICT);
}

/* ---- asking ---- */

static enum table_result look(const struct store *s, struct span key)
{
    const struct table *t = writer_table(s->writer);
    struct table_copy copy;

    return table_lookup(t, table_identify(t, key), &copy);
}

void store_fetch(struct store *s, struct span key, void (*done)(void *arg, bool known), void *arg)
{
    enum table_result result = look(s, key);
    struct span version;

    s->counts.fetches++;
    if (result == TABLE_HIT || result == TABLE_CONFLICT) {
        s->counts.fetch_hits++;
        done(arg, result == TABLE_HIT);
    } else if (version_of_key(key, &version)) {
        done(arg, store_version_restore(s, version));
    } else if (s->embedded || !store_clean_key(key) || key.n >= KEY_SIZE || !store_has_lease(s)) {
        done(arg, false);
    } else {
        shared_fetch(s->shared, key, done, arg);
    }
}

void store_forget(struct store *s, void *arg)
{
    if (s->shared)
        shared_forget(s->shared, arg);
    store_forget_names(s, arg);
}
