/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a site: which are one group, and what the store forgets by them. */
#include "tests/unit/store_fixture.h"

#include "etagd/hosts.h"
#include "etagd/positions.h"

/* ---- groups ---- */

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

/* ---- what the store forgets by them ---- */

static void announce(struct node *n, const char *alias, const char *host)
{
    struct span pair[] = {span_str(alias), span_str(host)};

    store_hosts(n->store, pair, 2);
}

/* The page is learned under www.example.com; each of these names it by another name, or by its own. */
static void every_name_of_the_site_invalidates(void **state)
{
    static const char *const operations[][2] = {
        {"url", "other.example/shop/products/42?lang=de"},
        {"url", "other.example:8443/shop/products/42"},
        {"url", "a.example/shop/products/42"},
        {"url", "www.example.com:8080/shop/products/42"},
        {"prefix", "a.example/shop/"},
        {"host", "other.example"},
        {"group", "a.example news desk"},
        {"url", "www.example.com/shop/products/42"},
        {"url", "nobody.example/"},
    };
    struct node *n = *state;

    announce(n, "other.example", "www.example.com");
    announce(n, "a.example", "other.example:8080");
    announce(n, "next.example", "next.example");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        learn(n);
        invalidate(n, "url", "next.example/shop/products/42");
        invalidate(n, "host", "next.example");
        assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
        invalidate(n, operations[i][0], operations[i][1]);
        if (look(n, PLAIN "#" VARIANT) != TABLE_STALE)
            fail_msg("%s %s", operations[i][0], operations[i][1]);
    }
}

/* Also when nothing of it is the smallest name, as it was when the page was learned. */
static void a_new_name_voids_what_was_judged_without_it(void **state)
{
    static const char *const pairs[][2] = {
        {"other.example.com", "www.example.com"}, {"a.example", "other.example.com"}, {"www.example.com", "no host"}};
    struct node *n = *state;
    struct span names;

    announce(n, "www.example.com", "www.example.com");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct table_snapshot begun = before(n);

        learn(n);
        announce(n, "www.example.com", "www.example.com:8080");
        assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_HIT);
        announce(n, pairs[i][0], pairs[i][1]);
        assert_int_equal(look(n, PLAIN "#" VARIANT), TABLE_STALE);
        assert_int_equal(publish(n, begun, &usual, &names), STORE_STALE);
    }
}

/* What had been named under the old names, in the log or not yet, counts for all that is stored elsewhere. */
static void positions_follow_a_change_of_names(void **state)
{
    struct positions *p = positions_new();
    struct span old = SPAN("Uold.example/p"), new = SPAN("Unew.example/p");
    struct log_id at = {1000, 5}, before_it = {1000, 4}, after = {1000, 6};

    (void)state;
    positions_mark(p, old, at);
    assert_false(positions_covered(p, &new, 1, before_it));
    positions_rename(p);
    assert_true(positions_covered(p, &new, 1, before_it));
    assert_false(positions_covered(p, &new, 1, after));
    positions_pend(p, old, 7);
    assert_false(positions_covered(p, &new, 1, after));
    positions_rename(p);
    assert_true(positions_covered(p, &new, 1, after));
    positions_acknowledge(p, 7);
    assert_false(positions_covered(p, &new, 1, after));
    positions_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_announcements_is_irrelevant),
        cmocka_unit_test(the_version_grows_with_the_groups),
        cmocka_unit_test(many_hosts_share_an_alias),
        cmocka_unit_test_setup_teardown(every_name_of_the_site_invalidates, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_name_voids_what_was_judged_without_it, setup, teardown),
        cmocka_unit_test(positions_follow_a_change_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
