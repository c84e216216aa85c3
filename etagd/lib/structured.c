/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/structured.h"

#define INTEGER_DIGITS 15 /* 3.3.1 */
#define WHOLE_DIGITS 12 /* of a Decimal, 3.3.2 */
#define FRACTION_DIGITS 3

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return is_lower(span_lower(c));
}

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

/* The first byte, '\0' at the end; a NUL in a field is nothing that any rule below takes. */
static char peek(const struct span *s)
{
    return s->n ? *s->p : '\0';
}

static void skip(struct span *s, size_t n)
{
    *s = span_of(s->p + n, s->n - n);
}

static bool take(struct span *s, char c)
{
    if (peek(s) != c || !s->n)
        return false;
    skip(s, 1);
    return true;
}

static void skip_spaces(struct span *s)
{
    while (take(s, ' '))
        ;
}

static void skip_blanks(struct span *s)
{
    while (take(s, ' ') || take(s, '\t'))
        ;
}

static struct span since(const char *begin, const struct span *s)
{
    return span_of(begin, (size_t)(s->p - begin));
}

/* --- bare items, 4.2.3.1 --- */

/* Takes digits; returns how many. Past the number's limit its value has no meaning. */
static size_t digits(struct span *s, int64_t *value)
{
    size_t n = 0;

    for (*value = 0; is_digit(peek(s)); n++) {
        if (n < INTEGER_DIGITS)
            *value = *value * 10 + (*s->p - '0');
        skip(s, 1);
    }
    return n;
}

/* 4.2.4 */
static bool read_number(struct span *s, struct structured *out)
{
    bool negative = take(s, '-');
    int64_t fraction;
    size_t whole = digits(s, &out->number);

    if (negative)
        out->number = -out->number;
    out->type = STRUCTURED_INTEGER;
    if (!take(s, '.'))
        return whole >= 1 && whole <= INTEGER_DIGITS;
    out->type = STRUCTURED_DECIMAL;
    size_t behind = digits(s, &fraction);
    return whole >= 1 && whole <= WHOLE_DIGITS && behind >= 1 && behind <= FRACTION_DIGITS;
}

/* 4.2.5; the opening quote is taken already. */
static bool read_string(struct span *s, struct structured *out)
{
    const char *begin = s->p;

    out->type = STRUCTURED_STRING;
    for (; s->n; skip(s, 1)) {
        unsigned char c = (unsigned char)*s->p;

        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '"') {
            out->text = since(begin, s);
            skip(s, 1);
            return true;
        }
        if (c == '\\') {
            skip(s, 1);
            if (peek(s) != '"' && peek(s) != '\\')
                return false;
        }
    }
    return false;
}

/* 4.2.6: a token of HTTP with ":" and "/". */
static bool read_token(struct span *s, struct structured *out)
{
    out->type = STRUCTURED_TOKEN;
    while (is_alpha(peek(s)) || is_digit(peek(s)) || is_one_of(peek(s), "!#$%&'*+-.^_`|~:/"))
        skip(s, 1);
    return true;
}

/* 4.2.7 */
static bool read_bytes(struct span *s, struct structured *out)
{
    out->type = STRUCTURED_BYTES;
    skip(s, 1);
    while (is_alpha(peek(s)) || is_digit(peek(s)) || is_one_of(peek(s), "+/="))
        skip(s, 1);
    return take(s, ':');
}

/* 4.2.8 */
static bool read_boolean(struct span *s, struct structured *out)
{
    out->type = STRUCTURED_BOOLEAN;
    skip(s, 1);
    out->number = peek(s) == '1';
    return take(s, '0') || take(s, '1');
}

/* 4.2.9 */
static bool read_date(struct span *s, struct structured *out)
{
    skip(s, 1);
    if (!read_number(s, out) || out->type != STRUCTURED_INTEGER)
        return false;
    out->type = STRUCTURED_DATE;
    return true;
}

static int hex_value(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a Display String, decoded; -1: it is none. */
static int display_byte(struct span *s)
{
    unsigned char c = (unsigned char)peek(s);
    int high, low;

    if (c < 0x20 || c > 0x7e || c == '"')
        return -1;
    if (c != '%') {
        skip(s, 1);
        return c;
    }
    if (s->n < 3 || (high = hex_value(s->p[1])) < 0 || (low = hex_value(s->p[2])) < 0)
        return -1;
    skip(s, 3);
    return high << 4 | low;
}

/* 4.2.10: what it stands for must be UTF-8 (RFC 3629 4). */
static bool read_display(struct span *s, struct structured *out)
{
    out->type = STRUCTURED_DISPLAY;
    skip(s, 1);
    if (!take(s, '"'))
        return false;
    while (peek(s) != '"') {
        int c = display_byte(s);
        int low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        int more = c < 0 ? -1 : c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;

        if (more < 0)
            return false;
        for (; more; more--, low = 0x80, high = 0xbf) {
            c = display_byte(s);
            if (c < low || c > high)
                return false;
        }
    }
    return take(s, '"');
}

static bool read_bare(struct span *s, struct structured *out)
{
    const char *begin = s->p;
    bool good;

    *out = (struct structured){.number = 0};
    if (take(s, '"'))
        return read_string(s, out);
    if (is_digit(peek(s)) || peek(s) == '-')
        good = read_number(s, out);
    else if (is_alpha(peek(s)) || peek(s) == '*')
        good = read_token(s, out);
    else if (peek(s) == ':')
        good = read_bytes(s, out);
    else if (peek(s) == '?')
        good = read_boolean(s, out);
    else if (peek(s) == '@')
        good = read_date(s, out);
    else
        good = peek(s) == '%' && read_display(s, out);
    out->text = since(begin, s);
    return good;
}

/* --- keys, parameters, lists --- */

/* 4.2.3.3 */
static bool read_key(struct span *s, struct span *key)
{
    const char *begin = s->p;

    if (!is_lower(peek(s)) && peek(s) != '*')
        return false;
    while (is_lower(peek(s)) || is_digit(peek(s)) || is_one_of(peek(s), "_-.*"))
        skip(s, 1);
    *key = since(begin, s);
    return true;
}

/* 4.2.3.2 */
static bool skip_parameters(struct span *s)
{
    struct structured value;
    struct span key;

    while (take(s, ';')) {
        skip_spaces(s);
        if (!read_key(s, &key) || (take(s, '=') && !read_bare(s, &value)))
            return false;
    }
    return true;
}

/* 4.2.3 */
static bool read_item(struct span *s, struct structured *out)
{
    return read_bare(s, out) && skip_parameters(s);
}

/* 4.2.1.2; the opening parenthesis is taken already. */
static bool read_inner(struct span *s, struct structured *out)
{
    const char *begin = s->p;
    struct structured item;

    for (;;) {
        skip_spaces(s);
        const struct span inner = since(begin, s);
        if (take(s, ')')) {
            *out = (struct structured){.type = STRUCTURED_INNER_LIST, .text = inner};
            return skip_parameters(s);
        }
        if (!read_item(s, &item) || (peek(s) != ' ' && peek(s) != ')'))
            return false;
    }
}

static bool read_member(struct span *s, struct structured *out)
{
    return take(s, '(') ? read_inner(s, out) : read_item(s, out);
}

/* Behind a member: a comma that another one follows, or the end, white space aside. */
static bool ends_or_continues(struct span *s)
{
    struct span end = *s;

    skip_spaces(&end);
    if (!end.n) {
        *s = end;
        return true;
    }
    skip_blanks(s);
    if (!take(s, ','))
        return false;
    skip_blanks(s);
    return s->n > 0;
}

enum structured_result structured_member(struct span dictionary, struct span key, struct structured *out)
{
    enum structured_result result = STRUCTURED_EMPTY;
    struct span s = dictionary, name;

    for (skip_spaces(&s); s.n; result = result == STRUCTURED_EMPTY ? STRUCTURED_ABSENT : result) {
        struct structured value = {.type = STRUCTURED_BOOLEAN, .number = 1};

        if (!read_key(&s, &name) || !(take(&s, '=') ? read_member(&s, &value) : skip_parameters(&s)) ||
            !ends_or_continues(&s))
            return STRUCTURED_MALFORMED;
        if (span_eq(name, key)) {
            *out = value;
            result = STRUCTURED_FOUND;
        }
    }
    return result;
}

bool structured_list(struct span *list, struct structured *out)
{
    struct span s = *list;

    skip_spaces(&s);
    if (!s.n) {
        *list = s;
        return false;
    }
    if (!read_member(&s, out) || !ends_or_continues(&s))
        return false;
    *list = s;
    return true;
}

bool structured_item(struct span *inner, struct structured *out)
{
    skip_spaces(inner);
    return inner->n && read_item(inner, out);
}

size_t structured_string(struct span text, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\')
            i++;
        out[n++] = text.p[i];
    }
    return n;
}
