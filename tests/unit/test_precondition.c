/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two independent judges of precondition.c: a table of cases written by hand, and an oracle that
 * follows RFC 9110 13.2.2 step by step on fields whose meaning is known beforehand, so that it parses
 * nothing and shares nothing with the code under test. The oracle judges every combination.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "etagd/lib/precondition.h"
#include "tests/unit/exact.h"
#include "tests/unit/precondition_cases.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- what a field means ---- */

enum member { SAME, OTHER }; /* the representation's tag, with a suffix perhaps, or another one */

struct list_field {
    const char *text; /* "@" stands for the representation's opaque tag; NULL: absent */
    bool any;
    size_t n; /* well-formed members */
    struct {
        enum member is;
        bool weak;
        enum coding suffix;
    } member[3];
};

static const struct list_field list_fields[] = {
    {.text = NULL},
    {.text = "*", .any = true},
    {.text = ""},
    {.text = "abc"},
    {.text = "\"@"},
    {.text = "\"@\"", .n = 1, .member = {{SAME, false, CODING_IDENTITY}}},
    {.text = "W/\"@\"", .n = 1, .member = {{SAME, true, CODING_IDENTITY}}},
    {.text = "\"x@\"", .n = 1, .member = {{OTHER, false, CODING_IDENTITY}}},
    {.text = "*, \"x@\"", .n = 1, .member = {{OTHER, false, CODING_IDENTITY}}},
    {.text = "abc, \"@\"", .n = 1, .member = {{SAME, false, CODING_IDENTITY}}},
    {.text = "\"x@\", W/\"@\",\"@\"",
     .n = 3,
     .member = {{OTHER, false, CODING_IDENTITY}, {SAME, true, CODING_IDENTITY}, {SAME, false, CODING_IDENTITY}}},
    {.text = "\"@-gzip\"", .n = 1, .member = {{SAME, false, CODING_GZIP}}},
    {.text = "W/\"@-gzip\"", .n = 1, .member = {{SAME, true, CODING_GZIP}}},
    {.text = "\"@-br\", \"@-gzip\"", .n = 2, .member = {{SAME, false, CODING_BR}, {SAME, false, CODING_GZIP}}},
};

struct date_field {
    const char *text;
    bool valid;
    int64_t date;
};

static const struct date_field date_fields[] = {
    {NULL, false, 0},
    {DATE_BEFORE, true, MODIFIED - 86400},
    {DATE_MODIFIED, true, MODIFIED},
    {DATE_AFTER, true, MODIFIED + 43200},
    {DATE_FUTURE, true, NOW + 86400},
    {"yesterday", false, 0},
    {DATE_AFTER ", " DATE_AFTER, false, 0},
};

struct range_field {
    bool range;
    const char *if_range;
    enum { NOTHING, TAG_STRONG, DATE_SAME } names; /* what a true If-Range names */
};

static const struct range_field range_fields[] = {
    {false, NULL, NOTHING},        {false, "\"@\"", TAG_STRONG},
    {true, NULL, NOTHING},         {true, "\"@\"", TAG_STRONG},
    {true, "W/\"@\"", NOTHING},    {true, "\"x@\"", NOTHING},
    {true, "\"@-gzip\"", NOTHING}, {true, "\"@\", \"@\"", NOTHING},
    {true, "@", NOTHING},          {true, DATE_MODIFIED, DATE_SAME},
    {true, DATE_AFTER, NOTHING},   {true, DATE_BEFORE, NOTHING},
    {true, "", NOTHING},
};

struct accept_field {
    const char *text;
    bool admits[CODING_COUNT];
};

static const struct accept_field accept_fields[] = {
    {NULL, {true, false, false, false}},
    {"gzip", {true, true, false, false}},
    {"gzip;q=0, br", {true, false, true, false}},
    {"br, gzip", {true, true, true, false}},
};

static const struct precondition_representation reps[] = {
    /* what is left of a representation that is gone must not be compared */
    {.exists = false, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true, .tagged = true, .tag = TAG("s1", true), .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true, .tagged = true, .tag = TAG("s1", false)},
    {.exists = true, .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true},
    {.exists = true,
     .tagged = true,
     .tag = TAG(OURS, false),
     .coded_variants = true,
     .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true,
     .tagged = true,
     .tag = TAG(OURS, false),
     .coded_variants = true,
     .coding = CODING_GZIP,
     .modified = {PRECONDITION_DATED, MODIFIED}},
    {.exists = true, .tagged = true, .tag = TAG(OURS, true), .coded_variants = true, .coding = CODING_BR},
    {.exists = true, .tagged = true, .tag = TAG(OURS, false), .coded_variants = false, .coding = CODING_GZIP},
    {.exists = true, .modified = {PRECONDITION_NAMED, MODIFIED}},
    {.exists = true,
     .tagged = true,
     .tag = TAG(OURS, false),
     .coded_variants = true,
     .modified = {PRECONDITION_NAMED, MODIFIED}},
    {.exists = true,
     .tagged = true,
     .tag = TAG(OURS, false),
     .coded_variants = true,
     .modified = {PRECONDITION_WITHHELD, MODIFIED}},
    {.exists = false, .modified = {PRECONDITION_WITHHELD, MODIFIED}},
};

/* ---- the oracle ---- */

struct combination {
    const struct precondition_representation *rep;
    enum precondition_method method;
    const struct list_field *if_match, *if_none_match;
    const struct date_field *if_unmodified_since, *if_modified_since;
    const struct range_field *range;
    const struct accept_field *accept;
};

/* RFC 10008 2.6: a conditional QUERY is a conditional GET of what its result represents. */
static bool oracle_reads(const struct combination *c)
{
    return c->method == PRECONDITION_GET || c->method == PRECONDITION_QUERY;
}

/* Whether member i names the representation: 8.8.3.2, and a coding only where tags are ours. */
static bool names(const struct combination *c, const struct list_field *f, size_t i, bool strong)
{
    if (!c->rep->exists || !c->rep->tagged || f->member[i].is == OTHER)
        return false;
    if (f->member[i].suffix != CODING_IDENTITY && !c->rep->coded_variants)
        return false;
    return !strong || (!c->rep->tag.weak && !f->member[i].weak);
}

static bool oracle_if_match(const struct combination *c)
{
    if (c->if_match->any)
        return c->rep->exists;
    for (size_t i = 0; i < c->if_match->n; i++)
        if (names(c, c->if_match, i, true))
            return true;
    return false;
}

/* -1: no member matches; else the member a 304 repeats. */
static int oracle_none_match_member(const struct combination *c)
{
    int first = -1;

    for (size_t i = 0; i < c->if_none_match->n; i++) {
        enum coding suffix = c->if_none_match->member[i].suffix;

        if (!names(c, c->if_none_match, i, false))
            continue;
        if (oracle_reads(c) && suffix != CODING_IDENTITY && !c->accept->admits[suffix])
            continue;
        if (suffix == c->rep->coding)
            return (int)i;
        if (first < 0)
            first = (int)i;
    }
    return first;
}

static bool oracle_if_none_match(const struct combination *c, int *member)
{
    *member = -1;
    if (c->if_none_match->any)
        return !c->rep->exists;
    *member = oracle_none_match_member(c);
    if (*member >= 0)
        return false;
    return oracle_reads(c) || c->if_none_match->n > 0;
}

static bool oracle_if_range(const struct combination *c)
{
    if (c->rep->coding != CODING_IDENTITY || !c->rep->exists)
        return false;
    if (c->range->names == TAG_STRONG)
        return c->rep->tagged && !c->rep->tag.weak;
    return c->range->names == DATE_SAME &&
           (c->rep->modified.is == PRECONDITION_DATED || c->rep->modified.is == PRECONDITION_NAMED);
}

/* What a valid date says of the representation: nothing ("-", the condition does not apply), same,
 * older or newer than the date ("=", "<", ">": the RFC's word), doubt ("?"). */
static char oracle_date(const struct combination *c, const struct date_field *f)
{
    /* in the order of enum precondition_dates; the field is before, equal to, after the date of modification */
    static const char verdicts[][4] = {"---", ">=<", ">=?", "???"};

    if (!f->valid || !c->rep->exists)
        return '-';
    return verdicts[c->rep->modified.is][f->date < MODIFIED ? 0 : f->date == MODIFIED ? 1 : 2];
}

static enum precondition_result oracle(const struct combination *c, bool *range, int *member)
{
    bool get = c->method == PRECONDITION_GET, reads = oracle_reads(c), whole = false;

    *range = false;
    *member = -1;
    if (c->method == PRECONDITION_IGNORE) /* 13.2.1 */
        return PRECONDITION_PROCEED;
    /* 1. When recipient is the origin server and If-Match is present ... */
    if (c->if_match->text) {
        if (!oracle_if_match(c))
            return PRECONDITION_FAILED;
    }
    /* 2. ... If-Match is not present, and If-Unmodified-Since is present ... */
    if (!c->if_match->text) {
        char is = oracle_date(c, c->if_unmodified_since);

        if (is == '>' || (is == '?' && c->method == PRECONDITION_UNSAFE))
            return PRECONDITION_FAILED;
        whole = is == '?';
    }
    /* 3. When If-None-Match is present ... */
    if (c->if_none_match->text) {
        if (!oracle_if_none_match(c, member))
            return reads ? PRECONDITION_NOT_MODIFIED : PRECONDITION_FAILED;
    }
    /* 4. When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is ... */
    if (reads && !c->if_none_match->text && c->if_modified_since->date <= NOW) {
        char is = oracle_date(c, c->if_modified_since);

        if (is == '=' || is == '<')
            return PRECONDITION_NOT_MODIFIED;
    }
    /* 5. When the method is GET and both Range and If-Range are present ... */
    if (get && c->range->range && !whole)
        *range = !c->range->if_range || oracle_if_range(c);
    /* 6. Otherwise, perform the requested method. */
    return PRECONDITION_PROCEED;
}

/* ---- every combination ---- */

static struct precondition_field make(const char *text, const struct precondition_representation *rep)
{
    struct precondition_field f = {.present = text != NULL};
    struct span opaque = rep->tagged ? rep->tag.opaque : span_str("s1");
    char out[256];
    size_t n = 0;

    for (const char *p = text ? text : ""; *p; p++) {
        if (*p != '@') {
            out[n++] = *p;
            continue;
        }
        memcpy(out + n, opaque.p, opaque.n);
        n += opaque.n;
    }
    f.value = exact(out, n);
    return f;
}

/* The fields' texts for one representation, each in a block of exactly its size. */
struct texts {
    struct precondition_field list[COUNT(list_fields)], date[COUNT(date_fields)], if_range[COUNT(range_fields)],
        accept[COUNT(accept_fields)];
};

static void texts_make(struct texts *t, const struct precondition_representation *rep)
{
    for (size_t i = 0; i < COUNT(list_fields); i++)
        t->list[i] = make(list_fields[i].text, rep);
    for (size_t i = 0; i < COUNT(date_fields); i++)
        t->date[i] = make(date_fields[i].text, rep);
    for (size_t i = 0; i < COUNT(range_fields); i++)
        t->if_range[i] = make(range_fields[i].if_range, rep);
    for (size_t i = 0; i < COUNT(accept_fields); i++)
        t->accept[i] = make(accept_fields[i].text, rep);
}

static void texts_free(struct texts *t)
{
    struct precondition_field *f = (struct precondition_field *)t;

    for (size_t i = 0; i < sizeof(*t) / sizeof(*f); i++)
        exact_free(f[i].value);
}

static const char *show(const char *text)
{
    return text ? text : "absent";
}

static void complain(const struct combination *c, const struct precondition_outcome *got, int result, bool range,
                     int member)
{
    fail_msg("representation %td, method %d, If-Match %s, If-Unmodified-Since %s, If-None-Match %s, "
             "If-Modified-Since %s, Range %d, If-Range %s, Accept-Encoding %s: result %d range %d matched %.*s; "
             "wanted %d, %d, member %d",
             c->rep - reps, c->method, show(c->if_match->text), show(c->if_unmodified_since->text),
             show(c->if_none_match->text), show(c->if_modified_since->text), c->range->range, show(c->range->if_range),
             show(c->accept->text), got->result, got->range, (int)got->matched.opaque.n,
             got->matched.opaque.p ? got->matched.opaque.p : "", result, range, member);
}

/* The tag that was repeated is the very bytes the client sent, in the right member. */
static bool repeats(const struct precondition_outcome *got, const struct combination *c, int member, struct span sent)
{
    struct span suffix, opaque = got->matched.opaque;

    if (member < 0)
        return opaque.p == NULL;
    suffix = coding_suffix(c->if_none_match->member[member].suffix);
    return opaque.p > sent.p && opaque.p + opaque.n < sent.p + sent.n &&
           got->matched.weak == c->if_none_match->member[member].weak &&
           got->matched_coding == c->if_none_match->member[member].suffix &&
           opaque.n == c->rep->tag.opaque.n + suffix.n &&
           memcmp(opaque.p, c->rep->tag.opaque.p, c->rep->tag.opaque.n) == 0 &&
           memcmp(opaque.p + c->rep->tag.opaque.n, suffix.p, suffix.n) == 0;
}

static void judge(const struct combination *c, const struct texts *t)
{
    const struct precondition_field *none_match = &t->list[c->if_none_match - list_fields];
    const struct precondition_request req = {
        .method = c->method,
        .if_match = t->list[c->if_match - list_fields],
        .if_none_match = *none_match,
        .if_modified_since = t->date[c->if_modified_since - date_fields],
        .if_unmodified_since = t->date[c->if_unmodified_since - date_fields],
        .if_range = t->if_range[c->range - range_fields],
        .range = {.present = c->range->range, .value = SPAN_LITERAL("bytes=0-1")},
        .accept_encoding = t->accept[c->accept - accept_fields],
        .now = NOW,
    };
    struct precondition_outcome got = precondition_evaluate(&req, c->rep);
    bool range;
    int member;
    enum precondition_result result = oracle(c, &range, &member);

    if (got.result != result || got.range != range || !repeats(&got, c, member, none_match->value))
        complain(c, &got, (int)result, range, member);
}

static const enum precondition_method methods[] = {PRECONDITION_GET, PRECONDITION_IGNORE, PRECONDITION_QUERY,
                                                   PRECONDITION_SAFE, PRECONDITION_UNSAFE};

/* For one representation and method: all four conditionals, all codings. Range rides along in turn. */
static size_t judge_conditionals(struct combination *c, const struct texts *t)
{
    size_t done = 0;

    for (size_t m = 0; m < COUNT(list_fields); m++)
        for (size_t u = 0; u < COUNT(date_fields); u++)
            for (size_t n = 0; n < COUNT(list_fields); n++)
                for (size_t s = 0; s < COUNT(date_fields); s++)
                    for (size_t a = 0; a < COUNT(accept_fields); a++) {
                        c->if_match = &list_fields[m];
                        c->if_unmodified_since = &date_fields[u];
                        c->if_none_match = &list_fields[n];
                        c->if_modified_since = &date_fields[s];
                        c->accept = &accept_fields[a];
                        c->range = &range_fields[done++ % COUNT(range_fields)];
                        judge(c, t);
                    }
    return done;
}

static void test_every_combination(void **state)
{
    size_t done = 0;

    (void)state;
    for (size_t r = 0; r < COUNT(reps); r++) {
        struct texts t;

        texts_make(&t, &reps[r]);
        for (size_t m = 0; m < COUNT(methods); m++) {
            struct combination c = {.rep = &reps[r], .method = methods[m]};

            done += judge_conditionals(&c, &t);
        }
        texts_free(&t);
    }
    assert_true(done > 1000000);
}

static void test_every_range(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT(reps); r++) {
        struct texts t;

        texts_make(&t, &reps[r]);
        for (size_t i = 0; i < COUNT(range_fields) * COUNT(methods) * COUNT(accept_fields); i++) {
            struct combination c = {.rep = &reps[r],
                                    .if_match = list_fields,
                                    .if_none_match = list_fields,
                                    .if_modified_since = date_fields,
                                    .if_unmodified_since = date_fields};

            c.range = &range_fields[i % COUNT(range_fields)];
            c.method = methods[i / COUNT(range_fields) % COUNT(methods)];
            c.accept = &accept_fields[i / COUNT(range_fields) / COUNT(methods)];
            judge(&c, &t);
        }
        texts_free(&t);
    }
}

/* ---- the table written by hand ---- */

static struct precondition_field field(const char *text)
{
    return (struct precondition_field){text != NULL, exact_str(text ? text : "")};
}

static void test_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hand); i++) {
        struct precondition_request req = {
            .method = hand[i].method,
            .if_match = field(hand[i].if_match),
            .if_unmodified_since = field(hand[i].if_unmodified_since),
            .if_none_match = field(hand[i].if_none_match),
            .if_modified_since = field(hand[i].if_modified_since),
            .accept_encoding = field("gzip"),
            .now = NOW,
        };
        struct precondition_outcome got = precondition_evaluate(&req, &hand_reps[hand[i].rep]);

        if (got.result != hand[i].result || got.range)
            fail_msg("%s (case %zu): %d, wanted %d", hand[i].why, i, got.result, hand[i].result);
        exact_free(req.if_match.value);
        exact_free(req.if_unmodified_since.value);
        exact_free(req.if_none_match.value);
        exact_free(req.if_modified_since.value);
        exact_free(req.accept_encoding.value);
    }
}

/* A date within its own second may hide a second change: it is no strong validator yet. */
static void test_if_range_date_needs_age(void **state)
{
    const struct precondition_representation rep = {.exists = true, .modified = {PRECONDITION_DATED, MODIFIED}};
    struct precondition_request req = {
        .method = PRECONDITION_GET,
        .if_range = {true, SPAN_LITERAL(DATE_MODIFIED)},
        .range = {true, SPAN_LITERAL("bytes=0-1")},
        .now = MODIFIED,
    };

    (void)state;
    assert_false(precondition_evaluate(&req, &rep).range);
    req.now = MODIFIED + 1;
    assert_true(precondition_evaluate(&req, &rep).range);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_every_range),
        cmocka_unit_test(test_if_range_date_needs_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
