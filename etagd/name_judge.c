/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/name_judge.h"

/* "flags:life in ms" */
static bool read_new(struct span proposal, unsigned *flags, uint64_t *ttl_ms)
{
    const char *colon = proposal.n ? memchr(proposal.p, ':', proposal.n) : NULL;
    uint64_t n;

    if (!colon || !log_number_parse(span_of(proposal.p, (size_t)(colon - proposal.p)), &n) ||
        n & ~(uint64_t)ENTRY_ANY_QUERY)
        return false;
    *flags = (unsigned)n;
    return log_number_parse(span_of(colon + 1, (size_t)(proposal.p + proposal.n - colon - 1)), ttl_ms) &&
           (*ttl_ms == 0 || *ttl_ms >= 1000);
}

bool name_proposal_read(char kind, struct span text, struct name_proposal *out)
{
    *out = (struct name_proposal){.flags = ENTRY_ANY_QUERY};
    return kind == NAME_GENERATION ? read_new(text, &out->flags, &out->ttl_ms)
                                   : name_content_read(text, out->digest, &out->mtime);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The second after t; a stored one is not trusted to have a next. */
static int64_t after(int64_t t)
{
    return t < INT64_MAX ? t + 1 : t;
}

static void judge_generation(const struct name_claim *claim, const struct name_stored *stored,
                             struct name_decision *out)
{
    if (!stored->known || !stored->valid)
        out->verdict = NAME_STORE;
    else if (log_id_cmp(stored->as_of, claim->as_of) <= 0)
        out->verdict = NAME_GIVEN;
    out->stands = out->verdict == NAME_GIVEN;
}

static bool is_settled(const struct name_claim *claim, int64_t since)
{
    return since <= claim->now && claim->now - since >= NAME_SETTLE_S;
}

/* The content is the one that is stored. */
static void judge_same(const struct name_claim *claim, const struct name_stored *stored, struct name_decision *out)
{
    int64_t since = entry_modified_since(&stored->entry);
    bool to_date = stored->entry.last_modified == ENTRY_UNDATED && is_settled(claim, since);

    /* An undated one was stored with a since that is later than whatever stood there before. */
    out->date = to_date ? later(earlier(claim->mtime, claim->now), since) : stored->entry.last_modified;
    out->since = stored->valid ? since : later(claim->now, since);
    out->stands = stored->valid && !to_date && !stored->ageing;
    out->verdict = out->stands ? NAME_GIVEN : NAME_STORE;
}

static void judge_other(const struct name_claim *claim, const struct name_stored *stored, struct name_decision *out)
{
    int64_t since = entry_modified_since(&stored->entry), date = stored->entry.last_modified;
    int64_t least = after(later(since, date)); /* ENTRY_UNDATED is the earliest of all */

    out->date = ENTRY_UNDATED;
    out->since = later(claim->now, least);
    out->verdict = NAME_GIVEN;
    if (!is_settled(claim, since))
        return;
    out->verdict = NAME_STORE;
    out->changed = true;
    if (least <= claim->now)
        out->date = later(earlier(claim->mtime, claim->now), least);
}

static void judge_modified(const struct name_claim *claim, const struct name_stored *stored, struct name_decision *out)
{
    if (!stored->known) {
        out->verdict = NAME_STORE;
        out->date = out->since = claim->now;
    } else if (memcmp(stored->entry.tag.p, claim->digest, DIGEST_SIZE) == 0) {
        judge_same(claim, stored, out);
    } else {
        judge_other(claim, stored, out);
    }
}

void name_judge(const struct name_claim *claim, const struct name_stored *stored, struct name_decision *out)
{
    *out = (struct name_decision){.verdict = NAME_NONE, .date = ENTRY_UNDATED};
    if (claim->covered)
        return;
    if (claim->kind == NAME_GENERATION)
        judge_generation(claim, stored, out);
    else
        judge_modified(claim, stored, out);
}
