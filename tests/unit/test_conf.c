/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "etagd/conf.h"

struct fixture {
    char file[64];
    struct conf *conf;
    struct conf_error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->file, "/tmp/test_conf.XXXXXX");
    int fd = mkstemp(f->file);
    assert_true(fd >= 0);
    close(fd);
    setenv("XDG_RUNTIME_DIR", "/tmp", 1);
    f->conf = conf_new(&f->err);
    assert_non_null(f->conf);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    conf_free(f->conf);
    unlink(f->file);
    free(f);
    return 0;
}

static bool read_text(struct fixture *f, const char *text)
{
    FILE *out = fopen(f->file, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    f->err.text[0] = '\0';
    return conf_read(f->conf, f->file, &f->err) && conf_check(f->conf, &f->err);
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;

    assert_true(conf_check(f->conf, &f->err));
    assert_int_equal(f->conf->lease_ms, 2000);
    assert_int_equal(f->conf->horizon_ms, UINT64_C(48) * 3600000);
    assert_int_equal(f->conf->table_bytes, 64u << 20);
    assert_int_equal(f->conf->socket_mode, 0660);
    assert_string_equal(f->conf->key_prefix, "etag");
    assert_null(f->conf->redis);
    assert_non_null(f->conf->socket);
}

static void test_values_and_units(void **state)
{
    struct fixture *f = *state;

    assert_true(read_text(f, "# comment\n\n  Socket   /tmp/a b.sock  \nlease 1500ms\nTagTTL 1d\nHorizon 2d\nTableSize 16M\n"
                             "AllowUsers \"www-data 33\"\nSocketMode 0600\nRedis unix:/run/redis.sock\nHashThreads 4"));
    assert_string_equal(f->conf->socket, "/tmp/a b.sock");
    assert_int_equal(f->conf->lease_ms, 1500);
    assert_int_equal(f->conf->tag_ttl_ms, 86400000);
    assert_int_equal(f->conf->table_bytes, 16u << 20);
    assert_string_equal(f->conf->allow_users, "www-data 33");
    assert_int_equal(f->conf->socket_mode, 0600);
    assert_int_equal(f->conf->hash_threads, 4);
}

/* What is wrong, where, and what to do. */
static const struct {
    const char *text, *line, *says;
} wrong[] = {
    {"Lease\n", ":1:", "no value"},
    {"\n\nLeese 2s\n", ":3:", "did you mean Lease?"},
    {"Xyzzyplugh 1\n", ":1:", "--print-config"},
    {"Lease 2 weeks\n", ":1:", "a time such as"},
    {"Lease 10ms\n", ":1:", "from 500ms"},
    {"Lease -1s\n", ":1:", "a time such as"},
    {"TableSize 1K\n", ":1:", "a size such as"},
    {"TableSize 99999999999999999999G\n", ":1:", "a size such as"},
    {"HashThreads 0\n", ":1:", "a number from 1"},
    {"SocketMode 999\n", ":1:", "octal"},
    {"NodeName \"a\n", ":1:", "unbalanced"},
    {"NodeName \"a b\"\n", ":1:", "one word"},
    {"KeyPrefix {x}\n", ":1:", "one word"},
    {"Socket relative.sock\n", ":1:", "absolute"},
    {"DigestFile relative.digests\n", ":1:", "an absolute path, or none"},
    {"LogLevel loud\n", ":1:", "error, warn, info or debug"},
    {"TagTTL 2d\nHorizon 3d\n", ":1:", "half of Horizon"},
    {"Redis http://x\n", ":1:", "Redis \"http://x\""},
    {"\nTLSCAFile /etc/passwd\n", ":2:", "does not ask for TLS: write rediss://"},
    {"Redis redis://h\nTLSServerName h\n", ":2:", "does not ask for TLS"},
    {"Redis rediss://h\nTLSCAFile /nonexistent\n", ":2:", "No such file"},
    {"Redis rediss://h\nTLSCAFile /etc/passwd\n", ":2:", "no certificates in PEM form"},
    {"Redis sentinels://m@h\n\nTLSCertificateFile /etc/passwd\n", ":3:", "set both or none"},
    {"TLSKeyFile /etc/passwd\nRedis rediss://h\n", ":1:", "set both or none"},
    {"Redis rediss://h\nTLSCertificateFile /etc/passwd\nTLSKeyFile /etc/passwd\n", ":3:", "chmod 0600"},
    {"NodeName a\x01z\n", ":1:", "control characters"},
    {"\nLogFile /tmp/a\"b\n", ":2:", "double quotes"},
    {"AllowUsers root nosuchuser\n", ":1:", "\"nosuchuser\" is no user"},
    {"AllowUsers -1\n", ":1:", "\"-1\" is no user"},
    {"AllowUsers 4294967295\n", ":1:", "is no user"},
    {"SocketGroup nosuchgroup\n", ":1:", "no group of this system"},
    {"RedisPasswordFile /nonexistent\n", ":1:", "RedisPasswordFile"},
    {"RedisPasswordFile /dev/null\n", ":1:", "regular file"},
    {"Socket /tmp/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
     "0123456789\n",
     "", "the system allows"},
};

static void test_errors_say_where_and_what(void **state)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        set_up(state);
        struct fixture *f = *state;
        assert_false(read_text(f, wrong[i].text));
        if (!strstr(f->err.text, wrong[i].says) || !strstr(f->err.text, wrong[i].line))
            fail_msg("%s -> %s", wrong[i].text, f->err.text);
        tear_down(state);
    }
    set_up(state);
}

static void test_missing_file(void **state)
{
    struct fixture *f = *state;

    assert_false(conf_read(f->conf, "/nonexistent/etagd.conf", &f->err));
    assert_non_null(strstr(f->err.text, "--config"));
}

/* The rest of a line behind a NUL would be dropped without a word. */
static void test_nul_bytes_are_refused(void **state)
{
    struct fixture *f = *state;
    FILE *out = fopen(f->file, "w");

    assert_non_null(out);
    fwrite("\nLease 2s\0 never seen\n", 1, 23, out);
    fclose(out);
    assert_false(conf_read(f->conf, f->file, &f->err));
    assert_non_null(strstr(f->err.text, ":2: a NUL byte"));
}

static void test_users_by_name_and_id(void **state)
{
    struct fixture *f = *state;

    assert_true(read_text(f, "AllowUsers root, 4242 0\nSocketGroup 0\nMaxClients 7\nHashQueue 9\n"));
    assert_int_equal(f->conf->hash_queue, 9);
    assert_int_equal(f->conf->max_clients, 7);
    assert_false(conf_set(f->conf, "NodeName", "a\nb", "--node", &f->err));
    assert_non_null(strstr(f->err.text, "--node: NodeName"));
}

static void test_password_file_of_others(void **state)
{
    struct fixture *f = *state;
    char line[128], secret[] = "/tmp/test_conf.XXXXXX";
    int fd = mkstemp(secret);

    assert_true(fd >= 0);
    snprintf(line, sizeof line, "RedisPasswordFile %s\n", secret);
    fchmod(fd, 0644);
    assert_false(read_text(f, line));
    assert_non_null(strstr(f->err.text, "chmod 0600"));
    fchmod(fd, 0640); /* the group's members are others too */
    assert_false(read_text(f, line));
    fchmod(fd, 0600);
    assert_true(read_text(f, line));
    if (geteuid() == 0) { /* lent by another owner to our group, and to no other group */
        assert_int_equal(fchown(fd, 65534, getegid()), 0);
        fchmod(fd, 0640);
        assert_true(read_text(f, line));
        assert_int_equal(fchown(fd, 65534, 65534), 0);
        fchmod(fd, 0640);
        assert_false(read_text(f, line));
    }
    close(fd);
    unlink(secret);
}

/* What --print-config writes is itself a configuration, and the same one. */
static void test_printed_configuration_reads_back(void **state)
{
    struct fixture *f = *state;
    char *text = NULL, *again = NULL;
    size_t n = 0;

    assert_true(read_text(f, "Lease 1500ms\nTableSize 96M\nNodeName n7\nRedis unix:/r.sock\nHashQueue 17\n"));
    FILE *out = open_memstream(&text, &n);
    conf_print(f->conf, out);
    fclose(out);
    conf_free(f->conf);
    f->conf = conf_new(&f->err);
    assert_true(read_text(f, text));
    out = open_memstream(&again, &n);
    conf_print(f->conf, out);
    fclose(out);
    assert_string_equal(text, again);
    assert_non_null(strstr(text, "Lease 1500ms\n"));
    assert_non_null(strstr(text, "TableSize 96M\n"));
    free(text);
    free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_and_units, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors_say_where_and_what, NULL, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nul_bytes_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users_by_name_and_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_password_file_of_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_printed_configuration_reads_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
