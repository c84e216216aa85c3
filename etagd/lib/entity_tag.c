/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/entity_tag.h"

static bool is_etagc(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 0x21 && u != '"' && u != 0x7f;
}

/* The length of the longest front part of s that can stand between quotes. */
static size_t etagc_length(struct span s)
{
    size_t n = 0;

    while (n < s.n && is_etagc(s.p[n]))
        n++;
    return n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Scans the tag at the front of s, which begins with it. Returns the bytes up to and including the
 * closing quote; 0 when there is no tag, and *looked says how far the scan went in either case. */
static size_t scan(struct span s, struct entity_tag *out, size_t *looked)
{
    bool weak = span_starts(s, SPAN_LITERAL("W/"));
    size_t open = weak ? 2 : 0, n;

    *looked = open < s.n ? open + 1 : s.n;
    if (open == s.n || s.p[open] != '"')
        return 0;
    n = etagc_length(span_of(s.p + open + 1, s.n - open - 1));
    *looked += n + 1;
    if (open + 1 + n == s.n || s.p[open + 1 + n] != '"')
        return 0;
    out->opaque = span_of(s.p + open + 1, n);
    out->weak = weak;
    return open + n + 2;
}

bool entity_tag_parse(struct span s, struct entity_tag *out)
{
    struct entity_tag tag;
    size_t looked;

    s = span_trim(s);
    if (s.n == 0 || scan(s, &tag, &looked) != s.n)
        return false;
    *out = tag;
    return true;
}

bool entity_tag_eq_weak(const struct entity_tag *a, const struct entity_tag *b)
{
    return span_eq(a->opaque, b->opaque);
}

bool entity_tag_eq_strong(const struct entity_tag *a, const struct entity_tag *b)
{
    return !a->weak && !b->weak && span_eq(a->opaque, b->opaque);
}

size_t entity_tag_format(char *buf, size_t size, const struct entity_tag *tag)
{
    size_t front = tag->weak ? 3 : 1;
    size_t n = tag->opaque.n;

    /* front, the closing quote and the NUL; n last, so that no sum can wrap */
    if (size < front + 2 || n > size - front - 2 || etagc_length(tag->opaque) != n)
        return 0;
    memcpy(buf, tag->weak ? "W/\"" : "\"", front);
    if (n)
        memcpy(buf + front, tag->opaque.p, n);
    memcpy(buf + front + n, "\"", 2);
    return front + n + 1;
}

bool entity_tag_is_ours(struct span opaque)
{
    if (opaque.n != ENTITY_TAG_OURS_LENGTH)
        return false;
    if (opaque.p[0] != 'd' && opaque.p[0] != 'v' && opaque.p[0] != 'g')
        return false;
    for (size_t i = 1; i < opaque.n; i++) {
        char c = opaque.p[i], lower = span_lower(c);

        if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

void entity_tag_list_start(struct entity_tag_list *list, struct span field)
{
    list->rest = field;
    list->malformed = 0;
    list->examined = 0;
}

static void advance(struct entity_tag_list *list, size_t n)
{
    list->rest = span_of(list->rest.p + n, list->rest.n - n);
    list->examined += n;
}

/* To the comma that ends the element, or the end of the field. */
static void skip_element(struct entity_tag_list *list)
{
    size_t n = 0;

    while (n < list->rest.n && list->rest.p[n] != ',')
        n++;
    list->malformed++;
    advance(list, n);
}

static void skip_blanks(struct entity_tag_list *list)
{
    size_t n = 0;

    while (n < list->rest.n && is_blank(list->rest.p[n]))
        n++;
    advance(list, n);
}

bool entity_tag_list_next(struct entity_tag_list *list, struct entity_tag *out)
{
    while (list->rest.n) {
        struct entity_tag tag;
        size_t n, looked;

        if (list->rest.p[0] == ',' || is_blank(list->rest.p[0])) {
            advance(list, 1);
            continue;
        }
        n = scan(list->rest, &tag, &looked);
        list->examined += looked - n;
        advance(list, n);
        if (n) {
            skip_blanks(list);
            if (list->rest.n == 0 || list->rest.p[0] == ',') {
                *out = tag;
                return true;
            }
        }
        /* Behind a tag that closed, its commas are passed; of one that did not, the first one counts. */
        skip_element(list);
    }
    return false;
}

bool entity_tag_list_is_any(struct span field)
{
    return span_eq(span_trim(field), SPAN_LITERAL("*"));
}
