/* SPDX-License-Identifier: Apache-2.0 */
/* What etagd keeps of files' digests from one start to the next. */
#include "etagd/digests.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/digest_bytes.h"

#define NEVER 3600000 /* the timer does not come into it */

static char folder[] = "/tmp/digests-XXXXXX";
static char path[64];
static struct event_base *base;

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/digests", folder);
    base = event_base_new();
    return base ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    event_base_free(base);
    return rmdir(folder);
}

static int empty_folder(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* Identity and digest number i. */
static size_t identity(uint64_t i, char text[FILE_IDENTITY_SIZE])
{
    const uint64_t numbers[FILE_IDENTITY_NUMBERS] = {UINT64_MAX, 8, 1, i, 1000 + i, 1700000000, 5, 1700000001, 6};

    return file_identity_format(numbers, text);
}

static void digest_of(uint64_t i, uint8_t out[DIGEST_SIZE])
{
    memset(out, (int)(i * 7 + 1), DIGEST_SIZE);
    memcpy(out, &i, sizeof i);
}

static void add(struct digests *d, uint64_t i)
{
    char text[FILE_IDENTITY_SIZE];
    uint8_t digest[DIGEST_SIZE];

    digest_of(i, digest);
    digests_add(d, span_of(text, identity(i, text)), digest);
}

static struct digests_stats stats(const struct digests *d)
{
    struct digests_stats s;

    digests_stats(d, &s);
    return s;
}

struct seen {
    uint64_t first, n;
    bool in_order;
};

static void check_one(void *arg, struct span text, const uint8_t *digest)
{
    struct seen *s = arg;
    uint64_t numbers[FILE_IDENTITY_NUMBERS];
    uint8_t want[DIGEST_SIZE];

    assert_true(file_identity_parse(text, numbers));
    digest_of(numbers[3], want);
    assert_memory_equal(digest, want, DIGEST_SIZE);
    if (s->n == 0)
        s->first = numbers[3];
    s->in_order = s->in_order && numbers[3] == s->first + s->n;
    s->n++;
}

static struct seen all_of(const struct digests *d)
{
    struct seen s = {.in_order = true};

    digests_each(d, check_one, &s);
    assert_int_equal(s.n, stats(d).kept);
    return s;
}

static struct digests *start(void)
{
    struct digests *d = digests_new(base, path, NEVER);

    assert_non_null(d);
    return d;
}

static void stop(struct digests *d)
{
    digests_save(d);
    digests_free(d);
}

static void digests_outlive_their_daemon(void **state)
{
    struct digests *d = start();

    (void)state;
    assert_string_equal(stats(d).start, "there was none");
    for (uint64_t i = 0; i < 1000; i++)
        add(d, i);
    assert_int_equal(stats(d).kept, 1000);
    stop(d);
    d = start();
    assert_string_equal(stats(d).start, "read");
    assert_int_equal(stats(d).restored, 1000);
    const struct seen seen = all_of(d);
    assert_true(seen.in_order && seen.first == 0 && seen.n == 1000);
    digests_save(d); /* nothing has changed */
    assert_int_equal(stats(d).saves, 0);
    add(d, 5); /* nor now */
    digests_save(d);
    assert_int_equal(stats(d).saves, 0);
    add(d, 1000);
    stop(d);
    d = start();
    assert_int_equal(stats(d).restored, 1001);
    digests_free(d);
}

static void a_new_digest_replaces_the_old_one(void **state)
{
    char text[FILE_IDENTITY_SIZE];
    uint8_t wrong[DIGEST_SIZE] = {0};
    struct digests *d = start();

    (void)state;
    digests_add(d, span_of(text, identity(3, text)), wrong);
    add(d, 3);
    assert_int_equal(all_of(d).n, 1);
    stop(d);
    d = start();
    assert_int_equal(all_of(d).n, 1);
    digests_free(d);
}

/* A file that is written again and again has one record, the newest; the others stay. */
static void each_file_has_one_record(void **state)
{
    uint64_t numbers[FILE_IDENTITY_NUMBERS];
    char text[FILE_IDENTITY_SIZE];
    uint8_t digest[DIGEST_SIZE];
    struct digests *d = start();

    (void)state;
    add(d, 1);
    assert_true(file_identity_parse(span_of(text, identity(2, text)), numbers));
    digest_of(2, digest);
    for (unsigned i = 0; i < 2 * DIGEST_FILE_MAX; i++) {
        numbers[6] = i; /* nanoseconds of its mtime */
        digests_add(d, span_of(text, file_identity_format(numbers, text)), digest);
    }
    struct seen seen = all_of(d);
    assert_true(seen.n == 2 && seen.first == 1);
    stop(d);
    d = start();
    assert_int_equal(all_of(d).n, 2);
    digests_add(d, span_of(text, file_identity_format(numbers, text)), digest);
    digests_save(d);
    assert_int_equal(stats(d).saves, 0); /* it was the newest */
    digests_free(d);
}

static void what_is_no_lasting_identity_is_not_kept(void **state)
{
    static const char *const ends[] = {".1f", ".", "x", " ", "."};
    char text[FILE_IDENTITY_SIZE + 8];
    uint8_t digest[DIGEST_SIZE] = {0};
    struct digests *d = start();
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        n = identity(1, text);
        n += (size_t)snprintf(text + n, 8, "%s", ends[i]);
        digests_add(d, span_of(text, n), digest);
    }
    n = identity(1, text);
    for (size_t cut = 0; cut < n; cut++)
        digests_add(d, span_of(text, cut), digest); /* some of these are shorter numbers, and good */
    const uint64_t shorter = stats(d).kept;
    text[5] ^= 1; /* another boot */
    digests_add(d, span_of(text, n), digest);
    n = identity(1, text);
    memmove(text + 43, text + 42, n - 42); /* a leading zero */
    text[42] = '0';
    digests_add(d, span_of(text, n + 1), digest);
    assert_int_equal(stats(d).kept, shorter);
    digests_free(d);
}

static void the_oldest_make_room(void **state)
{
    const uint64_t more = 3 * DIGEST_FILE_MAX + 1000, n = DIGEST_FILE_MAX + more;
    struct digests *d = start();

    (void)state;
    for (uint64_t i = 0; i < n; i++)
        add(d, i);
    struct seen seen = all_of(d);
    assert_true(seen.in_order && seen.first == more && seen.n == DIGEST_FILE_MAX);
    add(d, n - 1); /* known */
    assert_int_equal(all_of(d).first, more);
    stop(d);
    d = start();
    assert_int_equal(all_of(d).n, DIGEST_FILE_MAX);
    for (uint64_t i = 0; i < 1000; i++)
        add(d, i); /* the list is full from the start */
    assert_int_equal(all_of(d).n, DIGEST_FILE_MAX);
    digests_free(d);
}

static void changes_are_written_by_themselves(void **state)
{
    struct digests *d = digests_new(base, path, 10), *other;

    (void)state;
    add(d, 1);
    for (int rounds = 0; stats(d).saves == 0 && rounds < 1000; rounds++)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(stats(d).saves, 1);
    other = start(); /* as after kill -9 */
    assert_int_equal(all_of(other).n, 1);
    digests_free(other);
    add(d, 2);
    for (int rounds = 0; stats(d).saves == 1 && rounds < 1000; rounds++)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(stats(d).saves, 2);
    digests_free(d);
}

static void a_disk_that_fails_is_counted_and_tried_again(void **state)
{
    char nowhere[80];
    struct digests *d;

    (void)state;
    snprintf(nowhere, sizeof nowhere, "%s/none/digests", folder);
    d = digests_new(base, nowhere, 10);
    add(d, 1);
    for (int rounds = 0; stats(d).save_failures < 2 && rounds < 1000; rounds++)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(stats(d).save_failures, 2);
    snprintf(nowhere, sizeof nowhere, "%s/none", folder);
    assert_int_equal(mkdir(nowhere, 0700), 0);
    for (int rounds = 0; stats(d).saves == 0 && rounds < 1000; rounds++)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(stats(d).saves, 1);
    digests_free(d);
    snprintf(nowhere, sizeof nowhere, "%s/none/digests", folder);
    unlink(nowhere);
    snprintf(nowhere, sizeof nowhere, "%s/none", folder);
    rmdir(nowhere);
}

/* --- files that are wrong --- */

static size_t read_bytes(uint8_t *file, size_t room)
{
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    const size_t n = fread(file, 1, room, f);
    fclose(f);
    return n;
}

static void write_bytes(const uint8_t *file, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_true(f && fwrite(file, 1, n, f) == n);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

static size_t three(uint8_t *file, size_t room)
{
    struct digests *d = start();

    for (uint64_t i = 0; i < 3; i++)
        add(d, i);
    stop(d);
    return read_bytes(file, room);
}

static void nothing_is_taken_of_a_wrong_file(void **state)
{
    uint8_t file[1024];
    const size_t n = three(file, sizeof file);
    struct digests *d;

    (void)state;
    file[n / 2] ^= 4;
    write_bytes(file, n);
    d = start();
    assert_string_equal(stats(d).start, "damaged");
    assert_int_equal(stats(d).kept + stats(d).restored, 0);
    add(d, 9); /* and it is replaced */
    stop(d);
    d = start();
    assert_int_equal(stats(d).restored, 1);
    digests_free(d);
}

/* Every checksum is right, and one file has two digests: all of it is in doubt. */
static void a_file_that_contradicts_itself_is_not_believed(void **state)
{
    uint8_t file[1024];
    const size_t n = three(file, sizeof file);
    struct digests *d;

    (void)state;
    memcpy(file + HEAD_SIZE + 2 * RECORD_SIZE, file + HEAD_SIZE, 8 * FILE_IDENTITY_NUMBERS);
    mend_records(file, n);
    mend_foot(file, n);
    write_bytes(file, n);
    d = start();
    assert_string_equal(stats(d).start, "damaged");
    assert_int_equal(all_of(d).n, 0);
    add(d, 0);
    assert_int_equal(all_of(d).n, 1);
    digests_free(d);
}

static void a_file_that_others_may_write_is_not_believed(void **state)
{
    uint8_t file[1024];
    struct digests *d;

    (void)state;
    three(file, sizeof file);
    assert_int_equal(chmod(path, 0660), 0);
    d = start();
    assert_int_equal(all_of(d).n, 0);
    assert_string_equal(stats(d).start, "not a file that etagd's user alone can write");
    digests_free(d);
}

/* --- mounts --- */

static void keep_file(struct digests *d, const char *name)
{
    uint8_t digest[DIGEST_SIZE] = {1};
    struct file_identity id;

    close(open(name, O_WRONLY | O_CREAT, 0600));
    assert_true(file_identity_get(&id, -1, name, NULL));
    digests_add(d, span_of(id.text, id.n), digest);
}

static void a_mount_that_is_gone_takes_its_digests_along(void **state)
{
    char at[64], name[72], stays[72];
    struct digests *d;

    (void)state;
    snprintf(at, sizeof at, "%s/m", folder);
    snprintf(name, sizeof name, "%s/f", at);
    snprintf(stays, sizeof stays, "%s/f", folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mkdir(at, 0755) != 0 ||
        mount("tmpfs", at, "tmpfs", 0, NULL) != 0 || file_mount_state(UINT64_MAX / 2) != FILE_MOUNT_GONE) {
        print_message("[  why   ] needs root and Linux 6.8\n");
        umount(at);
        rmdir(at);
        skip();
    }
    d = start();
    keep_file(d, name);
    keep_file(d, stays);
    add(d, 1); /* of a mount that this process never saw: another namespace's */
    assert_int_equal(stats(d).kept, 3);
    stop(d);
    d = start();
    assert_int_equal(stats(d).restored, 3);
    digests_free(d);
    assert_int_equal(umount(at), 0);
    d = start();
    assert_int_equal(stats(d).restored, 2);
    assert_int_equal(stats(d).dropped, 1);
    digests_free(d);
    unlink(stays);
    rmdir(at);
}

#define TEST(f) cmocka_unit_test_teardown(f, empty_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(digests_outlive_their_daemon),
        TEST(a_new_digest_replaces_the_old_one),
        TEST(each_file_has_one_record),
        TEST(what_is_no_lasting_identity_is_not_kept),
        TEST(the_oldest_make_room),
        TEST(changes_are_written_by_themselves),
        TEST(a_disk_that_fails_is_counted_and_tried_again),
        TEST(nothing_is_taken_of_a_wrong_file),
        TEST(a_file_that_contradicts_itself_is_not_believed),
        TEST(a_file_that_others_may_write_is_not_believed),
        TEST(a_mount_that_is_gone_takes_its_digests_along),
    };
    alarm(60); /* a chain that leads into itself never ends */
    return cmocka_run_group_tests(tests, begin, end);
}
