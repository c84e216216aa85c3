/* SPDX-License-Identifier: Apache-2.0 */
/* Names: under which variant they lie, who may carry which, and what the embedded store makes of it. */
#include "tests/unit/store_fixture.h"

#include "etagd/lib/digest.h"
#include "etagd/lib/name.h"
#include "etagd/name_judge.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- variants ---- */

struct labels {
    const char *tags[4], *groups[4];
    unsigned flags;
};

static size_t spans(const char *const words[4], struct span out[4])
{
    size_t n = 0;

    while (n < 4 && words[n]) {
        out[n] = span_str(words[n]);
        n++;
    }
    return n;
}

static void variant_of(const struct labels *l, char out[NAME_VARIANT_SIZE])
{
    struct digest *d = digest_new();
    struct span tags[4], groups[4];
    size_t ntags = spans(l->tags, tags), ngroups = spans(l->groups, groups);

    assert_true(name_variant(d, NAME_GENERATION, l->flags, tags, ntags, groups, ngroups, out));
    digest_free(d);
}

static void a_variant_is_a_set_of_labels(void **state)
{
    static const struct labels same[] = {
        {{"a", "b"}, {"c"}, 0}, {{"b", "a"}, {"c"}, 0}, {{"b", "a", "b"}, {"c", "c"}, 0}};
    static const struct labels others[] = {
        {{"a", "b"}, {NULL}, 0}, {{"a", "b", "c"}, {NULL}, 0},         {{"a"}, {"b", "c"}, 0},
        {{"ab"}, {"c"}, 0},      {{"a", "b"}, {"c"}, ENTRY_ANY_QUERY}, {{NULL}, {NULL}, ENTRY_ANY_QUERY},
    };
    char first[NAME_VARIANT_SIZE], other[NAME_VARIANT_SIZE];

    (void)state;
    variant_of(&same[0], first);
    assert_string_equal(first, "g.3wyetkoRbQ8hoziA"); /* the same on every machine: nodes share what lies there */
    for (size_t i = 1; i < COUNT(same); i++) {
        variant_of(&same[i], other);
        assert_string_equal(first, other);
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        variant_of(&others[i], other);
        assert_string_not_equal(first, other);
        assert_true(name_is_variant(span_str(other)));
    }
    variant_of(&(struct labels){.flags = ENTRY_WEAK}, other);
    assert_string_equal(other, "g");
}

static void names_variants_are_no_requests(void **state)
{
    (void)state;
    assert_true(name_is_variant(SPAN("g")) && name_is_variant(SPAN("m")) &&
                name_is_variant(SPAN("g.0123456789abcdef")));
    assert_false(name_is_variant(SPAN("")) || name_is_variant(SPAN("ghijklmnopqrstuv")) ||
                 name_is_variant(SPAN("mhijklmnopqrstuv")) || name_is_variant(SPAN("!1.2.3")) ||
                 name_is_variant(SPAN("h")));
}

static void too_many_labels_have_no_variant(void **state)
{
    struct span many[NAME_LABELS_MAX + 1];
    struct digest *d = digest_new();
    char out[NAME_VARIANT_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = SPAN("x");
    assert_true(name_variant(d, 'g', 0, many, NAME_LABELS_MAX, NULL, 0, out));
    assert_false(name_variant(d, 'g', 0, many, NAME_LABELS_MAX + 1, NULL, 0, out));
    assert_false(name_variant(d, 'g', 0, many, NAME_LABELS_MAX, many, 1, out));
    digest_free(d);
}

static void contents_round_trip(void **state)
{
    static const int64_t moments[] = {0, 1700000000, -1, INT64_MAX, -INT64_MAX};
    static const char *const bad[] = {"", "1", ":", ":-", ":x", ":1 ", ":9223372036854775808", ":a", ":--1"};
    uint8_t digest[DIGEST_SIZE] = {0, 1, 0xab, 0xff}, back[DIGEST_SIZE];
    char text[NAME_CONTENT_SIZE];
    int64_t mtime;

    (void)state;
    for (size_t i = 0; i < COUNT(moments); i++) {
        size_t n = name_content_write(digest, moments[i], text);

        assert_int_equal(n, strlen(text));
        assert_true(name_content_read(span_of(text, n), back, &mtime) && mtime == moments[i]);
        assert_memory_equal(digest, back, sizeof back);
        text[7] = 'G';
        assert_false(name_content_read(span_of(text, n), back, &mtime));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        name_content_write(digest, 1, text);
        snprintf(text + 2 * DIGEST_SIZE, sizeof text - 2 * DIGEST_SIZE, "%s", bad[i]);
        if (name_content_read(span_str(text), back, &mtime))
            fail_msg("%s", text);
    }
}

/* ---- judging ---- */

static const struct log_id before_it = {10, 0}, at_it = {20, 0}, after_it = {30, 0};

static enum name_verdict judge_generation(bool known, bool valid, struct log_id as_of, struct log_id mine, bool covered)
{
    struct name_claim claim = {.kind = NAME_GENERATION, .as_of = mine, .covered = covered};
    struct name_stored stored = {.known = known, .valid = valid, .as_of = as_of};
    struct name_decision d;

    name_judge(&claim, &stored, &d);
    assert_true(d.stands == (d.verdict == NAME_GIVEN));
    return d.verdict;
}

static void a_generations_name_is_never_of_a_later_one(void **state)
{
    (void)state;
    assert_int_equal(judge_generation(true, true, at_it, at_it, false), NAME_GIVEN);
    assert_int_equal(judge_generation(true, true, before_it, at_it, false), NAME_GIVEN);
    assert_int_equal(judge_generation(true, true, after_it, at_it, false), NAME_NONE);
    assert_int_equal(judge_generation(true, false, before_it, at_it, false), NAME_STORE);
    assert_int_equal(judge_generation(true, false, after_it, at_it, false), NAME_STORE);
    assert_int_equal(judge_generation(false, false, at_it, at_it, false), NAME_STORE);
    assert_int_equal(judge_generation(true, true, before_it, at_it, true), NAME_NONE);
    assert_int_equal(judge_generation(false, false, at_it, at_it, true), NAME_NONE);
}

static const uint8_t content[2][DIGEST_SIZE] = {"one content", "another content"};

static const struct {
    const char *what;
    bool known, valid, ageing, same;
    int64_t date, since; /* stored */
    int64_t mtime, now;
    /* wanted */
    enum name_verdict verdict;
    int64_t want_date, want_since;
    bool changed;
} dates[] = {
    {"first, of an older file", false, false, false, false, 0, 0, 500, 1000, NAME_STORE, 1000, 1000, false},
    {"first, of the future", false, false, false, false, 0, 0, 5000, 1000, NAME_STORE, 1000, 1000, false},
    {"known", true, true, false, true, 500, 900, 700, 1000, NAME_GIVEN, 500, 900, false},
    {"known, renewed in time", true, true, true, true, 500, 900, 700, 1000, NAME_STORE, 500, 900, false},
    {"the same after an invalidation", true, false, false, true, 500, 900, 700, 1000, NAME_STORE, 500, 1000, false},
    {"changed", true, true, false, false, 500, 900, 950, 1000, NAME_STORE, 950, 1000, true},
    {"changed for an older file", true, true, false, false, 500, 900, 100, 1000, NAME_STORE, 901, 1000, true},
    {"changed, the former is void", true, false, false, false, 500, 900, 100, 1000, NAME_STORE, 901, 1000, true},
    {"changed, the former's date is the latest", true, true, false, false, 960, 900, 100, 1000, NAME_STORE, 961, 1000,
     true},
    {"changed again too soon", true, true, false, false, 500, 941, 950, 1000, NAME_GIVEN, ENTRY_UNDATED, 1000, false},
    {"changed again just in time", true, true, false, false, 500, 940, 950, 1000, NAME_STORE, 950, 1000, true},
    {"changed, the former from the future", true, true, false, false, 2000, 900, 950, 1000, NAME_STORE, ENTRY_UNDATED,
     2001, true},
    {"changed, first known in the future", true, true, false, false, 500, 2000, 950, 1000, NAME_GIVEN, ENTRY_UNDATED,
     2001, false},
    {"changed, at the end of time", true, true, false, false, INT64_MAX, 900, 950, 1000, NAME_STORE, ENTRY_UNDATED,
     INT64_MAX, true},
    {"undated", true, true, false, true, ENTRY_UNDATED, 941, 100, 1000, NAME_GIVEN, ENTRY_UNDATED, 941, false},
    {"undated for long", true, true, false, true, ENTRY_UNDATED, 940, 100, 1000, NAME_STORE, 940, 940, false},
    {"undated for long, a younger file", true, true, false, true, ENTRY_UNDATED, 940, 970, 1000, NAME_STORE, 970, 940,
     false},
    {"undated, from the future", true, true, false, true, ENTRY_UNDATED, 2001, 100, 1000, NAME_GIVEN, ENTRY_UNDATED,
     2001, false},
    {"changed after an undated one", true, true, false, false, ENTRY_UNDATED, 900, 100, 1000, NAME_STORE, 901, 1000,
     true},
};

static void dates_of_contents(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(dates); i++) {
        uint8_t tag[ENTRY_MODIFIED_SIZE];
        struct name_claim claim = {
            .kind = NAME_MODIFIED, .as_of = at_it, .digest = content[0], .mtime = dates[i].mtime, .now = dates[i].now};
        struct name_stored stored = {.known = dates[i].known,
                                     .valid = dates[i].valid,
                                     .ageing = dates[i].ageing,
                                     .as_of = after_it,
                                     .entry = {.kind = ENTRY_MODIFIED,
                                               .last_modified = dates[i].date,
                                               .tag = span_of((const char *)tag, sizeof tag)}};
        struct name_decision d;

        entry_modified_tag(tag, content[!dates[i].same], dates[i].since);
        name_judge(&claim, &stored, &d);
        if (d.verdict != dates[i].verdict || d.date != dates[i].want_date || d.since != dates[i].want_since ||
            d.changed != dates[i].changed)
            fail_msg("%s: verdict %d, date %lld, since %lld, changed %d", dates[i].what, (int)d.verdict,
                     (long long)d.date, (long long)d.since, d.changed);
        claim.covered = true;
        name_judge(&claim, &stored, &d);
        assert_int_equal(d.verdict, NAME_NONE);
    }
}

/* ---- the embedded store ---- */

struct answer {
    int calls;
    bool given;
    char name[64], error[128];
};

static void on_name(void *arg, struct span name, const char *error)
{
    struct answer *a = arg;

    a->calls++;
    a->given = name.p != NULL;
    snprintf(a->name, sizeof a->name, "%.*s", (int)name.n, name.n ? name.p : "");
    snprintf(a->error, sizeof a->error, "%s", error ? error : "");
}

static struct store_name question(struct table_snapshot at)
{
    return (struct store_name){
        .generation = at.generation, .seq = at.seq, .key = KEY, .kind = NAME_GENERATION, .proposal = SPAN("0:0")};
}

static struct answer ask(struct node *n, const struct store_name *q)
{
    struct answer a = {0};

    store_name(n->store, q, on_name, &a);
    assert_int_equal(a.calls, 1);
    return a;
}

static struct answer ask_now(struct node *n)
{
    struct store_name q = question(before(n));

    return ask(n, &q);
}

static void everybody_gets_the_first_name(void **state)
{
    struct node *n = *state;
    struct answer first = ask_now(n), again = ask_now(n);
    struct store_name q = question(before(n));
    struct table_copy copy;

    assert_true(first.given && strlen(first.name) == 22);
    assert_string_equal(first.name, again.name);
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN(PLAIN "#g")), &copy), TABLE_HIT);
    assert_in_range(table_life_left(n->table, &copy), n->conf.tag_ttl_ms - 60000, n->conf.tag_ttl_ms);
    q.proposal = SPAN("0:5000"); /* of a new one; this one is older */
    assert_string_equal(ask(n, &q).name, first.name);
    q.key = SPAN("https://www.example.com/other");
    assert_true(ask(n, &q).given);
    assert_int_equal(table_lookup(n->table, table_identify(n->table, SPAN("https://www.example.com/other#g")), &copy),
                     TABLE_HIT);
    assert_in_range(table_life_left(n->table, &copy), 1, 5000);
}

static void what_covers_the_page_ends_its_name(void **state)
{
    static const char *const covering[][2] = {{"url", "www.example.com/shop/products/42"},
                                              {"prefix", "www.example.com/shop/"},
                                              {"host", "www.example.com"},
                                              {"tag", "t1"},
                                              {"group", "www.example.com g1"},
                                              {"all", "1"}};
    struct node *n = *state;
    struct span tags[] = {SPAN("t1"), SPAN("t2")}, groups[] = {SPAN("g1")};
    struct answer old, late, next;

    for (size_t i = 0; i < COUNT(covering); i++) {
        struct store_name q = question(before(n));

        q.tags = tags;
        q.ntags = 2;
        q.groups = groups;
        q.ngroups = 1;
        old = ask(n, &q);
        invalidate(n, "tag", "t3");
        assert_string_equal(ask(n, &q).name, old.name);
        invalidate(n, covering[i][0], covering[i][1]);
        late = ask(n, &q);
        assert_false(late.given); /* begun before: neither the old one nor the next */
        q.seq = before(n).seq;
        next = ask(n, &q);
        assert_true(next.given);
        assert_string_not_equal(next.name, old.name);
        q.seq--;
        assert_false(ask(n, &q).given);
    }
}

static void labels_have_names_of_their_own(void **state)
{
    struct node *n = *state;
    struct span tags[] = {SPAN("t1"), SPAN("t2")};
    struct store_name q = question(before(n));
    char one[64], two[64];

    q.tags = tags;
    q.ntags = 1;
    snprintf(one, sizeof one, "%s", ask(n, &q).name);
    q.ntags = 2;
    snprintf(two, sizeof two, "%s", ask(n, &q).name);
    assert_string_not_equal(one, two);
    invalidate(n, "tag", "t2");
    q.seq = before(n).seq;
    assert_string_not_equal(ask(n, &q).name, two);
    q.ntags = 1;
    assert_string_equal(ask(n, &q).name, one);
}

static void any_query_ends_the_name_of_several(void **state)
{
    struct node *n = *state;
    struct store_name q = question(before(n));
    char one[64];

    q.proposal = SPAN("2:0");
    snprintf(one, sizeof one, "%s", ask(n, &q).name);
    invalidate(n, "url", "www.example.com/shop/products/42?lang=fr");
    q.seq = before(n).seq;
    assert_string_not_equal(ask(n, &q).name, one);
    q.proposal = SPAN("0:0");
    snprintf(one, sizeof one, "%s", ask(n, &q).name);
    invalidate(n, "url", "www.example.com/shop/products/42?lang=fr");
    q.seq = before(n).seq;
    assert_string_equal(ask(n, &q).name, one);
}

/* Positions are shared by all nodes only if each record moves them: one that stayed behind could not carry a name
 * that another gave. */
static void every_record_is_a_position(void **state)
{
    static const char *const remarks[][2] = {{"note", "x"}, {"x-hosts", "changed"}, {"by", "me"}};
    struct node *n = *state;
    struct answer first = ask_now(n);

    for (size_t i = 0; i < COUNT(remarks); i++) {
        struct span fields[] = {span_str(remarks[i][0]), span_str(remarks[i][1])};
        struct table_snapshot at = before(n);
        const char *error;
        char id[48];

        assert_true(store_log_add(n->store, fields, 2, id, &error));
        assert_true(before(n).seq == at.seq + 1);
        assert_string_equal(ask_now(n).name, first.name);
    }
}

static void no_lease_no_name(void **state)
{
    struct node *n = *state;
    struct table_snapshot at = before(n);

    assert_true(ask_now(n).given);
    writer_lease(store_writer(n->store), 0);
    assert_false(ask_now(n).given);
    at.generation++;
    struct store_name q = question(at);
    assert_false(ask(n, &q).given);
}

static void malformed_questions(void **state)
{
    struct node *n = *state;
    const struct store_name good = question(before(n));
    struct store_name bad[9];
    struct span tag = SPAN("t");

    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].key = SPAN("a b");
    bad[1].key = SPAN("https://www.example.com/a#g");
    bad[2].kind = 'x';
    bad[3].proposal = SPAN("0");
    bad[4].proposal = SPAN("1:0");
    bad[5].proposal = SPAN("0:10");
    bad[6].seq++;
    bad[7].kind = NAME_MODIFIED;
    bad[7].proposal = SPAN("00:1");
    bad[8].kind = NAME_MODIFIED;
    bad[8].proposal = SPAN("0000000000000000000000000000000000000000000000000000000000000000:1");
    bad[8].tags = &tag;
    bad[8].ntags = 1;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct answer a = ask(n, &bad[i]);

        assert_true(!a.given && a.error[0]);
    }
    assert_int_equal(look(n, PLAIN "#g"), TABLE_MISS);
}

static void nobody_publishes_a_name(void **state)
{
    struct node *n = *state;
    struct response r = usual;
    struct span names;

    r.variant = "g";
    assert_int_equal(publish(n, before(n), &r, &names), STORE_BAD);
    r.variant = "g.0123456789abcdef";
    assert_int_equal(publish(n, before(n), &r, &names), STORE_BAD);
}

static struct answer date_of(struct node *n, char which, long long mtime)
{
    struct store_name q = question(before(n));
    char proposal[96];

    memset(proposal, which, 64);
    snprintf(proposal + 64, sizeof proposal - 64, ":%lld", mtime);
    q.kind = NAME_MODIFIED;
    q.proposal = span_str(proposal);
    return ask(n, &q);
}

static void a_content_has_one_date(void **state)
{
    struct node *n = *state;
    struct answer first = date_of(n, 'a', 1000), again = date_of(n, 'a', 2000), other = date_of(n, 'b', 3000);
    size_t records = store_log_length(n->store);
    long long date = 0, since = 0;

    assert_int_equal(sscanf(first.name, "%lld %lld", &date, &since), 2);
    assert_true(date == since && date <= time(NULL) && date > time(NULL) - 60);
    assert_string_equal(first.name, again.name);
    assert_true(strncmp(other.name, "- ", 2) == 0); /* a minute has not gone by */
    assert_string_equal(date_of(n, 'a', 5000).name, first.name);
    assert_int_equal(store_log_length(n->store), records);
    invalidate(n, "tag", "t1");
    assert_string_equal(date_of(n, 'a', 5000).name, first.name);
    invalidate(n, "url", "www.example.com/shop/products/42?lang=xx"); /* one URL among several is enough */
    assert_int_equal(look(n, PLAIN "#m"), TABLE_STALE);
    assert_int_equal(strtoll(date_of(n, 'a', 5000).name, NULL, 10), date);
    assert_int_equal(look(n, PLAIN "#m"), TABLE_HIT);
    assert_int_equal(strtoll(date_of(n, 'a', -1).name, NULL, 10), date);
}

/* The store keeps the record of a content that has been known for long: then another one is dated and the log
 * says so. */
static void another_content_gets_a_later_date(void **state)
{
    struct node *n = *state;
    uint8_t tag[ENTRY_MODIFIED_SIZE], value[ENTRY_SIZE];
    struct entry e = {ENTRY_MODIFIED, ENTRY_ANY_QUERY, 1000, span_of((const char *)tag, sizeof tag)};
    struct writer_put put = {.key = SPAN(PLAIN "#m"), .seq = before(n).seq};
    size_t records = store_log_length(n->store);
    struct table_snapshot at = before(n);
    struct answer other;

    entry_modified_tag(tag, content[0], 5000);
    put.value = span_of((const char *)value, entry_encode(value, sizeof value, &e));
    assert_int_equal(writer_put(store_writer(n->store), &put), WRITER_OK);
    other = date_of(n, 'b', 3000);
    assert_true(strncmp(other.name, "5001 ", 5) == 0);
    assert_int_equal(store_log_length(n->store), records + 1);
    assert_true(before(n).seq > at.seq);
    assert_string_equal(date_of(n, 'b', 9000).name, other.name);
    assert_int_equal(store_log_length(n->store), records + 1);
    assert_true(strncmp(date_of(n, 'c', 9000).name, "- ", 2) == 0);
    assert_int_equal(store_log_length(n->store), records + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variant_is_a_set_of_labels),
        cmocka_unit_test(names_variants_are_no_requests),
        cmocka_unit_test(too_many_labels_have_no_variant),
        cmocka_unit_test(contents_round_trip),
        cmocka_unit_test(a_generations_name_is_never_of_a_later_one),
        cmocka_unit_test(dates_of_contents),
        cmocka_unit_test_setup_teardown(everybody_gets_the_first_name, setup, teardown),
        cmocka_unit_test_setup_teardown(what_covers_the_page_ends_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_have_names_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(any_query_ends_the_name_of_several, setup, teardown),
        cmocka_unit_test_setup_teardown(every_record_is_a_position, setup, teardown),
        cmocka_unit_test_setup_teardown(no_lease_no_name, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_publishes_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_content_has_one_date, setup, teardown),
        cmocka_unit_test_setup_teardown(another_content_gets_a_later_date, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
