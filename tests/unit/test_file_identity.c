/* SPDX-License-Identifier: Apache-2.0 */
/* Identities of real files: what must change them does, and nothing else. */
#include "etagd/lib/file_identity.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/identity-XXXXXX";
static char path[64], other[64];

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void set_mtime(const char *name, time_t s, long ns)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = s, .tv_nsec = ns}};
    assert_int_equal(utimensat(AT_FDCWD, name, times, 0), 0);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/a", folder);
    snprintf(other, sizeof(other), "%s/b", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static struct file_identity of(const char *name)
{
    struct file_identity id;

    assert_true(file_identity_get(&id, -1, name));
    assert_int_equal(strlen(id.text), id.n);
    return id;
}

static void by_name_and_by_descriptor_are_one(void **state)
{
    struct file_identity by_fd, by_name;

    (void)state;
    write_file(path, "hello");
    set_mtime(path, 1700000000, 5);
    by_name = of(path);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && file_identity_get(&by_fd, fd, NULL));
    close(fd);
    assert_true(file_identity_eq(&by_fd, &by_name) && file_identity_unchanged(&by_fd, &by_name));
    assert_int_equal(by_fd.size, 5);
    assert_int_equal(by_fd.mtime_s, 1700000000);
}

/* The form is a contract: another reader of it must find every number. */
static void text_is_as_specified(void **state)
{
    unsigned long long n[9];
    char boot[37], from_kernel[37] = "";
    struct file_identity id;
    struct stat st;

    (void)state;
    write_file(path, "hello");
    set_mtime(path, 1700000000, 10);
    id = of(path);
    assert_int_equal(sscanf(id.text, "file:%36[0-9a-f-]:%llx.%llx.%llx.%llx.%llx.%llx.%llx.%llx.%llx", boot, &n[0],
                            &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8]),
                     10);
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
    assert_true(f && fgets(from_kernel, sizeof(from_kernel), f));
    fclose(f);
    assert_string_equal(boot, from_kernel);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(n[3], st.st_ino);
    assert_int_equal(n[4], 5);
    assert_int_equal(n[5], 1700000000);
    assert_int_equal(n[6], 10);
    assert_int_equal(n[7], st.st_ctim.tv_sec);
    assert_int_equal(n[8], st.st_ctim.tv_nsec);
    assert_non_null(strstr(id.text, ".5.6553f100.a."));
}

static void every_change_shows(void **state)
{
    struct file_identity before, after;

    (void)state;
    write_file(path, "hello");
    set_mtime(path, 1700000000, 0);
    before = of(path);
    set_mtime(path, 1700000000, 1); /* a nanosecond */
    after = of(path);
    assert_false(file_identity_eq(&before, &after) || file_identity_unchanged(&before, &after));

    write_file(path, "hello!");
    set_mtime(path, 1700000000, 0);
    after = of(path);
    assert_false(file_identity_unchanged(&before, &after));

    /* Equal size and mtime under the same name, by rename: what constant-mtime images look like. */
    write_file(other, "world");
    set_mtime(other, 1700000000, 0);
    assert_int_equal(rename(other, path), 0);
    after = of(path);
    assert_false(file_identity_unchanged(&before, &after));
}

static void reading_changes_nothing(void **state)
{
    struct file_identity before, after;
    char c;

    (void)state;
    write_file(path, "hello");
    before = of(path);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, &c, 1), 1);
    close(fd);
    after = of(path);
    assert_true(file_identity_unchanged(&before, &after));
}

static void settled_is_about_ctime_alone(void **state)
{
    (void)state;
    write_file(path, "hello");
    set_mtime(path, 1700000000, 0);
    assert_false(of(path).settled); /* mtime is old; ctime cannot be set */
    /* A file of the system is old, whatever its mtime. */
    assert_true(of("/usr/bin/env").settled);
}

static void no_identity_without_a_regular_file(void **state)
{
    struct file_identity id;
    int ends[2];

    (void)state;
    assert_false(file_identity_get(&id, -1, "/nowhere/at/all"));
    assert_false(file_identity_get(&id, -1, folder));
    assert_false(file_identity_get(&id, -1, "/dev/null"));
    assert_int_equal(id.n, 0);
    assert_int_equal(pipe(ends), 0);
    assert_false(file_identity_get(&id, ends[0], NULL));
    close(ends[0]);
    close(ends[1]);
    assert_false(file_identity_get(&id, ends[0], NULL));
}

/* 9p, FUSE and the like cannot be mounted here: the rule is tested on what the two comparisons say. */
static void a_minute_is_no_change(void **state)
{
    struct file_identity a, b;

    (void)state;
    write_file(path, "hello");
    a = b = of(path);
    memcpy(b.text + b.stat_n, ".1", 3);
    b.n = b.stat_n + 2;
    memcpy(a.text + a.stat_n, ".2", 3);
    a.n = a.stat_n + 2;
    assert_false(file_identity_eq(&a, &b));
    assert_true(file_identity_unchanged(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name_and_by_descriptor_are_one),
        cmocka_unit_test(text_is_as_specified),
        cmocka_unit_test(every_change_shows),
        cmocka_unit_test(reading_changes_nothing),
        cmocka_unit_test(settled_is_about_ctime_alone),
        cmocka_unit_test(no_identity_without_a_regular_file),
        cmocka_unit_test(a_minute_is_no_change),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
