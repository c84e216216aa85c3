/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/scope.h"

#include "etagd/lib/key.h"
#include "etagd/lib/version.h"

#define SETTLE_MAX_MS 86400000u /* a day; more is a typo */

/* A byte of a text stands for at most three of a key; in front of that come a scheme, a port, and a host that
 * may be another name of the site than the one typed. Path and query up to this length stand for no key that
 * was shortened. */
#define ORIGIN_MAX (sizeof("https://") - 1 + KEY_HOST_MAX + sizeof(":65535") - 1)
#define NEVER_SHORTENED ((KEY_MAX - ORIGIN_MAX) / 3)

/* A resource as scopes name it. The text begins with a place for the letter, so that each scope of the
 * path is a front part of it. Every spelling of a path ends as the same text: escapes are decoded, runs
 * of slashes are one, and only what could be mistaken is encoded again. Two resources may share a text:
 * that forgets more than asked. */
struct resource {
    char text[SCOPE_TEXT];
    size_t root; /* end of the host, where the path begins */
    size_t path; /* end of the path */
    size_t n; /* end of the query, or of the path when there is none or it did not fit */
    bool has_query;
    bool query_open; /* a record's key may hold the query as a digest: only the path is sure */
};

static bool append_encoded(struct resource *r, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";

    if (c > 0x20 && c <= 0x7e && !strchr("%?#{}", c)) {
        if (r->n == SCOPE_TEXT)
            return false;
        r->text[r->n++] = (char)c;
        return true;
    }
    if (SCOPE_TEXT - r->n < 3)
        return false;
    r->text[r->n++] = '%';
    r->text[r->n++] = hex[c >> 4];
    r->text[r->n++] = hex[c & 15];
    return true;
}

static bool append_path(struct resource *r, struct span path)
{
    while (path.n) {
        int c = key_next_byte(&path);

        if (c == KEY_BAD_ESCAPE)
            return false;
        if (c == '/' && r->n > r->root && r->text[r->n - 1] == '/')
            continue;
        if (!append_encoded(r, (unsigned char)c))
            return false;
    }
    r->path = r->n;
    return true;
}

static bool append_query(struct resource *r, struct span query)
{
    if (r->n == SCOPE_TEXT)
        return false;
    r->text[r->n++] = '?';
    while (query.n) {
        int c = key_next_byte(&query);

        if (!append_encoded(r, c == KEY_BAD_ESCAPE ? '%' : (unsigned char)c))
            return false;
    }
    return true;
}

/* A scope has no port: whoever names a page does not know by which ports it was asked for. */
static void append_host(struct resource *r, struct span authority)
{
    size_t host = authority.n;

    while (host && authority.p[host - 1] >= '0' && authority.p[host - 1] <= '9')
        host--;
    if (host && host < authority.n && authority.p[host - 1] == ':')
        authority.n = host - 1;
    memcpy(r->text + 1, authority.p, authority.n);
    r->root = r->n = 1 + authority.n;
}

static bool resource_parse(struct resource *r, struct span url)
{
    struct key key;
    struct span text, query;
    size_t slash, question;

    if (key_from_url(&key, url) != KEY_OK)
        return false;
    text = span_of(key.text + key.scheme, key.n - key.scheme);
    slash = (size_t)((const char *)memchr(text.p, '/', text.n) - text.p);
    for (question = slash; question < text.n && text.p[question] != '?'; question++)
        ;
    append_host(r, span_of(text.p, slash));
    if (!append_path(r, span_of(text.p + slash, question - slash)))
        return false;
    r->has_query = question < text.n;
    r->query_open = false;
    if (!r->has_query)
        return true;
    query = span_of(text.p + question + 1, text.n - question - 1);
    if (!append_query(r, query))
        r->n = r->path;
    r->query_open = r->n == r->path || r->n - r->root > NEVER_SHORTENED || key_is_shortened(query);
    return true;
}

/* Ends of the whole segments of the path, without their slash, down to SCOPE_DEPTH. *more: the path
 * goes deeper. */
static size_t segments(const struct resource *r, size_t ends[SCOPE_DEPTH], bool *more)
{
    size_t n = 0;

    *more = false;
    for (size_t i = r->root + 1; i < r->path; i++) {
        if (r->text[i] != '/' && (i + 1 == r->path || r->text[i + 1] == '/')) {
            if (n == SCOPE_DEPTH) {
                *more = true;
                break;
            }
            ends[n++] = i + 1;
        }
    }
    return n;
}

/* ---- operations ---- */

static void take_all(struct scope *out, bool widened)
{
    out->kind = SCOPE_ALL;
    out->n = 0;
    out->text[0] = '\0';
    out->any_tag = false;
    out->widened = widened;
}

static void take_one(struct scope *out, char letter, struct span rest)
{
    if (rest.n + 1 >= SCOPE_TEXT) {
        take_all(out, true);
        return;
    }
    out->kind = SCOPE_ONE;
    out->text[0] = letter;
    memcpy(out->text + 1, rest.p, rest.n);
    out->n = rest.n + 1;
    out->text[out->n] = '\0';
}

static void take_front(struct scope *out, char letter, const struct resource *r, size_t end)
{
    take_one(out, letter, span_of(r->text + 1, end - 1));
}

static void take_prefix(struct scope *out, const struct resource *r)
{
    size_t ends[SCOPE_DEPTH];
    bool deeper;
    size_t n = segments(r, ends, &deeper);

    if (n == 0) {
        take_front(out, 'H', r, r->root);
        return;
    }
    out->widened = out->widened || deeper || r->has_query;
    take_front(out, 'P', r, ends[n - 1]);
}

static void read_ignored(struct span arg, struct scope *out)
{
    (void)arg;
    out->kind = SCOPE_NONE;
}

static void read_all(struct span arg, struct scope *out)
{
    (void)arg;
    take_all(out, false);
}

static void read_url(struct span arg, struct scope *out)
{
    struct resource r;

    if (!resource_parse(&r, arg)) {
        take_all(out, true);
    } else if (!r.has_query && r.path - r.root >= 2 && memcmp(r.text + r.path - 2, "/*", 2) == 0) {
        /* Other caches read this as a wildcard; as one URL it would forget nothing. */
        r.path--;
        out->widened = true;
        take_prefix(out, &r);
    } else {
        out->widened = r.query_open;
        take_front(out, 'U', &r, r.query_open ? r.path : r.n);
    }
}

static void read_prefix(struct span arg, struct scope *out)
{
    struct resource r;

    if (!resource_parse(&r, arg)) {
        take_all(out, true);
        return;
    }
    if (r.path - r.root >= 2 && memcmp(r.text + r.path - 2, "/*", 2) == 0) {
        r.path--;
        out->widened = true;
    }
    take_prefix(out, &r);
}

/* A bare host, also as the URL of its root. */
static bool host_parse(struct resource *r, struct span arg)
{
    return resource_parse(r, arg) && !r->has_query && r->path == r->root + 1;
}

static void read_host(struct span arg, struct scope *out)
{
    struct resource r;

    if (!host_parse(&r, arg)) {
        take_all(out, true);
        return;
    }
    take_front(out, 'H', &r, r.root);
}

/* What no name of a tag holds on purpose: control characters and a wildcard; in a tag also what
 * separates the tags of a response header. */
static bool is_name(struct span s, bool single_word)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f || c == '*' || (single_word && (c == ' ' || c == ',')))
            return false;
    }
    return s.n > 0;
}

static void read_tag(struct span arg, struct scope *out)
{
    arg = span_trim(arg);
    if (!is_name(arg, true)) {
        take_all(out, true);
        return;
    }
    out->any_tag = true;
    take_one(out, 'T', arg);
}

/* "G", the host, a space, the name. 0 when it does not fit. */
static size_t group_text(char text[SCOPE_TEXT], const struct resource *r, struct span name)
{
    if (name.n >= SCOPE_TEXT - r->root - 1)
        return 0;
    memcpy(text, r->text, r->root);
    text[0] = 'G';
    text[r->root] = ' ';
    memcpy(text + r->root + 1, name.p, name.n);
    return r->root + 1 + name.n;
}

static void read_group(struct span arg, struct scope *out)
{
    struct resource r;
    const char *space;
    struct span name;
    size_t n;

    arg = span_trim(arg);
    space = arg.n ? memchr(arg.p, ' ', arg.n) : NULL;
    if (!space || !host_parse(&r, span_of(arg.p, (size_t)(space - arg.p)))) {
        take_all(out, true);
        return;
    }
    name = span_trim(span_of(space, (size_t)(arg.p + arg.n - space)));
    n = is_name(name, false) ? group_text(out->text, &r, name) : 0;
    if (n == 0) {
        take_all(out, true);
        return;
    }
    out->kind = SCOPE_ONE;
    out->n = n;
    out->text[n] = '\0';
    out->any_tag = true;
}

static void read_settle(struct span arg, struct scope *out)
{
    uint64_t ms = 0;

    for (size_t i = 0; i < arg.n; i++) {
        if (arg.p[i] < '0' || arg.p[i] > '9' || ms > SETTLE_MAX_MS) {
            take_all(out, true);
            return;
        }
        ms = ms * 10 + (uint64_t)(arg.p[i] - '0');
    }
    if (arg.n == 0 || ms > SETTLE_MAX_MS) {
        take_all(out, true);
        return;
    }
    out->kind = SCOPE_SETTLE;
    out->settle_ms = ms;
}

static void read_version(struct span arg, struct scope *out)
{
    struct span name, value;

    /* Something has changed, but what cannot be read: everything, as for any other operation. */
    if (version_read(arg, &name, &value))
        out->kind = SCOPE_VERSION;
    else
        take_all(out, true);
}

static const struct scope_operation operations[] = {
    {"url", "h/p[?q]", SCOPE_ONE,
     "one URL: every variant, both schemes, every port; without a query, every query of it", read_url},
    {"prefix", "h/p", SCOPE_ONE, "the URL h/p with every query, and everything below h/p/", read_prefix},
    {"host", "h", SCOPE_ONE, "everything of one host, on every port", read_host},
    {"tag", "name", SCOPE_ONE, "every response that carries this tag, on every host", read_tag},
    {"group", "\"h name\"", SCOPE_ONE, "every response of the host in this cache group (RFC 9875)", read_group},
    {"all", "1", SCOPE_ALL, "everything", read_all},
    {"settle", "ms", SCOPE_SETTLE, "also refuse what was begun less than ms after this record", read_settle},
    {"version", "\"name value\"", SCOPE_VERSION, "the present version of name is value (ETagVersion)", read_version},
    {"by", "text", SCOPE_NONE, "who asked; for the audit trail", read_ignored},
    {"why", "text", SCOPE_NONE, "the reason; for the audit trail", read_ignored},
    {"note", "text", SCOPE_NONE, "free text; for the audit trail", read_ignored},
    {"epoch", "id", SCOPE_NONE, "the epoch that opened with this record", read_ignored},
    {"x-*", "text", SCOPE_NONE, "any field whose name begins with x-: free for other programs", read_ignored},
};

const struct scope_operation *scope_operations(size_t *n)
{
    *n = sizeof(operations) / sizeof(operations[0]);
    return operations;
}

static bool names_operation(struct span op, struct span name)
{
    if (name.p[name.n - 1] == '*')
        return span_starts(op, span_of(name.p, name.n - 1));
    return span_eq(op, name);
}

void scope_from_operation(struct span op, struct span arg, struct scope *out)
{
    size_t n;
    const struct scope_operation *o = scope_operations(&n);

    take_all(out, true);
    out->settle_ms = 0;
    while (n && !names_operation(op, span_str(o->name)))
        o++, n--;
    if (n == 0)
        return;
    out->widened = false;
    o->read(arg, out);
}

/* ---- scopes of a record ---- */

struct emitter {
    void (*each)(void *arg, struct span text);
    void *arg;
    size_t n;
};

static void emit(struct emitter *e, struct span text)
{
    e->each(e->arg, text);
    e->n++;
}

static void emit_front(struct emitter *e, struct resource *r, char letter, size_t end)
{
    r->text[0] = letter;
    emit(e, span_of(r->text, end));
}

static void emit_path(struct emitter *e, struct resource *r)
{
    size_t ends[SCOPE_DEPTH];
    bool deeper;
    size_t n = segments(r, ends, &deeper);

    emit_front(e, r, 'H', r->root);
    for (size_t i = 0; i < n; i++)
        emit_front(e, r, 'P', ends[i]);
    emit_front(e, r, 'U', r->path);
    if (r->n > r->path)
        emit_front(e, r, 'U', r->n);
}

/* A tag or group as a scope's text; 0 when it does not fit. */
static size_t name_text(char text[SCOPE_TEXT], const struct resource *r, struct span name, bool group)
{
    if (group)
        return group_text(text, r, name);
    if (name.n >= SCOPE_TEXT - 1)
        return 0;
    text[0] = 'T';
    memcpy(text + 1, name.p, name.n);
    return name.n + 1;
}

/* Tags, then groups. When they are too many, the last place is kept for "T*". */
static void emit_names(struct emitter *e, const struct resource *r, const struct span *tags, size_t ntags,
                       const struct span *groups, size_t ngroups)
{
    char text[SCOPE_TEXT];
    bool overflow = ntags > SCOPE_MAX || ngroups > SCOPE_MAX || ntags + ngroups > SCOPE_MAX - e->n;
    size_t last = overflow ? SCOPE_MAX - 1 : SCOPE_MAX;

    for (size_t i = 0; i < ntags + ngroups && e->n < last; i++) {
        bool group = i >= ntags;
        struct span name = span_trim(group ? groups[i - ntags] : tags[i]);
        size_t n = name.n ? name_text(text, r, name, group) : 0;

        if (n)
            emit(e, span_of(text, n));
        else if (name.n)
            overflow = true; /* its own place is free for "T*" */
    }
    if (overflow)
        emit(e, SPAN_LITERAL("T*"));
}

size_t scope_each_of_key(struct span key, const struct span *tags, size_t ntags, const struct span *groups,
                         size_t ngroups, void (*each)(void *arg, struct span text), void *arg)
{
    struct resource r;
    struct emitter e = {each, arg, 0};

    if (!resource_parse(&r, key))
        return 0;
    emit_path(&e, &r);
    emit_names(&e, &r, tags, ntags, groups, ngroups);
    return e.n;
}
