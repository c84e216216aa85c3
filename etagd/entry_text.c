/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/entry_text.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "etagd/lib/digest.h"

struct out {
    char *p;
    size_t used, size;
    bool full;
};

static void put_char(struct out *o, char c)
{
    if (o->used == o->size)
        o->full = true;
    else
        o->p[o->used++] = c;
}

static void put_bytes(struct out *o, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_char(o, p[i]);
}

static void put_encoded(struct out *o, struct span s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c > 0x20 && c <= 0x7e && c != '%' && !(i == 0 && c == '@')) {
            put_char(o, (char)c);
            continue;
        }
        put_char(o, '%');
        put_char(o, hex[c >> 4]);
        put_char(o, hex[c & 15]);
    }
}

/* Bytes of a tag that is written in base64url, 0: it is a text. */
static size_t binary_size(enum entry_kind kind)
{
    switch (kind) {
    case ENTRY_DIGEST:
    case ENTRY_VERSION:
    case ENTRY_GENERATION:
    case ENTRY_VERSION_BASE:
        return DIGEST_BASE_SIZE;
    case ENTRY_MODIFIED:
        return ENTRY_MODIFIED_SIZE;
    default:
        return 0;
    }
}

static void put_tag(struct out *o, const struct entry *e)
{
    put_char(o, (char)e->kind);
    put_char(o, ':');
    if (binary_size(e->kind)) {
        char text[64];
        size_t n = digest_base64url((const uint8_t *)e->tag.p, e->tag.n, text);

        put_bytes(o, text, n);
        return;
    }
    put_encoded(o, e->tag);
}

size_t entry_text_write(char *buf, size_t size, const struct entry_text *t)
{
    struct out o = {buf, 0, size, false};
    char id[LOG_ID_TEXT], number[32];
    size_t binary = binary_size(t->entry.kind);

    if ((!binary && t->entry.kind != ENTRY_UPSTREAM && t->entry.kind != ENTRY_NAMES) ||
        (binary && t->entry.tag.n != binary) || t->ntags > ENTRY_TEXT_NAMES || t->ngroups > ENTRY_TEXT_NAMES)
        return 0;
    put_bytes(&o, "1 ", 2);
    put_bytes(&o, t->epoch.p, t->epoch.n);
    put_char(&o, ' ');
    put_bytes(&o, id, log_id_format(t->as_of, id));
    put_char(&o, ' ');
    put_tag(&o, &t->entry);
    put_bytes(&o, number, (size_t)snprintf(number, sizeof number, " %u ", t->entry.flags));
    if (t->entry.last_modified == ENTRY_UNDATED)
        put_char(&o, '-');
    else
        put_bytes(&o, number, (size_t)snprintf(number, sizeof number, "%" PRId64, t->entry.last_modified));
    put_char(&o, ' ');
    if (t->capsule.n)
        put_bytes(&o, t->capsule.p, t->capsule.n);
    else
        put_char(&o, '-');
    for (size_t i = 0; i < t->ntags; i++) {
        if (t->tags[i].n)
            put_char(&o, ' ');
        put_encoded(&o, t->tags[i]);
    }
    for (size_t i = 0; i < t->ngroups; i++) {
        if (t->groups[i].n)
            put_bytes(&o, " @", 2);
        put_encoded(&o, t->groups[i]);
    }
    return o.full || o.used > ENTRY_TEXT_MAX ? 0 : o.used;
}

/* ---- reading ---- */

/* Takes the next word; false at the end and at an empty word. */
static bool next_word(struct span *rest, struct span *word)
{
    const char *space = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;

    *word = span_of(rest->p, space ? (size_t)(space - rest->p) : rest->n);
    if (word->n == 0 || (space && word->n + 1 == rest->n))
        return false;
    *rest = space ? span_of(space + 1, rest->n - word->n - 1) : span_of(NULL, 0);
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decoding never grows, so storage as long as the text holds all of its words. */
static bool decode(struct span word, struct out *storage, struct span *out)
{
    size_t start = storage->used;

    for (size_t i = 0; i < word.n; i++) {
        unsigned char c = (unsigned char)word.p[i];

        if (c == '%') {
            int high = i + 2 < word.n ? hex_value(word.p[i + 1]) : -1, low = high < 0 ? -1 : hex_value(word.p[i + 2]);

            if (low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c <= 0x20 || c > 0x7e) {
            return false;
        }
        put_char(storage, (char)c);
    }
    *out = span_of(storage->p + start, storage->used - start);
    return !storage->full;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* The bits behind the last whole byte must be zero, so that the bytes have one text. */
static bool decode_binary(struct span word, size_t n, struct out *storage, struct span *out)
{
    size_t start = storage->used;
    unsigned bits = 0, held = 0;

    if (word.n != (n * 4 + 2) / 3)
        return false;
    for (size_t i = 0; i < word.n; i++) {
        int v = base64url_value(word.p[i]);

        if (v < 0)
            return false;
        bits = bits << 6 | (unsigned)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            put_char(storage, (char)(bits >> held & 0xff));
        }
    }
    *out = span_of(storage->p + start, storage->used - start);
    return !storage->full && (bits & ((1u << held) - 1)) == 0;
}

static bool read_tag(struct span word, struct out *storage, struct entry *e)
{
    if (word.n < 2 || word.p[1] != ':')
        return false;
    e->kind = (enum entry_kind)word.p[0];
    word = span_of(word.p + 2, word.n - 2);
    if (binary_size(e->kind))
        return decode_binary(word, binary_size(e->kind), storage, &e->tag);
    return (e->kind == ENTRY_UPSTREAM || e->kind == ENTRY_NAMES) && decode(word, storage, &e->tag) &&
           e->tag.n <= ENTRY_TAG_MAX;
}

static bool read_last_modified(struct span word, int64_t *out)
{
    bool negative = word.n && word.p[0] == '-';
    uint64_t n;

    if (span_eq(word, SPAN_LITERAL("-"))) {
        *out = ENTRY_UNDATED;
        return true;
    }
    if (!log_number_parse(span_of(word.p + negative, word.n - negative), &n) || n > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool read_capsule(struct span word, struct span *out)
{
    *out = span_of(NULL, 0);
    if (span_eq(word, SPAN_LITERAL("-")))
        return true;
    if (word.n != ENTRY_TEXT_CAPSULE)
        return false;
    for (size_t i = 0; i < word.n; i++)
        if (!(word.p[i] >= '0' && word.p[i] <= '9') && !(word.p[i] >= 'a' && word.p[i] <= 'f'))
            return false;
    *out = word;
    return true;
}

static bool read_name(struct span word, struct out *storage, struct entry_text *t)
{
    bool group = word.p[0] == '@';
    size_t *n = group ? &t->ngroups : &t->ntags;
    struct span *names = group ? t->groups : t->tags;

    word = span_of(word.p + group, word.n - group);
    return *n < ENTRY_TEXT_NAMES && word.n && decode(word, storage, &names[(*n)++]);
}

bool entry_text_read(struct span text, struct entry_text *out)
{
    struct out storage = {out->storage, 0, sizeof out->storage, false};
    struct span word;
    uint64_t flags;

    out->ntags = out->ngroups = 0;
    if (text.n > ENTRY_TEXT_MAX || !next_word(&text, &word) || !span_eq(word, SPAN_LITERAL("1")) ||
        !next_word(&text, &word) || word.n > ENTRY_TEXT_EPOCH || !decode(word, &storage, &out->epoch) ||
        !next_word(&text, &word) || !log_id_parse(word, &out->as_of) || !next_word(&text, &word) ||
        !read_tag(word, &storage, &out->entry) || !next_word(&text, &word) || !log_number_parse(word, &flags) ||
        flags > (ENTRY_WEAK | ENTRY_ANY_QUERY | ENTRY_CONFLICT) || !next_word(&text, &word) ||
        !read_last_modified(word, &out->entry.last_modified) || !next_word(&text, &word) ||
        !read_capsule(word, &out->capsule))
        return false;
    out->entry.flags = (unsigned)flags;
    if (out->entry.kind == ENTRY_NAMES && !entry_text_names_valid(out->entry.tag))
        return false;
    if (out->capsule.n && !decode(out->capsule, &storage, &out->capsule))
        return false;
    while (text.n)
        if (!next_word(&text, &word) || !read_name(word, &storage, out))
            return false;
    return true;
}

/* ---- ids and names ---- */

bool entry_text_capsule_id(struct span capsule, char out[ENTRY_TEXT_CAPSULE + 1])
{
    unsigned char hash[EVP_MAX_MD_SIZE];

    if (!EVP_Digest(capsule.p, capsule.n, hash, NULL, EVP_sha256(), NULL))
        return false;
    for (size_t i = 0; i < ENTRY_TEXT_CAPSULE / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return true;
}

static struct span next_name(struct span *list)
{
    const char *comma = list->n ? memchr(list->p, ',', list->n) : NULL;
    struct span name = span_of(list->p, comma ? (size_t)(comma - list->p) : list->n);

    *list = comma ? span_of(comma + 1, list->n - name.n - 1) : span_of(NULL, 0);
    return name;
}

static int compare(struct span a, struct span b)
{
    int order = a.n && b.n ? memcmp(a.p, b.p, a.n < b.n ? a.n : b.n) : 0;

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

bool entry_text_names_valid(struct span names)
{
    struct span last = span_of(NULL, 0), name;

    if (names.n && names.p[names.n - 1] == ',')
        return false;
    while (names.n) {
        name = next_name(&names);
        if (name.n == 0 || compare(last, name) >= 0)
            return false;
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] <= ' ' || name.p[i] > '~')
                return false;
        last = name;
    }
    return true;
}

bool entry_text_names_union(struct span a, struct span b, char *out, size_t size, size_t *n)
{
    struct out o = {out, 0, size, false};
    struct span x = next_name(&a), y = next_name(&b);

    while (x.n || y.n) {
        int order = x.n == 0 ? 1 : y.n == 0 ? -1 : compare(x, y);
        struct span name = order <= 0 ? x : y;

        if (o.used)
            put_char(&o, ',');
        put_bytes(&o, name.p, name.n);
        if (order <= 0)
            x = next_name(&a);
        if (order >= 0)
            y = next_name(&b);
    }
    *n = o.used;
    return !o.full;
}
