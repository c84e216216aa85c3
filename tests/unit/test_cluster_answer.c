/* SPDX-License-Identifier: Apache-2.0 */
/* What a node of a Cluster says, read from its texts. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "etagd/cluster_answer.h"

#define A "30060d6f82ae3ff1157987a32ee993619987050d"
#define B "cf9989ecdf7cbbba494fed5bb6a34f3b9f789fca"
#define C "1017f0631cf55ba6f52ff385c473adcc415b5d7d"
#define D "dddddddddddddddddddddddddddddddddddddddd"
#define E "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static const struct redis_address asked = {"198.51.100.7", 7001};

static struct cluster_answer answer;
static struct cluster_map map;

static bool read_nodes(const char *text)
{
    return cluster_read_nodes(span_str(text), &asked, 1285, &answer, &map);
}

static struct cluster_node_id id(const char *text)
{
    struct cluster_node_id out;

    memcpy(out.text, text, sizeof out.text);
    return out;
}

static void assert_node(const struct cluster_node_id *got, const char *wanted)
{
    struct cluster_node_id other = id(wanted);

    assert_true(cluster_same_node(got, &other));
}

/* As CLUSTER KEYSLOT says. */
static void slots_of_keys(void **state)
{
    static const struct {
        const char *key;
        unsigned slot;
    } cases[] = {
        {"", 0},
        {"123456789", 12739},
        {"{etag}:log", 1285},
        {"{etag}:epoch", 1285},
        {"etag", 1285},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"foo{bar}{zap}", 5061},
        {"foo{bar", 15278},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(cluster_slot(span_str(cases[i].key)), cases[i].slot);
}

static void epochs_in_info(void **state)
{
    (void)state;
    assert_true(cluster_read_info(SPAN_LITERAL("cluster_size:3\r\ncluster_current_epoch:42\r\nx:1\r\n"), &answer));
    assert_int_equal(answer.current_epoch, 42);
    assert_false(cluster_read_info(SPAN_LITERAL("cluster_size:3\r\n"), &answer));
    assert_false(cluster_read_info(SPAN_LITERAL("cluster_current_epoch:\r\n"), &answer));
    assert_false(cluster_read_info(SPAN_LITERAL("cluster_current_epoch:-1\r\n"), &answer));
    assert_false(cluster_read_info(SPAN_LITERAL("cluster_current_epoch:99999999999999999999\r\n"), &answer));
}

static void three_masters(void **state)
{
    (void)state;
    answer.current_epoch = 7;
    assert_true(read_nodes(A " 127.0.0.1:7002@17002 master - 0 1795555602782 2 connected 5461-10922\n" B
                             " :7001@17001,a.example myself,master - 0 0 7 connected 0-100 102 200-5460 [93-<-" A "]\n" C
                             " 127.0.0.1:7003@17003 master,fail? - 0 1795555602581 3 connected 10923-16383\n" D
                             " 127.0.0.1:7004@17004 slave " B " 0 0 7 connected\n" E
                             " 127.0.0.1:7005@17005 slave,fail " B " 0 0 7 disconnected\n"));
    assert_int_equal(answer.current_epoch, 7);
    assert_node(&answer.self, B);
    assert_true(answer.votes && answer.found && answer.well);
    assert_int_equal(answer.voters, 3);
    assert_node(&answer.master, B);
    assert_string_equal(answer.at.host, asked.host);
    assert_int_equal(answer.at.port, 7001);
    assert_int_equal(answer.config_epoch, 7);
    assert_int_equal(answer.replicas.n, 2);
    assert_node(&answer.replicas.at[0].id, D);
    assert_false(answer.replicas.at[0].failed);
    assert_true(answer.replicas.at[1].failed);
    assert_int_equal(answer.nepochs, 3);
    assert_int_equal(map.n, 3);
    assert_int_equal(map.owner[101], CLUSTER_NOBODY);
    assert_int_equal(map.at[map.owner[102]].port, 7001);
    assert_int_equal(map.at[map.owner[5461]].port, 7002);
    assert_int_equal(map.at[map.owner[16383]].port, 7003);
}

static void one_map_in_any_order(void **state)
{
    static const char one[] = A " h:1@2 myself,master - 0 0 2 connected 0-5 10-16383\n",
                      two[] = B " h:3@4 master - 0 0 3 connected 6-9\n";
    static struct cluster_map other;
    char text[300];

    (void)state;
    snprintf(text, sizeof text, "%s%s", one, two);
    assert_true(read_nodes(text));
    other = map;
    snprintf(text, sizeof text, "%s%s", two, one);
    assert_true(read_nodes(text));
    assert_memory_equal(&map, &other, sizeof map);
    assert_int_equal(map.at[map.owner[7]].port, 3);
}

static void what_is_wrong_with_the_master(void **state)
{
    static const struct {
        const char *flags;
        bool well;
    } cases[] = {{"master", true}, {"master,fail?", false}, {"master,fail", false}, {"master,nofailover", true}};
    char text[300];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text,
                 A " h:7002@17002 %s - 0 0 2 connected 0-16383\n" B " h:7001@17001 myself,slave " A " 0 0 2 connected\n",
                 cases[i].flags);
        assert_true(read_nodes(text));
        assert_int_equal(answer.well, cases[i].well);
        assert_false(answer.votes);
        assert_int_equal(answer.voters, 1);
    }
    assert_true(read_nodes(A " :0@0 master,noaddr - 0 0 2 disconnected 0-16383\n" B
                             " h:7001@17001 myself,master - 0 0 2 connected\n"));
    assert_true(answer.found && !answer.well && !answer.votes);
    assert_true(read_nodes(B " h:7001@17001 myself,master - 0 0 2 connected 0-1284 1286-16383\n"));
    assert_true(!answer.found && answer.votes);
}

static void texts_that_make_no_sense(void **state)
{
    static const char *const cases[] = {
        "",
        "\n",
        A "\n",
        A " h:1@2 master - 0 0 2 connected 0-5\n", /* nobody's own */
        A " h:1@2 myself,master - 0 0 2 connected 0-16384\n",
        A " h:1@2 myself,master - 0 0 2 connected 7-5\n",
        A " h:1@2 myself,master - 0 0 2 connected x\n",
        A " h:1@2 myself,master - 0 0 2 connected 1-\xff\n",
        A " h:1@2 myself,master - 0 0 -2 connected 1\n",
        A " h:65536@2 myself,master - 0 0 2 connected 1\n",
        A " h@2 myself,master - 0 0 2 connected 1\n",
        A " h:1@2 myself,slave short 0 0 2 connected\n",
        "short h:1@2 myself,master - 0 0 2 connected 1\n",
        A " h:1@2 myself,master - 0 0\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_false(read_nodes(cases[i]));
}

static void redirections(void **state)
{
    struct redis_address to;
    unsigned slot;

    (void)state;
    assert_true(cluster_read_redirection(SPAN_LITERAL("MOVED 1285 ::1:6381"), &asked, &slot, &to));
    assert_int_equal(slot, 1285);
    assert_string_equal(to.host, "::1");
    assert_int_equal(to.port, 6381);
    assert_true(cluster_read_redirection(SPAN_LITERAL("ASK 0 :6381"), &asked, &slot, &to));
    assert_string_equal(to.host, asked.host);
    assert_false(cluster_read_redirection(SPAN_LITERAL("MOVED 16384 h:1"), &asked, &slot, &to));
    assert_false(cluster_read_redirection(SPAN_LITERAL("MOVED 1 h"), &asked, &slot, &to));
    assert_false(cluster_read_redirection(SPAN_LITERAL("MOVED 1 h:0"), &asked, &slot, &to));
    assert_false(cluster_read_redirection(SPAN_LITERAL("MOVED 1"), &asked, &slot, &to));
    assert_false(cluster_read_redirection(SPAN_LITERAL("MOVED"), &asked, &slot, &to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_keys),
        cmocka_unit_test(epochs_in_info),
        cmocka_unit_test(three_masters),
        cmocka_unit_test(one_map_in_any_order),
        cmocka_unit_test(what_is_wrong_with_the_master),
        cmocka_unit_test(texts_that_make_no_sense),
        cmocka_unit_test(redirections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
