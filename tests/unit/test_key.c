/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "etagd/lib/key.h"
#include "tests/unit/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(s) (s), sizeof(s) - 1

/* ---- from a request ---- */

struct build_case {
    const char *scheme, *host;
    unsigned port;
    const char *path;
    size_t path_n;
    const char *query; /* NULL: none */
    const char *key; /* NULL: the error */
    enum key_error error;
};

static const struct build_case builds[] = {
    {"https", "www.example.com", 0, TEXT("/products/42"), "lang=de", "https://www.example.com/products/42?lang=de", 0},
    {"HTTP", "WWW.Example.COM", 0, TEXT("/Products"), NULL, "http://www.example.com/Products", 0},
    /* ports */
    {"https", "h", 443, TEXT("/"), NULL, "https://h/", 0},
    {"http", "h", 80, TEXT("/"), NULL, "http://h/", 0},
    {"http", "h", 443, TEXT("/"), NULL, "http://h:443/", 0},
    {"https", "h", 80, TEXT("/"), NULL, "https://h:80/", 0},
    {"https", "h", 8443, TEXT("/"), NULL, "https://h:8443/", 0},
    {"https", "h", 65535, TEXT("/"), NULL, "https://h:65535/", 0},
    {"https", "h", 65536, TEXT("/"), NULL, NULL, KEY_BAD_PORT},
    {"ftp", "h", 0, TEXT("/"), NULL, NULL, KEY_BAD_SCHEME},
    {"", "h", 0, TEXT("/"), NULL, NULL, KEY_BAD_SCHEME},
    /* hosts */
    {"https", "h.", 0, TEXT("/"), NULL, "https://h/", 0},
    {"https", "a_b-c.1", 0, TEXT("/"), NULL, "https://a_b-c.1/", 0},
    {"https", "127.0.0.1", 0, TEXT("/"), NULL, "https://127.0.0.1/", 0},
    {"https", "[::1]", 0, TEXT("/"), NULL, "https://[::1]/", 0},
    {"https", "[2001:DB8:0:0:0:0:0:1]", 8443, TEXT("/"), NULL, "https://[2001:db8::1]:8443/", 0},
    {"https", "[::1", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "::1", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "[]", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "[::g]", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "[fe80::1%25eth0]", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "[127.0.0.1]", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", ".", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", ".h", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "a..b", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "h..", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "h h", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "h/x", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "u@h", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https", "h:1", 0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    {"https",
     "b\xc3\xbc"
     "cher",
     0, TEXT("/"), NULL, NULL, KEY_BAD_HOST},
    /* paths: two spellings are two keys */
    {"https", "h", 0, TEXT("/a%20b%2f%2F"), NULL, "https://h/a%20b%2f%2F", 0},
    {"https", "h", 0, TEXT("/%61"), NULL, "https://h/%61", 0},
    {"https", "h", 0, TEXT("//a///b//"), NULL, "https://h//a///b//", 0},
    {"https", "h", 0, TEXT("/a;v=1/(b),c!*'~"), NULL, "https://h/a;v=1/(b),c!*'~", 0},
    {"https", "h", 0, TEXT("/%00"), NULL, "https://h/%00", 0},
    {"https", "h", 0, TEXT("/a\0b"), NULL, "https://h/a%00b", 0},
    {"https", "h", 0, TEXT("/{a} b\x7f\x1f\xc3\xa9"), NULL, "https://h/%7Ba%7D%20b%7F%1F%C3%A9", 0},
    {"https", "h", 0, TEXT("/..."), NULL, "https://h/...", 0},
    {"https", "h", 0, TEXT("/.a/a./..a/a.."), NULL, "https://h/.a/a./..a/a..", 0},
    {"https", "h", 0, TEXT(""), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("*"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("a"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/.."), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/."), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a/../b"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a/./b"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a/%2e%2E/b"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a/.%2e"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a%2f..%2fb"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a?b"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/a#b"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/%"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/%4"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/%4g"), NULL, NULL, KEY_BAD_PATH},
    {"https", "h", 0, TEXT("/%zz"), NULL, NULL, KEY_BAD_PATH},
    /* queries */
    {"https", "h", 0, TEXT("/p"), "", "https://h/p?", 0},
    {"https", "h", 0, TEXT("/p"), "?", "https://h/p??", 0},
    {"https", "h", 0, TEXT("/p"), "b=2&a=1&b=2", "https://h/p?b=2&a=1&b=2", 0},
    {"https", "h", 0, TEXT("/p"), "&&a&=&", "https://h/p?&&a&=&", 0},
    {"https", "h", 0, TEXT("/p"), "q=100%", "https://h/p?q=100%", 0},
    {"https", "h", 0, TEXT("/p"), "q={a b}&r=../..", "https://h/p?q=%7Ba%20b%7D&r=../..", 0},
    {"https", "h", 0, TEXT("/p"), "a#b", NULL, KEY_BAD_PATH},
};

static void test_build(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(builds); i++) {
        const struct build_case *c = &builds[i];
        struct key_parts parts = {
            .scheme = exact_str(c->scheme),
            .host = exact_str(c->host),
            .port = c->port,
            .path = exact(c->path, c->path_n),
            .query = exact_str(c->query ? c->query : ""),
            .has_query = c->query != NULL,
        };
        struct key key;
        enum key_error e = key_build(&key, &parts);

        if (e != (c->key ? KEY_OK : c->error) || strcmp(key.text, c->key ? c->key : "") != 0)
            fail_msg("case %zu: <%s> (%s), wanted <%s>", i, key.text, key_error_text(e), c->key ? c->key : "");
        assert_int_equal(key.n, strlen(key.text));
        if (c->key)
            assert_int_equal(key.scheme, c->key[4] == 's' ? 8 : 7);
        exact_free(parts.scheme);
        exact_free(parts.host);
        exact_free(parts.path);
        exact_free(parts.query);
    }
}

/* ---- ignored parameters ---- */

static void test_ignore(void **state)
{
    static const struct span names[] = {{"utm_source", 10}, {"fbclid", 6}};
    static const struct {
        const char *query;
        bool all;
        const char *rest; /* what stands behind the path */
    } cases[] = {
        {"utm_source=x", false, ""},
        {"utm_source=x&fbclid=y", false, ""},
        {"utm_source", false, ""},
        {"utm_source=", false, ""},
        {"a=1&utm_source=x&b=2", false, "?a=1&b=2"},
        {"utm_source=x&a=1", false, "?a=1"},
        {"a=1&fbclid=x", false, "?a=1"},
        {"fbclid=1&a=1&fbclid=2&a=2", false, "?a=1&a=2"},
        {"", false, "?"},
        {"&utm_source=x", false, "?"},
        {"utm_source=x&", false, "?"},
        {"&&", false, "?&&"},
        /* only whole names, spelled the same */
        {"utm_sourc=x", false, "?utm_sourc=x"},
        {"utm_source2=x", false, "?utm_source2=x"},
        {"UTM_SOURCE=x", false, "?UTM_SOURCE=x"},
        {"utm%5Fsource=x", false, "?utm%5Fsource=x"},
        {"a=utm_source", false, "?a=utm_source"},
        {"a=1;utm_source=x", false, "?a=1;utm_source=x"},
        {"=utm_source", false, "?=utm_source"},
        {"a=1", true, ""},
        {"", true, ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct key_parts parts = {
            .scheme = SPAN_LITERAL("https"),
            .host = SPAN_LITERAL("h"),
            .path = SPAN_LITERAL("/p"),
            .query = exact_str(cases[i].query),
            .has_query = true,
            .ignore = names,
            .nignore = COUNT(names),
            .ignore_all = cases[i].all,
        };
        struct key key;

        assert_int_equal(key_build(&key, &parts), KEY_OK);
        if (strncmp(key.text, "https://h/p", 11) != 0 || strcmp(key.text + 11, cases[i].rest) != 0)
            fail_msg("<%s>: <%s>, wanted <%s>", cases[i].query, key.text, cases[i].rest);
        exact_free(parts.query);
    }
}

/* ---- long URLs ---- */

static enum key_error build_long(struct key *key, size_t path_n, size_t query_n, char fill, char **plain)
{
    char *text = malloc(64 + path_n + query_n);
    struct key_parts parts = {.scheme = SPAN_LITERAL("https"), .host = SPAN_LITERAL("www.example.com")};
    size_t n;
    enum key_error e;

    assert_non_null(text);
    n = (size_t)sprintf(text, "https://www.example.com/");
    memset(text + n, 'p', path_n);
    n += path_n;
    n += (size_t)sprintf(text + n, "?q=");
    memset(text + n, fill, query_n);
    text[n + query_n] = '\0';
    parts.path = exact(text + 23, path_n + 1);
    parts.query = exact(text + n - 2, query_n + 2);
    parts.has_query = true;
    e = key_build(key, &parts);
    exact_free(parts.path);
    exact_free(parts.query);
    *plain = text;
    return e;
}

/* What the header says, done the simple way. */
static void expect_shortened(const struct key *key, const char *plain, size_t keep)
{
    unsigned char sum[32];
    char want[KEY_SIZE];
    size_t n = keep, length = sizeof(sum);

    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, plain, strlen(plain), sum, &length), 1);
    memcpy(want, plain, keep);
    want[n++] = '~';
    for (size_t i = 0; i < sizeof(sum); i++)
        n += (size_t)sprintf(want + n, "%02x", (unsigned)sum[i]);
    assert_string_equal(key->text, want);
    assert_int_equal(key->n, n);
    assert_true(key_is_shortened(span_of(key->text, key->n)));
}

static void test_long_query(void **state)
{
    /* sha256 by Python's hashlib */
    static const char tail[] = "~387c7ebfd0f401f75c59b5869f7fcfd93ed340e5470118a09ddff4e4753d13d8";
    char text[8300];
    size_t n = (size_t)sprintf(text, "https://www.example.com/search?q=");
    struct span url;
    struct key key;

    (void)state;
    memset(text + n, 'a', 8192);
    url = exact(text, n + 8192);
    assert_int_equal(key_from_url(&key, url), KEY_OK);
    exact_free(url);
    assert_memory_equal(key.text, "https://www.example.com/search?q=aaaa", 37);
    assert_string_equal(key.text + 200, tail);
}

/* Every length around the limit and around the chunks in which a long key is hashed. */
static void test_every_length(void **state)
{
    struct key key;
    char *plain;

    (void)state;
    for (size_t query_n = 900; query_n < 1600; query_n++) {
        assert_int_equal(build_long(&key, 0, query_n, 'x', &plain), KEY_OK);
        if (strlen(plain) <= KEY_MAX)
            assert_string_equal(key.text, plain);
        else
            expect_shortened(&key, plain, 200);
        free(plain);
    }
}

/* The path stays whole, because scopes are read off the key; a path without room for the rest has none. */
static void test_long_path(void **state)
{
    const size_t tail = 65;
    struct key key;
    char *plain;

    (void)state;
    for (size_t path_n = 100; path_n < 1100; path_n++) {
        size_t through_mark = 24 + path_n + 1;
        enum key_error e = build_long(&key, path_n, 2000, 'x', &plain);

        if (through_mark > KEY_MAX - tail) {
            assert_int_equal(e, KEY_TOO_LONG);
            assert_int_equal(key.n, 0);
            assert_string_equal(key.text, "");
        } else {
            assert_int_equal(e, KEY_OK);
            expect_shortened(&key, plain, through_mark > 200 ? through_mark : 200);
        }
        free(plain);
    }
}

/* Runs of slashes make a path as long as one likes: such a URL is never shortened. */
static void test_long_runs(void **state)
{
    static const char *const paths[] = {"/a//b", "//", "/a/%2f", "/a%2F%2Fb", "//a"};
    char query[2000];
    struct key_parts parts = {.scheme = SPAN_LITERAL("https"), .host = SPAN_LITERAL("h"), .has_query = true};
    struct key key;

    (void)state;
    memset(query, 'q', sizeof(query));
    for (size_t i = 0; i < COUNT(paths); i++) {
        parts.path = span_str(paths[i]);
        parts.query = span_of(query, 500);
        assert_int_equal(key_build(&key, &parts), KEY_OK);
        parts.query = span_of(query, sizeof(query));
        assert_int_equal(key_build(&key, &parts), KEY_TOO_LONG);
    }
    parts.path = SPAN_LITERAL("/a/b/");
    assert_int_equal(key_build(&key, &parts), KEY_OK);
}

/* A path alone may fill the key, but not pass it. */
static void test_path_alone(void **state)
{
    char path[KEY_MAX];
    struct key_parts parts = {.scheme = SPAN_LITERAL("https"), .host = SPAN_LITERAL("h")};
    struct key key;

    (void)state;
    memset(path, 'p', sizeof(path));
    path[0] = '/';
    parts.path = span_of(path, KEY_MAX - 9);
    assert_int_equal(key_build(&key, &parts), KEY_OK);
    assert_int_equal(key.n, KEY_MAX);
    parts.path.n++;
    assert_int_equal(key_build(&key, &parts), KEY_TOO_LONG);
    assert_int_equal(key.n, 0);
}

/* Who asks for a URL that looks like another's shortened key does not get that key. */
static void test_lookalike(void **state)
{
    struct key real, fake;
    struct key_parts parts = {.scheme = SPAN_LITERAL("https"),
                              .host = SPAN_LITERAL("www.example.com"),
                              .path = SPAN_LITERAL("/"),
                              .has_query = true};
    char *plain;

    (void)state;
    assert_int_equal(build_long(&real, 0, 2000, 'x', &plain), KEY_OK);
    free(plain);
    parts.query = exact(real.text + 25, real.n - 25);
    assert_int_equal(key_build(&fake, &parts), KEY_OK);
    assert_string_not_equal(fake.text, real.text);
    expect_shortened(&fake, real.text, 200);
    exact_free(parts.query);
    /* Typed by a person it is the key they copied. */
    assert_int_equal(key_from_url(&fake, span_of(real.text, real.n)), KEY_OK);
    assert_string_equal(fake.text, real.text);
}

/* ---- as people type it ---- */

static const struct {
    const char *url, *key; /* NULL: the error */
    enum key_error error;
} urls[] = {
    {"www.example.com/products/42", "http://www.example.com/products/42", 0},
    {"https://www.example.com/products/42?lang=de", "https://www.example.com/products/42?lang=de", 0},
    {"HTTPS://WWW.EXAMPLE.COM:443/A", "https://www.example.com/A", 0},
    {"  https://h/p\t", "https://h/p", 0},
    {"h", "http://h/", 0},
    {"h?q", "http://h/?q", 0},
    {"https://h", "https://h/", 0},
    {"h:8080/p", "http://h:8080/p", 0},
    {"h:80/p", "http://h/p", 0},
    {"h:/p", "http://h/p", 0},
    {"[::1]:8080/p", "http://[::1]:8080/p", 0},
    {"[0:0::1]/p", "http://[::1]/p", 0},
    {"h/p#top", "http://h/p", 0},
    {"h/p?q#d1", "http://h/p?q", 0},
    {"h/p?u=https://x/y?z", "http://h/p?u=https://x/y?z", 0},
    {"h/https://x", "http://h/https://x", 0},
    {"h/a b{c}", "http://h/a%20b%7Bc%7D", 0},
    {"h/\xc3\xa9", "http://h/%C3%A9", 0},
    {"h/p?", "http://h/p?", 0},
    {"", NULL, KEY_BAD_HOST},
    {" ", NULL, KEY_BAD_HOST},
    {"/p", NULL, KEY_BAD_HOST},
    {"//h/p", NULL, KEY_BAD_HOST},
    {"?q", NULL, KEY_BAD_HOST},
    {"#x", NULL, KEY_BAD_HOST},
    {"https://", NULL, KEY_BAD_HOST},
    {"https:///p", NULL, KEY_BAD_HOST},
    {"user@h/p", NULL, KEY_BAD_HOST},
    {"user:pw@h/p", NULL, KEY_BAD_HOST},
    {"https://user:pw@h/p", NULL, KEY_BAD_HOST},
    {"https://user:443@h/p", NULL, KEY_BAD_HOST},
    {"https://h:443@evil/p", NULL, KEY_BAD_HOST},
    {"[::1/p", NULL, KEY_BAD_HOST},
    {"[::1]x/p", NULL, KEY_BAD_HOST},
    {"ftp://h/p", NULL, KEY_BAD_SCHEME},
    {"://h/p", NULL, KEY_BAD_SCHEME},
    {"h:x/p", NULL, KEY_BAD_PORT},
    {"h:0/p", NULL, KEY_BAD_PORT},
    {"h:65536/p", NULL, KEY_BAD_PORT},
    {"h:999999999999/p", NULL, KEY_BAD_PORT},
    {"h:-1/p", NULL, KEY_BAD_PORT},
    {"http:h/p", NULL, KEY_BAD_PORT},
    {"h/p\r\n", NULL, KEY_BAD_PATH},
    {"h/a\tb", NULL, KEY_BAD_PATH},
    {"h/\x7f", NULL, KEY_BAD_PATH},
    {"h/a/../b", NULL, KEY_BAD_PATH},
    {"h/100%", NULL, KEY_BAD_PATH},
};

static void test_from_url(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        struct span url = exact_str(urls[i].url);
        struct key key, again;
        enum key_error e = key_from_url(&key, url);

        if (e != (urls[i].key ? KEY_OK : urls[i].error) || strcmp(key.text, urls[i].key ? urls[i].key : "") != 0)
            fail_msg("<%s>: <%s> (%s)", urls[i].url, key.text, key_error_text(e));
        exact_free(url);
        if (e)
            continue;
        /* A key is its own key, with and without its scheme. */
        assert_int_equal(key_from_url(&again, span_of(key.text, key.n)), KEY_OK);
        assert_string_equal(again.text, key.text);
        if (key.scheme == 7) {
            assert_int_equal(key_from_url(&again, span_of(key.text + 7, key.n - 7)), KEY_OK);
            assert_string_equal(again.text, key.text);
        }
    }
}

static void test_nul_in_url(void **state)
{
    struct key key;

    (void)state;
    assert_int_equal(key_from_url(&key, SPAN_LITERAL("h/a\0b")), KEY_BAD_PATH);
    assert_int_equal(key_from_url(&key, SPAN_LITERAL("h\0/a")), KEY_BAD_PATH);
    assert_int_equal(key_from_url(&key, span_of(NULL, 0)), KEY_BAD_HOST);
}

static void test_error_texts(void **state)
{
    (void)state;
    for (int a = KEY_OK; a <= KEY_TOO_LONG; a++)
        for (int b = KEY_OK; b < a; b++)
            assert_string_not_equal(key_error_text((enum key_error)a), key_error_text((enum key_error)b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build),        cmocka_unit_test(test_ignore),      cmocka_unit_test(test_long_query),
        cmocka_unit_test(test_every_length), cmocka_unit_test(test_long_path),   cmocka_unit_test(test_path_alone),
        cmocka_unit_test(test_long_runs),    cmocka_unit_test(test_lookalike),   cmocka_unit_test(test_from_url),
        cmocka_unit_test(test_nul_in_url),   cmocka_unit_test(test_error_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
