/* SPDX-License-Identifier: Apache-2.0 */
/* Named versions: how a record tells one, and what is known after several. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "etagd/lib/key.h"
#include "etagd/lib/version.h"
#include "etagd/versions.h"
#include "tests/unit/exact.h"

#define SPAN SPAN_LITERAL

/* ---- reading ---- */

static void expect_read(struct span arg, const char *name, const char *value)
{
    struct span copy = exact(arg.p, arg.n), n, v;
    bool read = version_read(copy, &n, &v);

    assert_int_equal(read, name != NULL);
    if (read)
        assert_true(span_eq(n, span_str(name)) && span_eq(v, span_str(value)));
    exact_free(copy);
}

static void reading_is_strict(void **state)
{
    char name[VERSION_NAME_MAX + 2 + VERSION_VALUE_MAX + 1];

    (void)state;
    expect_read(SPAN("Patient 8123"), "Patient", "8123");
    expect_read(SPAN("a W/\"x\" {y}#*"), "a", "W/\"x\" {y}#*");
    expect_read(SPAN("shop.example:tables/orders@eu+1-2_3 2026-11-24 21:13:05+00"),
                "shop.example:tables/orders@eu+1-2_3", "2026-11-24 21:13:05+00");
    const struct span none[] = {SPAN(""),
                                SPAN("Patient"),
                                SPAN("Patient "),
                                SPAN(" 8123"),
                                SPAN("P  8123"),
                                SPAN("P 8123 "),
                                SPAN(" P 8123"),
                                SPAN("P\t8123"),
                                SPAN("P 81\t3"),
                                SPAN("P 8123\n"),
                                SPAN("P\n8123"),
                                SPAN("P 8\0"
                                     "1"),
                                SPAN("P=8123"),
                                SPAN("P{1} 8123"),
                                SPAN("\"P\" 8123"),
                                SPAN("P\xc3\xa4 1"),
                                SPAN("P \xc3\xa4"),
                                SPAN("P 8\x7f"),
                                SPAN("P#x 1"),
                                SPAN("* 1")};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        expect_read(none[i], NULL, NULL);
    memset(name, 'n', sizeof name);
    name[VERSION_NAME_MAX] = ' ';
    assert_true(
        version_read(span_of(name, VERSION_NAME_MAX + 1 + VERSION_VALUE_MAX), &(struct span){0}, &(struct span){0}));
    expect_read(span_of(name, VERSION_NAME_MAX + 2 + VERSION_VALUE_MAX), NULL, NULL);
    name[VERSION_NAME_MAX] = 'n';
    name[VERSION_NAME_MAX + 1] = ' ';
    expect_read(span_of(name, VERSION_NAME_MAX + 3), NULL, NULL);
}

static void keys(void **state)
{
    char text[VERSION_KEY_SIZE];
    struct key url;
    struct span name;

    (void)state;
    assert_int_not_equal(key_from_url(&url, SPAN("=Patient")), KEY_OK);
    assert_true(span_eq(version_key(text, SPAN("Patient")), SPAN("=Patient")));
    assert_true(version_of_key(SPAN("=Patient"), &name) && span_eq(name, SPAN("Patient")));
    assert_false(version_of_key(SPAN("="), &name) || version_of_key(SPAN(""), &name) ||
                 version_of_key(SPAN("https://h/p"), &name) || version_of_key(SPAN("=a b"), &name));
}

/* ---- telling ---- */

static void expect_present(const struct versions *v, const char *name, const char *value)
{
    struct version found;
    bool known = versions_find(v, span_str(name), &found) && !found.doubtful;

    assert_int_equal(known, value != NULL);
    if (known)
        assert_true(span_eq(found.value, span_str(value)));
}

static enum versions_verdict tell(struct versions *v, const char *name, const char *value)
{
    static struct log_id id = {1, 0};

    id.seq++;
    return versions_tell(v, span_str(name), span_str(value), id);
}

static void the_newest_counts(void **state)
{
    struct versions *v = versions_new();
    struct version found;

    (void)state;
    expect_present(v, "P", NULL);
    assert_int_equal(tell(v, "P", "8123"), VERSIONS_NEW);
    assert_true(versions_find(v, SPAN("P"), &found));
    const struct log_id told = found.told;
    assert_int_equal(tell(v, "E", "5"), VERSIONS_NEW);
    assert_int_equal(tell(v, "P", "8123"), VERSIONS_SAME);
    assert_true(versions_find(v, SPAN("P"), &found) && log_id_cmp(found.told, told) == 0);
    assert_int_equal(tell(v, "P", "10000"), VERSIONS_NEW);
    expect_present(v, "P", "10000");
    expect_present(v, "E", "5");
    expect_present(v, "p", NULL);
    assert_int_equal(versions_count(v), 2);
    versions_clear(v);
    assert_int_equal(versions_count(v), 0);
    expect_present(v, "P", NULL);
    assert_int_equal(tell(v, "P", "8123"), VERSIONS_NEW); /* a former epoch's values do not count */
    versions_free(v);
}

static void what_goes_back_is_in_doubt(void **state)
{
    struct versions *v = versions_new();

    (void)state;
    tell(v, "P", "8123");
    tell(v, "P", "8125");
    assert_int_equal(tell(v, "P", "8124"), VERSIONS_DOUBT); /* never told, but below */
    expect_present(v, "P", NULL);
    assert_int_equal(tell(v, "P", "8124"), VERSIONS_DOUBT);
    assert_int_equal(tell(v, "P", "8125"), VERSIONS_DOUBT); /* which of the two is newer cannot be told */
    assert_int_equal(tell(v, "P", "8126"), VERSIONS_NEW);
    expect_present(v, "P", "8126");
    assert_int_equal(tell(v, "P", "999"), VERSIONS_DOUBT); /* by value, not by text */
    tell(v, "r", "r41");
    tell(v, "r", "r42");
    assert_int_equal(tell(v, "r", "r41"), VERSIONS_DOUBT); /* a roll-back */
    expect_present(v, "r", NULL);
    assert_int_equal(tell(v, "r", "r41-again"), VERSIONS_NEW);
    expect_present(v, "r", "r41-again");
    assert_int_equal(tell(v, "r", "r42"), VERSIONS_DOUBT);
    /* Numbers with another spelling, or above any machine's, are compared as what they are. */
    tell(v, "n", "99999999999999999999999");
    assert_int_equal(tell(v, "n", "99999999999999999999998"), VERSIONS_DOUBT);
    assert_int_equal(tell(v, "n", "100000000000000000000000"), VERSIONS_NEW);
    assert_int_equal(tell(v, "n", "007"), VERSIONS_NEW); /* a text */
    versions_free(v);
}

static void as_many_are_remembered_as_said(void **state)
{
    struct versions *v = versions_new();
    char value[16];

    (void)state;
    for (unsigned i = 0; i <= VERSIONS_LEFT; i++) {
        snprintf(value, sizeof value, "v%u", i);
        assert_int_equal(tell(v, "r", value), VERSIONS_NEW);
    }
    for (unsigned i = 0; i < VERSIONS_LEFT; i++) {
        snprintf(value, sizeof value, "v%u", i);
        assert_int_equal(tell(v, "r", value), VERSIONS_DOUBT);
    }
    versions_free(v);
}

static void names_have_an_end(void **state)
{
    struct versions *v = versions_new();
    char name[16];

    (void)state;
    for (unsigned i = 0; i < VERSIONS_MAX; i++) {
        snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(tell(v, name, "1"), VERSIONS_NEW);
    }
    assert_int_equal(tell(v, "one-more", "1"), VERSIONS_FULL);
    expect_present(v, "one-more", NULL);
    assert_int_equal(tell(v, "n7", "2"), VERSIONS_NEW); /* those that are there go on */
    expect_present(v, "n7", "2");
    versions_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_is_strict),
        cmocka_unit_test(keys),
        cmocka_unit_test(the_newest_counts),
        cmocka_unit_test(what_goes_back_is_in_doubt),
        cmocka_unit_test(as_many_are_remembered_as_said),
        cmocka_unit_test(names_have_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
