/* SPDX-License-Identifier: Apache-2.0 */
/* One field as everything it could be: a list of entity-tags, a list of codings, a date, a condition. */
#include "etagd/lib/httpdate.h"
#include "etagd/lib/precondition.h"
#include "tests/fuzz/target.h"

static void check_tag(struct span field, const struct entity_tag *tag)
{
    struct entity_tag again, base;
    enum coding c;
    char *text;
    size_t size = tag->opaque.n + 5, n;

    PROMISE(tag->opaque.p > field.p && tag->opaque.p + tag->opaque.n < field.p + field.n);
    text = malloc(size);
    PROMISE(text);
    n = entity_tag_format(text, size, tag);
    PROMISE(n > 0 && entity_tag_parse(span_of(text, n), &again));
    PROMISE(again.weak == tag->weak && entity_tag_eq_weak(&again, tag));
    if (coding_unseal(tag, &base, &c)) {
        n = coding_seal(text, size, base.opaque, c);
        PROMISE(span_eq(span_of(text, n), tag->opaque));
    } else {
        PROMISE(c == CODING_IDENTITY && span_eq(base.opaque, tag->opaque));
    }
    PROMISE(coding_split(tag, &base, &c) || (c == CODING_IDENTITY && span_eq(base.opaque, tag->opaque)));
    PROMISE(base.opaque.n + coding_suffix(c).n == tag->opaque.n);
    free(text);
}

static void check_list(struct span field)
{
    struct entity_tag_list list;
    struct entity_tag tag, alone;
    size_t members = 0;

    entity_tag_list_start(&list, field);
    while (entity_tag_list_next(&list, &tag)) {
        check_tag(field, &tag);
        members++;
    }
    PROMISE(list.rest.n == 0 && list.examined >= field.n && list.examined <= 4 * field.n);
    /* What is one tag is also a list of it. */
    if (entity_tag_parse(field, &alone))
        PROMISE(members == 1 && list.malformed == 0);
    PROMISE(!entity_tag_list_is_any(field) || (members == 0 && list.malformed == 1));
}

static void check_date(struct span field)
{
    char text[HTTPDATE_SIZE];
    int64_t t, again;

    if (!httpdate_parse(field, INT64_C(1767225600), &t))
        return;
    httpdate_format(t, text);
    /* A leap second at the end of 9999 is past what the form can say. */
    PROMISE(text[0] ? httpdate_parse(span_str(text), 0, &again) && again == t : t == INT64_C(253402300800));
}

static void check_condition(struct span field)
{
    const struct precondition_field f = {true, field};
    const struct precondition_representation none = {.exists = false};
    struct precondition_request req = {.method = PRECONDITION_UNSAFE, .if_match = f};
    struct precondition_outcome out;

    /* Nothing holds of what does not exist. */
    PROMISE(precondition_evaluate(&req, &none).result == PRECONDITION_FAILED);
    req = (struct precondition_request){.method = PRECONDITION_GET, .if_none_match = f, .if_modified_since = f};
    PROMISE(precondition_evaluate(&req, &none).result == PRECONDITION_PROCEED);
    req = (struct precondition_request){.method = PRECONDITION_GET, .if_range = f, .range = f};
    out = precondition_evaluate(&req, &none);
    PROMISE(out.result == PRECONDITION_PROCEED && !out.range);
}

FUZZ_TARGET(tags)
{
    struct span field = fuzz_span(data, size);

    check_list(field);
    check_date(field);
    check_condition(field);
    for (int c = 0; c < CODING_COUNT; c++)
        coding_accepted(field, true, (enum coding)c);
    return 0;
}
