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

static void versions_are_told(void **state)
{
    struct span fields[2 * (EFFECT_TOLD + 1)] = {SPAN("version"), SPAN("a 1"), SPAN("tag"), SPAN("x"), SPAN("version"),
                                                 SPAN("b 2")};
    struct hosts *h = hosts_new();
    struct effect e = {0};

    (void)state;
    effect_of(&e, h, fields, 6);
    assert_true(!e.all && !e.nothing && e.nscopes == 2 && e.ntold == 2);
    assert_true(span_eq(e.told[0], SPAN("a 1")) && span_eq(e.told[1], SPAN("b 2")));
    fields[1] = SPAN("a"); /* no value: what has changed cannot be told */
    effect_of(&e, h, fields, 6);
    assert_true(e.all && e.widened == 1 && e.ntold == 1);
    for (size_t i = 0; i <= EFFECT_TOLD; i++) {
        fields[2 * i] = SPAN("version");
        fields[2 * i + 1] = SPAN("a 1");
    }
    effect_of(&e, h, fields, 2 * EFFECT_TOLD);
    assert_true(!e.all && e.ntold == EFFECT_TOLD);
    effect_of(&e, h, fields, 2 * (EFFECT_TOLD + 1));
    assert_true(e.all && e.widened == 1 && e.ntold == EFFECT_TOLD);
    effect_free(&e);
    hosts_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_hosts_are_resolved),
        cmocka_unit_test(what_the_hash_lacks_is_announced),
        cmocka_unit_test(one_record_has_one_effect),
        cmocka_unit_test(versions_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
