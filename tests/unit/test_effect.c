/* SPDX-License-Identifier: Apache-2.0 */
/* What a record of the log does, with names of hosts resolved. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "etagd/effect.h"

#define SPAN SPAN_LITERAL

struct texts {
    char all[4096];
};

static void expect_effect(struct hosts *h, const char *op, const char *arg, const char *expected)
{
    struct span fields[] = {span_str(op), span_str(arg)};
    struct effect e = {0};
    char text[4096] = "";

    effect_of(&e, h, fields, 2);
    if (e.all)
        strcpy(text, "all ");
    else
        for (size_t i = 0; i < e.nscopes; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s ", (int)e.scopes[i].n, e.scopes[i].p);
    assert_string_equal(text, expected);
    effect_free(&e);
}

static void names_of_hosts_are_resolved(void **state)
{
    struct hosts *h = hosts_new();

    (void)state;
    expect_effect(h, "url", "anything.example/p", "Uanything.example/p "); /* nobody announced anything */
    assert_true(hosts_announce(h, SPAN("WWW.example.com"), SPAN("example.com:8443")));
    expect_effect(h, "url", "www.example.com/p", "Uexample.com/p ");
    expect_effect(h, "url", "https://WWW.Example.com/p?q", "Uexample.com/p?q Qexample.com/p ");
    expect_effect(h, "url", "www.example.com:8080/p", "Uexample.com/p ");
    expect_effect(h, "prefix", "www.example.com/a/", "Pexample.com/a ");
    expect_effect(h, "host", "www.example.com", "Hexample.com ");
    expect_effect(h, "group", "www.example.com news", "Gexample.com news T* ");
    expect_effect(h, "url", "example.com/p", "Uexample.com/p ");
    expect_effect(h, "tag", "www.example.com", "Twww.example.com T* ");
    expect_effect(h, "url", "exmaple.com/p", "all ");
    expect_effect(h, "url", "example.co/p", "all ");
    expect_effect(h, "host", "exmaple.com", "all ");
    expect_effect(h, "group", "exmaple.com news", "all ");
    expect_effect(h, "prefix", "/p/", "all ");
    expect_effect(h, "urll", "example.com/p", "all ");
    expect_effect(h, "by", "me", "");
    /* Two sites behind one alias are one, and its name is the smallest. */
    assert_true(hosts_announce(h, SPAN("www.example.com"), SPAN("b.example:8443")));
    expect_effect(h, "url", "example.com/p", "Ub.example/p ");
    expect_effect(h, "host", "b.example:80", "Hb.example ");
    assert_true(hosts_announce(h, SPAN("[0:0::1]"), SPAN("b.example")));
    expect_effect(h, "prefix", "[::1]:8080/a", "P[::1]/a ");
    expect_effect(h, "group", "www.example.com a b", "G[::1] a b T* ");
    /* A pair that cannot be kept could be any: from now on every host is unknown, tags are not. */
    assert_false(hosts_announce(h, SPAN("bad host"), SPAN("example.com")));
    expect_effect(h, "url", "www.example.com/p", "all ");
    expect_effect(h, "tag", "x", "Tx T* ");
    hosts_free(h);
}

#define SITE 64u

static void expect_one_site(const struct hosts *h, unsigned names)
{
    char text[32], out[SCOPE_TEXT];
    struct span resolved;

    for (unsigned i = 0; i < names; i++) {
        snprintf(text, sizeof text, "Uh%02u.example/p?q", i);
        assert_true(hosts_resolve(h, span_str(text), out, &resolved));
        assert_true(span_eq(resolved, SPAN("Uh00.example/p?q")));
    }
}

/* In whatever order the pairs arrive, and whichever they are: who is connected is one site, under one name. */
static void the_order_of_announcements_is_irrelevant(void **state)
{
    unsigned order[SITE], seed = 1;

    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        struct hosts *h = hosts_new();

        for (unsigned i = 0; i < SITE; i++)
            order[i] = i;
        for (unsigned i = SITE - 1; i > 0; i--) {
            unsigned j = (seed = seed * 1103515245 + 12345) / 65536 % (i + 1), kept = order[i];

            order[i] = order[j];
            order[j] = kept;
        }
        for (unsigned i = 0; i < SITE; i++) { /* a tree: each name with one of those below it */
            char alias[32], host[32];
            unsigned n = order[i];

            snprintf(alias, sizeof alias, "h%02u.example", n);
            snprintf(host, sizeof host, "h%02u.example", round % 2 ? n / 2 : n ? n - 1 : 0);
            assert_true(round % 3 ? hosts_announce(h, span_str(alias), span_str(host))
                                  : hosts_announce(h, span_str(host), span_str(alias)));
        }
        expect_one_site(h, SITE);
        assert_int_equal(hosts_count(h), SITE);
        assert_int_equal(hosts_version(h), SITE - 1);
        hosts_free(h);
    }
}

/* What was judged before a version is void, so it must not stay when groups change, nor change without that. */
static void the_version_grows_with_the_groups(void **state)
{
    struct hosts *h = hosts_new();

    (void)state;
    hosts_announce(h, SPAN("www.example"), SPAN("www.example"));
    hosts_announce(h, SPAN("www.example:80"), SPAN("www.example:8080"));
    assert_int_equal(hosts_version(h), 0);
    hosts_announce(h, SPAN("b.example"), SPAN("www.example"));
    assert_int_equal(hosts_version(h), 1);
    hosts_shared_begin(h);
    hosts_shared(h, SPAN("a.example"), SPAN("www.example b.example"));
    assert_int_equal(hosts_version(h), 2);
    hosts_shared(h, SPAN("b.example"), SPAN("a.example:8443"));
    hosts_announce(h, SPAN("a.example"), SPAN("www.example"));
    assert_int_equal(hosts_version(h), 2);
    hosts_announce(h, SPAN("other.example"), SPAN("other.example"));
    assert_int_equal(hosts_version(h), 2);
    hosts_announce(h, SPAN("other.example"), SPAN("a.example"));
    assert_int_equal(hosts_version(h), 3);
    hosts_shared(h, SPAN("x.example"), SPAN("no/host"));
    hosts_shared(h, SPAN("y.example"), SPAN("no/host"));
    assert_int_equal(hosts_version(h), 4);
    hosts_free(h);
}

/* A name may stand for many sites: no pair is too many. */
static void many_hosts_share_an_alias(void **state)
{
    struct hosts *h = hosts_new();
    char text[32], out[SCOPE_TEXT];
    struct span resolved;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "site-%u.example", i);
        assert_true(hosts_announce(h, SPAN("localhost"), span_str(text)));
    }
    assert_true(hosts_resolve(h, SPAN("Hsite-999.example"), out, &resolved));
    assert_true(span_eq(resolved, SPAN("Hlocalhost")));
    hosts_free(h);
}

static void on_missing(void *arg, struct span alias, struct span value)
{
    struct texts *t = arg;

    snprintf(t->all + strlen(t->all), sizeof t->all - strlen(t->all), "%.*s=%.*s;", (int)alias.n, alias.p, (int)value.n,
             value.p);
}

static void what_the_hash_lacks_is_announced(void **state)
{
    struct hosts *h = hosts_new();
    struct texts t = {""};

    (void)state;
    hosts_announce(h, SPAN("a.example"), SPAN("one.example"));
    hosts_shared_begin(h);
    hosts_shared(h, SPAN("a.example"), SPAN("two.example"));
    hosts_missing(h, on_missing, &t);
    assert_string_equal(t.all, "a.example=two.example one.example;"); /* nobody's is taken away */
    t.all[0] = '\0';
    hosts_shared_begin(h);
    hosts_shared(h, SPAN("a.example"), SPAN("one.example  two.example"));
    hosts_missing(h, on_missing, &t);
    assert_string_equal(t.all, "");
    expect_effect(h, "host", "two.example", "Ha.example ");
    hosts_free(h);
}

static void one_record_has_one_effect(void **state)
{
    struct span fields[] = {SPAN("url"),    SPAN("h/p"), SPAN("tag"),   SPAN("x"),   SPAN("by"),      SPAN("me"),
                            SPAN("settle"), SPAN("250"), SPAN("epoch"), SPAN("abc"), SPAN("x-hosts"), SPAN("changed")};
    struct hosts *h = hosts_new();
    struct effect e = {0};

    (void)state;
    effect_of(&e, h, fields, 12);
    assert_true(!e.all && !e.nothing && e.hosts_changed && e.settle_ms == 250 && e.nscopes == 3);
    assert_true(span_eq(e.epoch, SPAN("abc")));
    effect_of(&e, h, fields + 4, 2);
    assert_true(e.nothing && e.nscopes == 0 && e.settle_ms == 0 && !e.hosts_changed);
    effect_of(&e, h, fields, 3); /* half a pair */
    assert_true(e.all);
    effect_free(&e);
    hosts_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_hosts_are_resolved),
        cmocka_unit_test(the_order_of_announcements_is_irrelevant),
        cmocka_unit_test(the_version_grows_with_the_groups),
        cmocka_unit_test(many_hosts_share_an_alias),
        cmocka_unit_test(what_the_hash_lacks_is_announced),
        cmocka_unit_test(one_record_has_one_effect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
