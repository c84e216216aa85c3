/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/precondition.h"

#include "etagd/lib/httpdate.h"

enum truth { IS_FALSE, IS_TRUE, IS_ABSENT, IN_DOUBT };

static bool has_tag(const struct precondition_representation *rep)
{
    return rep->exists && rep->tagged;
}

static bool has_date(const struct precondition_representation *rep)
{
    return rep->exists && (rep->modified.is == PRECONDITION_DATED || rep->modified.is == PRECONDITION_NAMED);
}

/* Whether the method asks for the representation: what the client has already is not sent again. */
static bool reads(const struct precondition_request *req)
{
    return req->method == PRECONDITION_GET || req->method == PRECONDITION_QUERY;
}

/* A client's tag as the tag it stands for, and the coding of the bytes it names. */
static struct entity_tag base_of(const struct entity_tag *tag, const struct precondition_representation *rep,
                                 enum coding *c)
{
    struct entity_tag base = *tag;

    *c = CODING_IDENTITY;
    if (rep->coded_variants)
        coding_split(tag, &base, c);
    else
        coding_unseal(tag, &base, c);
    return base;
}

/* 13.1.1. Every coding of a representation of ours is the same state of the resource: who received one
 * of them can write. */
static bool if_match(const struct precondition_request *req, const struct precondition_representation *rep)
{
    struct entity_tag_list list;
    struct entity_tag tag;

    if (entity_tag_list_is_any(req->if_match.value))
        return rep->exists;
    if (!has_tag(rep))
        return false;
    entity_tag_list_start(&list, req->if_match.value);
    while (entity_tag_list_next(&list, &tag)) {
        enum coding c;
        struct entity_tag base = base_of(&tag, rep, &c);

        if (entity_tag_eq_strong(&base, &rep->tag))
            return true;
    }
    return false;
}

/* A 304 must not confirm bytes in a coding that this request would not get; a write must be stopped by
 * whatever name the representation has. */
static bool coding_counts(const struct precondition_request *req, enum coding c)
{
    if (!reads(req) || c == CODING_IDENTITY)
        return true;
    return coding_accepted(req->accept_encoding.value, req->accept_encoding.present, c);
}

/* 13.1.2. Reads the list to its end: the tag of the coding we would send now is the one to repeat. */
static bool if_none_match(const struct precondition_request *req, const struct precondition_representation *rep,
                          struct precondition_outcome *out)
{
    struct entity_tag_list list;
    struct entity_tag tag;
    size_t members = 0;

    if (entity_tag_list_is_any(req->if_none_match.value))
        return !rep->exists;
    entity_tag_list_start(&list, req->if_none_match.value);
    while (entity_tag_list_next(&list, &tag)) {
        enum coding c;
        struct entity_tag base = base_of(&tag, rep, &c);

        members++;
        if (!has_tag(rep) || !entity_tag_eq_weak(&base, &rep->tag) || !coding_counts(req, c))
            continue;
        if (!out->matched.opaque.p || (out->matched_coding != rep->coding && c == rep->coding)) {
            out->matched = tag;
            out->matched_coding = c;
        }
    }
    if (out->matched.opaque.p)
        return false;
    return members > 0 || reads(req);
}

/* Whether the representation is the one of that date. */
static enum truth unmodified_since(const struct precondition_representation *rep, int64_t date)
{
    if (!rep->exists)
        return IS_ABSENT;
    switch (rep->modified.is) {
    case PRECONDITION_DATED:
        return rep->modified.at <= date ? IS_TRUE : IS_FALSE;
    case PRECONDITION_NAMED:
        if (rep->modified.at == date)
            return IS_TRUE;
        return rep->modified.at < date ? IN_DOUBT : IS_FALSE;
    case PRECONDITION_WITHHELD:
        return IN_DOUBT;
    default:
        return IS_ABSENT;
    }
}

/* 13.1.4 */
static enum truth if_unmodified_since(const struct precondition_request *req,
                                      const struct precondition_representation *rep)
{
    int64_t date;

    if (!req->if_unmodified_since.present || !httpdate_parse(req->if_unmodified_since.value, req->now, &date))
        return IS_ABSENT;
    return unmodified_since(rep, date);
}

/* 13.1.3, the other way round: IS_TRUE is what makes a 304. */
static enum truth not_modified_since(const struct precondition_request *req,
                                     const struct precondition_representation *rep)
{
    int64_t date;

    if (!req->if_modified_since.present || !httpdate_parse(req->if_modified_since.value, req->now, &date) ||
        date > req->now)
        return IS_ABSENT;
    return unmodified_since(rep, date);
}

/* 13.1.5. A body that a filter codes on the way has no bytes that a range could count. */
static bool if_range(const struct precondition_request *req, const struct precondition_representation *rep)
{
    struct entity_tag tag;
    int64_t date;

    if (rep->coding != CODING_IDENTITY)
        return false;
    if (entity_tag_parse(req->if_range.value, &tag))
        return has_tag(rep) && entity_tag_eq_strong(&tag, &rep->tag);
    /* 8.8.2.2: within its own second a date is a weak validator. */
    return has_date(rep) && httpdate_parse(req->if_range.value, req->now, &date) && date == rep->modified.at &&
           date < req->now;
}

/* *doubt: a part of what is there now may not be what the client wants to complete. */
static enum precondition_result evaluate(const struct precondition_request *req,
                                         const struct precondition_representation *rep,
                                         struct precondition_outcome *out, bool *doubt)
{
    enum precondition_result none_match_false = reads(req) ? PRECONDITION_NOT_MODIFIED : PRECONDITION_FAILED;

    if (req->if_match.present) {
        if (!if_match(req, rep))
            return PRECONDITION_FAILED;
    } else {
        enum truth unmodified = if_unmodified_since(req, rep);

        *doubt = unmodified == IN_DOUBT;
        if (unmodified == IS_FALSE || (*doubt && req->method == PRECONDITION_UNSAFE))
            return PRECONDITION_FAILED;
    }
    if (req->if_none_match.present)
        return if_none_match(req, rep, out) ? PRECONDITION_PROCEED : none_match_false;
    if (reads(req) && not_modified_since(req, rep) == IS_TRUE)
        return PRECONDITION_NOT_MODIFIED;
    return PRECONDITION_PROCEED;
}

struct precondition_outcome precondition_evaluate(const struct precondition_request *req,
                                                  const struct precondition_representation *rep)
{
    struct precondition_outcome out = {.result = PRECONDITION_PROCEED};
    bool doubt = false;

    if (req->method == PRECONDITION_IGNORE)
        return out;
    out.result = evaluate(req, rep, &out, &doubt);
    if (out.result == PRECONDITION_PROCEED && req->method == PRECONDITION_GET && req->range.present && !doubt)
        out.range = !req->if_range.present || if_range(req, rep);
    return out;
}
