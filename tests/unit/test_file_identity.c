/* SPDX-License-Identifier: Apache-2.0 */
/* Identities of real files: what must change them does, and nothing else. */
#include "etagd/lib/file_identity.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MNT_ID 0x1000U
#define MNT_ID_UNIQUE 0x4000U

/* In place of the library's: a kernel before 6.8 knows no unique mount ids and gives out small ones again. */
static bool old_kernel;

int statx(int dir, const char *restrict name, int flags, unsigned mask, struct statx *restrict st)
{
    const int failed =
        (int)syscall(SYS_statx, dir, name, flags, old_kernel ? mask & ~(MNT_ID | MNT_ID_UNIQUE) : mask, st);

    if (!failed && old_kernel) {
        st->stx_mask = (st->stx_mask & ~MNT_ID_UNIQUE) | MNT_ID;
        st->stx_mnt_id = 51;
    }
    return failed;
}

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

    assert_true(file_identity_get(&id, -1, name, NULL));
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
    assert_true(fd >= 0 && file_identity_get(&by_fd, fd, NULL, NULL));
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
    assert_false(file_identity_get(&id, -1, "/nowhere/at/all", NULL));
    assert_false(file_identity_get(&id, -1, folder, NULL));
    assert_false(file_identity_get(&id, -1, "/dev/null", NULL));
    assert_int_equal(id.n, 0);
    assert_int_equal(pipe(ends), 0);
    assert_false(file_identity_get(&id, ends[0], NULL, NULL));
    close(ends[0]);
    close(ends[1]);
    assert_false(file_identity_get(&id, ends[0], NULL, NULL));
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

static uint64_t minute(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    return (uint64_t)now.tv_sec / 60;
}

static bool is(const struct file_identity *own, const char *end)
{
    char text[FILE_IDENTITY_SIZE + 32];
    const int n = snprintf(text, sizeof text, "%.*s%s", (int)own->stat_n, own->text, end);

    return file_identity_is(own, span_of(text, (size_t)n));
}

static bool is_in_minute(const struct file_identity *own, uint64_t m)
{
    char end[32];

    snprintf(end, sizeof end, ".%llx", (unsigned long long)m);
    return is(own, end);
}

/* httpd and etagd need not agree on whether a mount is to be trusted, only on the file. */
static void an_identity_is_recognised_by_its_stat(void **state)
{
    struct file_identity own, another;
    uint64_t now;

    (void)state;
    write_file(path, "hello");
    write_file(other, "world");
    own = of(path);
    another = of(other);
    do {
        now = minute();
        assert_true(is(&own, ""));
        assert_true(is_in_minute(&own, now));
        assert_true(is_in_minute(&own, now - 1)); /* it was over in between */
        assert_false(is_in_minute(&own, now - 2) && now == minute());
        assert_false(is_in_minute(&own, now + 1) && now == minute());
    } while (now != minute());
    assert_false(is(&own, ".") || is(&own, "x") || is(&own, ".0x1"));
    assert_false(file_identity_is(&own, span_of(own.text, own.stat_n - 1)));
    assert_false(file_identity_is(&own, span_of(own.text, 0)));
    assert_false(file_identity_is(&own, span_of(another.text, another.n)));
}

static void a_text_gives_its_numbers(void **state)
{
    char again[FILE_IDENTITY_SIZE], text[FILE_IDENTITY_SIZE + 4];
    uint64_t n[FILE_IDENTITY_NUMBERS];
    struct file_identity id;

    (void)state;
    write_file(path, "hello");
    set_mtime(path, -5, 10); /* before 1970 */
    id = of(path);
    assert_true(file_identity_parse(span_of(id.text, id.stat_n), n));
    assert_int_equal(n[4], 5);
    assert_int_equal((int64_t)n[5], -5);
    assert_int_equal(n[6], 10);
    assert_int_equal(file_identity_format(n, again), id.stat_n);
    assert_memory_equal(again, id.text, id.stat_n + 1);
    for (size_t i = 0; i < id.stat_n; i++) { /* another boot, upper case, other punctuation */
        memcpy(text, id.text, id.stat_n);
        text[i] = text[i] == 'g' ? 'h' : 'g';
        assert_false(file_identity_parse(span_of(text, id.stat_n), n));
    }
    snprintf(text, sizeof text, "%.*s.1", (int)id.stat_n, id.text); /* MINUTE */
    assert_false(file_identity_parse(span_of(text, id.stat_n + 2), n));
    memcpy(text, id.text, id.stat_n);
    memcpy(strchr(text, '.') + 1, "11112222333344445", 17); /* seventeen digits */
    assert_false(file_identity_parse(span_of(text, id.stat_n), n));
}

/* --- mounts --- */

#define IMAGE_SIZE (1 << 20)

/* Runs a command; false when that is not possible here. */
__attribute__((format(printf, 1, 2))) static bool can(const char *format, ...)
{
    char command[512];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command) == 0;
}

/* other: an image like path's, but for the content of its file "f". Times, inodes and ids are equal. */
static bool make_images(void)
{
    static char bytes[IMAGE_SIZE];
    FILE *f;

    write_file(path, "");
    if (truncate(path, IMAGE_SIZE) != 0 ||
        !can("d=$(mktemp -d) && echo 'one content' >$d/f && mke2fs -q -t ext4 -d $d %s 2>/dev/null; rm -r $d", path))
        return false;
    f = fopen(path, "r+");
    assert_true(f && fread(bytes, 1, sizeof bytes, f) == sizeof bytes);
    fclose(f);
    char *content = memmem(bytes, sizeof bytes, "one content", 11);
    if (!content) /* mke2fs failed */
        return false;
    memcpy(content, "two", 3);
    f = fopen(other, "w");
    assert_true(f && fwrite(bytes, 1, sizeof bytes, f) == sizeof bytes);
    fclose(f);
    return true;
}

/* Its identity while mounted with these options; false when that is not possible here. */
static bool identity_in(const char *image, const char *options, struct file_identity *id, char content[12])
{
    char at[64], name[72];

    snprintf(at, sizeof at, "%s/m", folder);
    snprintf(name, sizeof name, "%s/f", at);
    if (mkdir(at, 0755) != 0 || !can("mount -o loop,%s %s %s 2>/dev/null", options, image, at))
        return rmdir(at), false;
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0 && read(fd, content, 11) == 11);
    content[11] = '\0';
    assert_true(file_identity_get(id, fd, NULL, NULL));
    close(fd);
    assert_true(can("umount %s", at));
    assert_int_equal(rmdir(at), 0);
    return true;
}

/* Mounts of this process alone. */
static bool own_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool text_without_mount_is_equal(const struct file_identity *a, const struct file_identity *b)
{
    const char *rest_a = strchr(a->text, '.'), *rest_b = strchr(b->text, '.');

    return rest_a && rest_b && strcmp(rest_a, rest_b) == 0;
}

static bool kernel_has_unique_ids(void)
{
    struct statx st;

    assert_int_equal(statx(AT_FDCWD, path, 0, MNT_ID_UNIQUE, &st), 0);
    return st.stx_mask & MNT_ID_UNIQUE;
}

static void an_image_in_the_place_of_another_is_noticed(void **state)
{
    struct file_identity one, two;
    char content_one[12], content_two[12];

    (void)state;
    if (!own_mounts() || !make_images() || !identity_in(path, "ro", &one, content_one) ||
        !identity_in(other, "ro", &two, content_two)) {
        print_message("[  why   ] needs root, mke2fs and loop devices\n");
        skip();
    }
    assert_string_equal(content_one, "one content");
    assert_string_equal(content_two, "two content");
    assert_false(file_identity_eq(&one, &two));
    if (!kernel_has_unique_ids())
        return;
    assert_true(one.trusted && two.trusted);
    assert_true(text_without_mount_is_equal(&one, &two)); /* or this test would prove nothing */

    old_kernel = true;
    assert_true(identity_in(path, "ro", &one, content_one) && identity_in(other, "ro", &two, content_two));
    old_kernel = false;
    assert_false(one.trusted || two.trusted);
    assert_true(one.n > one.stat_n);
}

static void written_disks_are_trusted_by_old_kernels(void **state)
{
    struct file_identity id;
    char content[12];

    (void)state;
    if (!own_mounts() || !make_images() || !identity_in(path, "rw", &id, content)) {
        print_message("[  why   ] needs root, mke2fs and loop devices\n");
        skip();
    }
    old_kernel = true;
    assert_true(identity_in(path, "rw", &id, content));
    old_kernel = false;
    assert_true(id.trusted && id.n == id.stat_n);
}

/* What was learned of a mount must not be believed of the next one with its number. */
static void old_kernels_keep_nothing_of_a_mount(void **state)
{
    struct file_identity id;
    char content[12];

    (void)state;
    if (!own_mounts() || !make_images() || !identity_in(path, "rw", &id, content)) {
        print_message("[  why   ] needs root, mke2fs and loop devices\n");
        skip();
    }
    old_kernel = true;
    for (int i = 0; i < 3; i++) {
        assert_true(identity_in(path, i % 2 ? "ro" : "rw", &id, content));
        assert_int_equal(id.trusted, i % 2 == 0);
    }
    old_kernel = false;
    /* No disk: a program's word, whatever its options say. */
    old_kernel = true;
    assert_true(file_identity_get(&id, -1, "/proc/self/status", NULL));
    old_kernel = false;
    assert_false(id.trusted);
}

static void overlays_are_trusted_by_their_mount(void **state)
{
    char options[256], name[72], at[64];
    struct file_identity first, second;

    (void)state;
    snprintf(at, sizeof at, "%s/o", folder);
    snprintf(name, sizeof name, "%s/low/f", at);
    snprintf(options, sizeof options, "lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", at, at, at);
    write_file(path, "");
    if (!kernel_has_unique_ids() || !own_mounts() || mkdir(at, 0755) != 0 ||
        mount("tmpfs", at, "tmpfs", 0, NULL) != 0) {
        print_message("[  why   ] needs root and Linux 6.8\n");
        rmdir(at);
        skip();
    }
    assert_true(can("cd %s && mkdir low up work all", at));
    write_file(name, "hello");
    snprintf(name, sizeof name, "%s/all", at);
    const bool possible = mount("overlay", name, "overlay", 0, options) == 0;
    if (possible) {
        snprintf(options, sizeof options, "%s/f", name);
        first = of(options);
        second = of(options);
        umount(name);
    }
    umount(at);
    rmdir(at);
    if (!possible) {
        print_message("[  why   ] needs overlayfs\n");
        skip();
    }
    assert_true(first.trusted && file_identity_eq(&first, &second));
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
        cmocka_unit_test(an_identity_is_recognised_by_its_stat),
        cmocka_unit_test(a_text_gives_its_numbers),
        cmocka_unit_test(an_image_in_the_place_of_another_is_noticed),
        cmocka_unit_test(written_disks_are_trusted_by_old_kernels),
        cmocka_unit_test(old_kernels_keep_nothing_of_a_mount),
        cmocka_unit_test(overlays_are_trusted_by_their_mount),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
