/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: the first node that needs one gives it, all others take it over. What may be carried is judged in
 * name_judge.c, here and again on every answer of the store, because the log may have moved on meanwhile.
 */
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/fields.h"
#include "etagd/name_judge.h"
#include "etagd/store_state.h"

#define CALLS_MAX 1024u
#define ROUNDS_MAX 4 /* others were faster each time: then this response carries no name */
#define NAME_TEXT 64

struct name_call {
    struct name_call *next;
    struct store *store;
    void (*done)(void *arg, struct span name, const char *error); /* NULL: forgotten */
    void *arg;
    uint64_t generation, seq;
    struct name_proposal proposal;
    int rounds;
    struct name_claim claim;
    struct name_decision decision; /* what is being stored */
    uint8_t made[ENTRY_MODIFIED_SIZE];
    struct fields *words; /* the key, tags, groups */
    size_t ntags, ngroups;
    struct span key; /* with its variant */
    char key_text[KEY_SIZE];
};

/* ---- the question ---- */

/* NULL: sound. */
static const char *fault_of(const struct store *s, const struct store_name *ask, struct name_proposal *proposal)
{
    if (!store_clean_key(ask->key) || memchr(ask->key.p, '#', ask->key.n))
        return "the key is not canonical";
    if (ask->key.n + NAME_VARIANT_SIZE >= KEY_SIZE)
        return "the key is too long";
    if (ask->generation == writer_generation(s->writer) && ask->seq > writer_seq(s->writer))
        return "the position is from the future";
    if (ask->kind != NAME_GENERATION && ask->kind != NAME_MODIFIED)
        return "the kind is none of g, m";
    if (ask->kind == NAME_MODIFIED && (ask->ntags || ask->ngroups))
        return "a content's date has no labels";
    if (!name_proposal_read(ask->kind, ask->proposal, proposal))
        return ask->kind == NAME_GENERATION ? "expected flags:life, flags 0 or 2, a life of 0 or at least 1000"
                                            : "expected digest:mtime";
    return NULL;
}

/* ---- the answer ---- */

static void free_call(struct name_call *call)
{
    free(call->words);
    free(call);
}

/* Takes the call out of sight before anybody hears of it: who hears may forget others. */
static void finish(struct name_call *call, struct span name)
{
    struct store *s = call->store;
    struct name_call **at = &s->naming;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    s->nnaming--;
    s->counts.name_gives += name.p != NULL;
    if (call->done)
        call->done(call->arg, name, NULL);
    free_call(call);
}

static void finish_without(struct name_call *call)
{
    finish(call, span_of(NULL, 0));
}

static void finish_generation(struct name_call *call, const uint8_t *name)
{
    char text[NAME_TEXT];

    finish(call, span_of(text, digest_base64url(name, DIGEST_BASE_SIZE, text)));
}

static void finish_modified(struct name_call *call, const struct name_decision *d)
{
    char text[NAME_TEXT];
    int n = d->date == ENTRY_UNDATED ? snprintf(text, sizeof text, "- %" PRId64, d->since)
                                     : snprintf(text, sizeof text, "%" PRId64 " %" PRId64, d->date, d->since);

    finish(call, span_of(text, (size_t)n));
}

static void finish_with(struct name_call *call, const struct name_decision *d, const uint8_t *name)
{
    if (call->claim.kind == NAME_GENERATION)
        finish_generation(call, name);
    else
        finish_modified(call, d);
}

void store_forget_names(struct store *s, const void *arg)
{
    for (struct name_call *call = s->naming; call; call = call->next)
        if (call->arg == arg)
            call->done = NULL;
}

/* ---- what is made ---- */

static const struct span *tags_of(const struct name_call *call)
{
    return call->words->at + 1;
}

static const struct span *groups_of(const struct name_call *call)
{
    return call->words->at + 1 + call->ntags;
}

/* Dates outlive tags: the longer one is known the better, and no promise of a time is bound to it. */
static uint64_t life_of(const struct name_call *call)
{
    const struct store *s = call->store;
    uint64_t longest = store_longest_ms(s), ttl_ms = call->proposal.ttl_ms;

    if (ttl_ms == 0)
        ttl_ms = call->claim.kind == NAME_MODIFIED ? longest : s->conf->tag_ttl_ms;
    return ttl_ms < longest ? ttl_ms : longest;
}

static unsigned flags_of(const struct name_call *call)
{
    return call->proposal.flags | (call->claim.kind == NAME_GENERATION ? ENTRY_WEAK : 0u);
}

/* The entry that the decision asks for; it points into the call. */
static bool make(struct name_call *call, const struct name_decision *d, struct entry *out)
{
    call->decision = *d;
    *out = (struct entry){.kind = ENTRY_GENERATION, .flags = flags_of(call), .last_modified = ENTRY_UNDATED};
    if (call->claim.kind == NAME_GENERATION) {
        out->tag = span_of((const char *)call->made, DIGEST_BASE_SIZE);
        return RAND_bytes(call->made, DIGEST_BASE_SIZE) == 1;
    }
    entry_modified_tag(call->made, call->proposal.digest, d->since);
    out->kind = ENTRY_MODIFIED;
    out->last_modified = d->date;
    out->tag = span_of((const char *)call->made, ENTRY_MODIFIED_SIZE);
    return true;
}

/* Into the table, as of seq: every response begun there or later may carry it. The scopes are those of the claim
 * just stated. */
static void insert(const struct name_call *call, const struct entry *entry, uint64_t seq, uint64_t ttl_ms)
{
    const struct scope_list *scopes = &call->store->name_scopes;
    uint64_t longest = store_longest_ms(call->store);
    uint8_t value[ENTRY_SIZE];
    struct writer_put put = {
        .key = call->key,
        .seq = seq,
        .ttl_s = (uint32_t)((ttl_ms < longest ? ttl_ms : longest) / 1000),
        .scopes = scopes->at,
        .nscopes = scopes->n,
        .value = span_of((const char *)value, entry_encode(value, sizeof value, entry)),
    };

    if (put.value.n && put.ttl_s)
        store_insert(call->store, &put);
}

static void append_changed(struct name_call *call)
{
    const struct span fields[] = {SPAN_LITERAL("url"), call->words->at[0], SPAN_LITERAL("why"),
                                  SPAN_LITERAL("content")};
    char id[LOG_ID_TEXT];

    store_append(call->store, fields, 4, id);
}

/* ---- judging ---- */

/* The claim as the log is now, and its scopes into name_scopes. False: the snapshot means nothing any more, or
 * what was begun there is covered. */
static bool state_claim(struct name_call *call)
{
    struct store *s = call->store;
    struct scope_list *scopes = &s->name_scopes;

    if (!store_place(s, call->generation, call->seq, &call->claim.as_of))
        return false;
    if (!store_scopes(s, scopes, call->words->at[0], flags_of(call), tags_of(call), call->ntags, groups_of(call),
                      call->ngroups))
        return store_refuse(s, REFUSED_LONG);
    call->claim.covered = positions_covered(s->positions, scopes->at, scopes->n, call->claim.as_of);
    return !call->claim.covered || store_refuse(s, REFUSED_COVERED);
}

/* Never below the log, whose ids come from the same clock, nor below what an earlier name was judged by. */
static void set_clock(struct name_call *call, uint64_t ms)
{
    struct store *s = call->store;
    uint64_t log_ms = s->shared ? coherence_position(shared_coherence(s->shared)).ms : embedded_last(s->embedded).ms;

    if (ms < log_ms)
        ms = log_ms;
    if (s->name_ms < ms)
        s->name_ms = ms;
    call->claim.now = (int64_t)(s->name_ms / 1000);
}

static enum entry_kind kind_of(const struct name_call *call)
{
    return call->claim.kind == NAME_GENERATION ? ENTRY_GENERATION : ENTRY_MODIFIED;
}

/* ---- the table ---- */

static enum table_result look(const struct name_call *call, struct table_copy *copy)
{
    const struct table *t = writer_table(call->store->writer);
    enum table_result result = table_lookup_unleased(t, table_identify(t, call->key), copy);

    if (result == TABLE_MISS || result == TABLE_VOID || copy->entry.kind == kind_of(call))
        return result;
    return TABLE_MISS;
}

/* Whether the node's own table answers: a name that this response is young enough for. */
static bool answer_from_table(struct name_call *call)
{
    struct table_copy copy;
    struct name_decision d;

    if (look(call, &copy) != TABLE_HIT || copy.seq > call->seq)
        return false;
    if (call->claim.kind == NAME_MODIFIED && (memcmp(copy.entry.tag.p, call->proposal.digest, DIGEST_SIZE) != 0 ||
                                              copy.entry.last_modified == ENTRY_UNDATED))
        return false;
    d = (struct name_decision){.date = copy.entry.last_modified};
    if (call->claim.kind == NAME_MODIFIED)
        d.since = entry_modified_since(&copy.entry);
    call->store->counts.name_table_hits++;
    finish_with(call, &d, (const uint8_t *)copy.entry.tag.p);
    return true;
}

/* Without other nodes the table is the store, and nothing happens between a look and a change. */
static void decide_embedded(struct name_call *call)
{
    struct store *s = call->store;
    struct table_copy copy;
    struct name_stored stored = {0};
    struct name_decision d;
    struct entry made;
    enum table_result result = look(call, &copy);
    uint64_t seq = call->seq;

    if (result != TABLE_MISS && result != TABLE_VOID) {
        stored = (struct name_stored){.known = true, .valid = result == TABLE_HIT, .entry = copy.entry};
        /* Not covered since the response began, so nothing lies between the two. */
        stored.as_of = call->claim.as_of;
    }
    set_clock(call, clock_ns(CLOCK_REALTIME) / 1000000);
    name_judge(&call->claim, &stored, &d);
    if (d.verdict == NAME_NONE) {
        finish_without(call);
        return;
    }
    if (d.verdict == NAME_GIVEN) {
        finish_with(call, &d, (const uint8_t *)copy.entry.tag.p);
        return;
    }
    if (!make(call, &d, &made)) {
        finish_without(call);
        return;
    }
    if (d.changed) {
        append_changed(call);
        seq = writer_seq(s->writer); /* nothing else has covered it: it is true as of now */
    }
    insert(call, &made, seq, life_of(call));
    s->counts.name_makes++;
    finish_with(call, &d, call->made);
}

/* ---- Redis ---- */

static void on_stored(void *arg, const struct shared_name *there);

static void put_in_place(struct name_call *call, const struct name_decision *d, struct span judged)
{
    struct store *s = call->store;
    struct entry_text *t = &s->text;
    struct entry made;

    if (call->rounds++ == ROUNDS_MAX || !make(call, d, &made)) {
        finish_without(call);
        return;
    }
    /* First, and in order: other nodes may hold what is replaced. Should it not be replaced after all, they
     * only ask once more. */
    if (d->changed)
        append_changed(call);
    t->as_of = call->claim.as_of;
    t->entry = made;
    t->ntags = call->ntags;
    t->ngroups = call->ngroups;
    memcpy(t->tags, tags_of(call), call->ntags * sizeof *t->tags);
    memcpy(t->groups, groups_of(call), call->ngroups * sizeof *t->groups);
    if (!shared_name(s->shared, call->key, judged, t, life_of(call), on_stored, call))
        finish_without(call);
}

/* What is stored now is what this call has made. */
static void take_mine(struct name_call *call)
{
    struct store *s = call->store;
    struct entry made = {.kind = kind_of(call), .flags = flags_of(call), .last_modified = call->decision.date};

    const bool holds = state_claim(call);

    s->counts.name_makes++;
    /* A change is covered by its own record: it is good for this response alone. */
    if (!holds && !(call->decision.changed && store_has_lease(s))) {
        finish_without(call);
        return;
    }
    made.tag =
        span_of((const char *)call->made, call->claim.kind == NAME_GENERATION ? DIGEST_BASE_SIZE : ENTRY_MODIFIED_SIZE);
    if (holds)
        insert(call, &made, call->seq, life_of(call));
    finish_with(call, &call->decision, call->made);
}

/* What is stored was made by another call or node, or nothing is. */
static void judge_stored(struct name_call *call, const struct shared_name *there)
{
    struct store *s = call->store;
    const struct coherence *c = shared_coherence(s->shared);
    const struct scope_list *scopes = &s->name_scopes;
    struct entry_text *t = &s->text;
    struct name_stored stored = {0};
    struct name_decision d;

    if (!state_claim(call)) {
        finish_without(call);
        return;
    }
    stored.known = there->ttl_ms && entry_text_read(there->value, t) && t->entry.kind == kind_of(call) &&
                   !(t->entry.flags & ENTRY_CONFLICT) && span_eq(t->epoch, span_str(coherence_epoch(c)));
    if (stored.known) {
        stored.as_of = t->as_of;
        stored.entry = t->entry;
        stored.valid = log_id_cmp(t->as_of, coherence_floor(c)) >= 0 &&
                       !positions_covered(s->positions, scopes->at, scopes->n, t->as_of);
        stored.ageing = there->ttl_ms < life_of(call) / 2;
    }
    name_judge(&call->claim, &stored, &d);
    switch (d.verdict) {
    case NAME_NONE:
        finish_without(call);
        return;
    case NAME_GIVEN:
        if (d.stands && log_id_cmp(t->as_of, call->claim.as_of) <= 0)
            insert(call, &t->entry, call->seq, there->ttl_ms);
        finish_with(call, &d, (const uint8_t *)t->entry.tag.p);
        return;
    case NAME_STORE:
        put_in_place(call, &d, there->value);
        return;
    }
}

static void on_stored(void *arg, const struct shared_name *there)
{
    struct name_call *call = arg;

    if (!there) {
        finish_without(call);
        return;
    }
    set_clock(call, there->now_ms);
    if (there->mine)
        take_mine(call);
    else
        judge_stored(call, there);
}

/* ---- asking ---- */

static struct name_call *begin(struct store *s, const struct store_name *ask, const struct name_proposal *proposal,
                               struct span variant)
{
    struct name_call *call = s->nnaming < CALLS_MAX ? calloc(1, sizeof *call) : NULL;
    size_t n = 1 + ask->ntags + ask->ngroups;
    struct span words[1 + NAME_LABELS_MAX];

    if (!call)
        return NULL;
    words[0] = ask->key;
    if (ask->ntags)
        memcpy(words + 1, ask->tags, ask->ntags * sizeof *words);
    if (ask->ngroups)
        memcpy(words + 1 + ask->ntags, ask->groups, ask->ngroups * sizeof *words);
    call->words = fields_copy(words, n);
    if (!call->words) {
        free(call);
        return NULL;
    }
    call->store = s;
    call->generation = ask->generation;
    call->seq = ask->seq;
    call->proposal = *proposal;
    call->claim.kind = ask->kind;
    call->ntags = ask->ntags;
    call->ngroups = ask->ngroups;
    call->key = store_join(call->key_text, ask->key, variant);
    call->claim.digest = call->proposal.digest;
    call->claim.mtime = proposal->mtime;
    call->next = s->naming;
    s->naming = call;
    s->nnaming++;
    return call;
}

/* A new name for a generation is offered at once: where there is none yet, one journey will do. A date needs the
 * server's clock first. */
static void ask_redis(struct name_call *call)
{
    struct name_decision new = {.verdict = NAME_STORE};

    if (call->claim.kind == NAME_GENERATION)
        put_in_place(call, &new, span_of("", 0));
    else if (!shared_name(call->store->shared, call->key, span_of("", 0), NULL, 0, on_stored, call))
        finish_without(call);
}

void store_name(struct store *s, const struct store_name *ask,
                void (*done)(void *arg, struct span name, const char *error), void *arg)
{
    struct name_proposal proposal;
    const char *fault = fault_of(s, ask, &proposal);
    char variant[NAME_VARIANT_SIZE];
    struct name_call *call;

    if (fault) {
        s->counts.refused_bad++;
        done(arg, span_of(NULL, 0), fault);
        return;
    }
    s->counts.name_asks++;
    call = name_variant(s->digest, ask->kind, proposal.flags, ask->tags, ask->ntags, ask->groups, ask->ngroups, variant)
               ? begin(s, ask, &proposal, span_str(variant))
               : NULL;
    if (!call) {
        done(arg, span_of(NULL, 0), NULL);
        return;
    }
    call->done = done;
    call->arg = arg;
    if (!state_claim(call))
        finish_without(call);
    else if (answer_from_table(call))
        return;
    else if (s->embedded)
        decide_embedded(call);
    else
        ask_redis(call);
}
