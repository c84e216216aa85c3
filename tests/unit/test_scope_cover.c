/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one promise of scope.h: what an operation covers as its user reads it is covered. Random records
 * and operations in random spellings, judged by plain readings of URLs that share no code with scope.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "etagd/lib/key.h"
#include "tests/unit/exact.h"
#include "tests/unit/scope_set.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A random URL: a plain path of few segments from a small set, so that prefixes often meet. */
struct url {
    char host[16], path[256], query[32];
    bool has_query;
};

static const char *const segment_names[] = {"a", "b", "ab", "a-b", "c.d", "x y", "\xc3\xa9", "{z}", "100%", "q?", "~"};

static const char *const hosts[] = {"h", "h", "h:8080", "h:443", "i"};

static void random_url(uint64_t *seed, struct url *u, unsigned max_segments)
{
    unsigned n = below(seed, max_segments + 1);

    strcpy(u->host, hosts[below(seed, COUNT(hosts))]);
    u->path[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        strcat(u->path, "/");
        strcat(u->path, segment_names[below(seed, below(seed, 2) ? 3 : COUNT(segment_names))]);
    }
    if (n == 0 || below(seed, 4) == 0)
        strcat(u->path, "/");
    u->has_query = below(seed, 2);
    strcpy(u->query, below(seed, 2) ? "a=1" : "a=1&b=%");
}

/* One of the many spellings of a URL. plain: only what must be encoded is. */
static size_t spell(uint64_t *seed, const struct url *u, bool plain, bool query, char *out)
{
    char *to = out;

    to += sprintf(to, "%s", u->host);
    for (const unsigned char *p = (const unsigned char *)u->path; *p; p++) {
        bool must = *p == '%' || *p == '?' || *p <= 0x20 || *p > 0x7e;

        if (must || (!plain && *p != '/' && *p != '.' && below(seed, 3) == 0))
            to += sprintf(to, below(seed, 2) || plain ? "%%%02X" : "%%%02x", (unsigned)*p);
        else
            *to++ = (char)*p;
        if (*p == '/' && !plain && below(seed, 8) == 0)
            *to++ = '/';
    }
    if (query && u->has_query)
        to += sprintf(to, "?%s", u->query);
    *to = '\0';
    return (size_t)(to - out);
}

static size_t length_without_slashes(const char *path)
{
    size_t n = strlen(path);

    while (n && path[n - 1] == '/')
        n--;
    return n;
}

/* Ports count for nothing. */
static bool same_host(const struct url *a, const struct url *b)
{
    return a->host[0] == b->host[0];
}

/* The plain reading of "prefix": the same host, and whole segments. */
static bool prefix_covers(const struct url *prefix, const struct url *u)
{
    size_t n = length_without_slashes(prefix->path);

    if (!same_host(prefix, u) || strncmp(prefix->path, u->path, n) != 0)
        return false;
    return u->path[n] == '/' || u->path[n] == '\0';
}

static bool url_covers(const struct url *op, const struct url *u)
{
    if (!same_host(op, u) || strcmp(op->path, u->path) != 0)
        return false;
    return !op->has_query || (u->has_query && strcmp(op->query, u->query) == 0);
}

static unsigned depth(const char *path)
{
    unsigned n = 0;

    for (const char *p = path; *p; p++)
        n += p[0] == '/' && p[1] && p[1] != '/';
    return n;
}

/* The key of a URL as a request would build it. */
static bool request_key(uint64_t *seed, const struct url *u, bool plain, struct key *key)
{
    char text[1100];
    char *path, *query;
    struct key_parts parts = {.scheme = span_str(below(seed, 2) ? "https" : "http")};
    bool ok;

    spell(seed, u, plain, true, text);
    path = strchr(text, '/');
    query = strchr(text, '?');
    parts.host = span_of(u->host, 1);
    parts.port = u->host[1] ? (unsigned)atoi(u->host + 2) : below(seed, 2) ? 0 : parts.scheme.n == 5 ? 443 : 80;
    parts.path = exact(path, query ? (size_t)(query - path) : strlen(path));
    parts.has_query = query != NULL;
    parts.query = query ? exact_str(query + 1) : exact("", 0);
    ok = key_build(key, &parts) == KEY_OK;
    exact_free(parts.path);
    exact_free(parts.query);
    return ok;
}

/* For random keys and operations, in random spellings: covered as read means the texts meet. Where
 * nothing had to be widened, it also means no more than that. */
static void test_property(void **state)
{
    uint64_t seed = 42;
    unsigned covered = 0, apart = 0;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        bool plain = round % 2, is_url = below(&seed, 2), want;
        struct url record, target;
        struct key key;
        struct scope op;
        struct set set;
        char arg[1100];
        struct span text;

        random_url(&seed, &record, 12);
        random_url(&seed, &target, below(&seed, 2) ? 2 : 12);
        if (below(&seed, 2)) { /* an ancestor of the record, or the record itself */
            size_t cut = below(&seed, (unsigned)strlen(record.path) + 1);

            target = record;
            while (cut > 1 && record.path[cut] != '/' && record.path[cut])
                cut++;
            target.path[cut ? cut : 1] = '\0';
            target.has_query = target.has_query && below(&seed, 2);
        }
        assert_true(request_key(&seed, &record, plain, &key));
        scopes_of(span_of(key.text, key.n), NULL, 0, NULL, 0, &set);
        assert_true(set.n > 0);
        text = exact(arg, spell(&seed, &target, plain, is_url, arg));
        scope_from_operation(is_url ? SPAN_LITERAL("url") : SPAN_LITERAL("prefix"), text, &op);
        exact_free(text);
        want = is_url ? url_covers(&target, &record) : prefix_covers(&target, &record);
        if (want && !kills(&op, &set))
            fail_msg("%s %s is %s and does not reach %s", is_url ? "url" : "prefix", arg, op.text, key.text);
        if (!want && !op.widened && op.text[0] != 'H' && kills(&op, &set))
            fail_msg("%s %s is %s and reaches %s", is_url ? "url" : "prefix", arg, op.text, key.text);
        assert_int_equal(op.kind, SCOPE_ONE);
        if (!is_url)
            assert_int_equal(op.widened, depth(target.path) > SCOPE_DEPTH);
        covered += want;
        apart += !want;
    }
    /* Neither side of the property may be idle. */
    assert_true(covered > 10000 && apart > 10000);
}

/* Long URLs: the key is shortened, and still every prefix and the URL with and without its query reach
 * it. */
static void test_long_keys(void **state)
{
    static const size_t path_lengths[] = {1, 50, 150, 191, 192, 193, 300, 600, 900, 930};
    static const size_t query_lengths[] = {10, 60, 130, 700, 990, 1010, 1100, 8000};
    char url[9200];

    (void)state;
    for (size_t p = 0; p < COUNT(path_lengths); p++) {
        for (size_t q = 0; q < COUNT(query_lengths); q++) {
            size_t n = (size_t)sprintf(url, "https://h/"), end_of_path;
            struct key key;
            struct scope op;
            struct set set;

            for (size_t i = 0; i < path_lengths[p]; i++)
                url[n++] = i % 40 == 39 ? '/' : 'p';
            end_of_path = n;
            url[n++] = '?';
            memset(url + n, 'q', query_lengths[q]);
            n += query_lengths[q];
            assert_int_equal(key_from_url(&key, span_of(url, n)), KEY_OK);
            scopes_of(span_of(key.text, key.n), NULL, 0, NULL, 0, &set);
            scope_from_operation(SPAN_LITERAL("url"), span_of(url, n), &op);
            assert_true(kills(&op, &set));
            scope_from_operation(SPAN_LITERAL("url"), span_of(key.text, key.n), &op);
            assert_true(kills(&op, &set));
            scope_from_operation(SPAN_LITERAL("url"), span_of(url, end_of_path), &op);
            assert_true(kills(&op, &set));
            assert_int_equal(op.kind, SCOPE_ONE);
            for (size_t cut = 10; cut <= end_of_path; cut++) {
                if (url[cut] != '/' && cut != end_of_path)
                    continue;
                scope_from_operation(SPAN_LITERAL("prefix"), span_of(url, cut), &op);
                assert_true(kills(&op, &set));
            }
        }
    }
}

/* One spelling has a shortened key, the other has not: each as the record, and as the operation. */
static void test_spellings_of_long_queries(void **state)
{
    char plain[4096], escaped[4096 * 3];

    (void)state;
    for (size_t query_n = 1; query_n < 1100; query_n++) {
        size_t n = (size_t)sprintf(plain, "h/p?"), m = (size_t)sprintf(escaped, "h/p?");
        struct key key;
        struct scope op;
        struct set set;

        for (size_t i = 0; i < query_n; i++) {
            plain[n++] = 'q';
            m += (size_t)sprintf(escaped + m, "%%71");
        }
        assert_int_equal(key_from_url(&key, span_of(escaped, m)), KEY_OK);
        scopes_of(span_of(key.text, key.n), NULL, 0, NULL, 0, &set);
        scope_from_operation(SPAN_LITERAL("url"), span_of(plain, n), &op);
        if (!kills(&op, &set))
            fail_msg("query of %zu: %s does not reach %s", query_n, op.text, key.text);
        assert_int_equal(op.kind, SCOPE_ONE);
        assert_int_equal(key_from_url(&key, span_of(plain, n)), KEY_OK);
        scopes_of(span_of(key.text, key.n), NULL, 0, NULL, 0, &set);
        scope_from_operation(SPAN_LITERAL("url"), span_of(escaped, m), &op);
        assert_true(kills(&op, &set));
    }
}

/* Names of one site are of any length, and so are their keys: what is short under the name that was typed may
 * be shortened under the name it was learned by. hosts.c puts one name in the place of the other. */
static void test_names_of_different_length(void **state)
{
    char typed[4096], learned[4096], host[KEY_HOST_MAX + 1];

    (void)state;
    memset(host, 'h', KEY_HOST_MAX);
    host[KEY_HOST_MAX] = '\0';
    for (size_t query_n = 1; query_n < 1100; query_n++) {
        size_t n = (size_t)sprintf(typed, "i/p?"), m = (size_t)sprintf(learned, "https://%s:65535/p?", host);
        struct key key;
        struct scope op;
        struct set set;

        for (size_t i = 0; i < query_n; i++) {
            typed[n++] = 'q';
            m += (size_t)sprintf(learned + m, "%%71");
        }
        assert_int_equal(key_from_url(&key, span_of(learned, m)), KEY_OK);
        scopes_of(span_of(key.text, key.n), NULL, 0, NULL, 0, &set);
        scope_from_operation(SPAN_LITERAL("url"), span_of(typed, n), &op);
        assert_int_equal(op.kind, SCOPE_ONE);
        memmove(op.text + 1 + KEY_HOST_MAX, op.text + 2, op.n - 1);
        memcpy(op.text + 1, host, KEY_HOST_MAX);
        op.n += KEY_HOST_MAX - 1;
        if (!kills(&op, &set))
            fail_msg("query of %zu: %s does not reach %s", query_n, op.text, key.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_property),
        cmocka_unit_test(test_long_keys),
        cmocka_unit_test(test_spellings_of_long_queries),
        cmocka_unit_test(test_names_of_different_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
