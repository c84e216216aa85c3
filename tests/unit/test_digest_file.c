/* SPDX-License-Identifier: Apache-2.0 */
/* The state file of file digests: what was written is read, and nothing else is. */
#include "etagd/digest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/digest_bytes.h"

#define RECORDS 3u
#define SIZE (HEAD_SIZE + RECORDS * RECORD_SIZE + FOOT_SIZE)

static char folder[] = "/tmp/digest-file-XXXXXX";
static char path[64], beside[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/digests", folder);
    snprintf(beside, sizeof beside, "%s/digests.new", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int empty_folder(void **state)
{
    (void)state;
    rmdir(path);
    unlink(path);
    unlink(beside);
    return 0;
}

static struct digest_record sample(unsigned i)
{
    struct digest_record r = {.numbers = {0x80000021, 8, 1, 4711 + i, 1000, 1700000000, 5, 1700000001, 999999999}};

    memset(r.digest, (int)(0x40 + i), sizeof r.digest);
    return r;
}

static void write_good(void)
{
    struct digest_record r[RECORDS];
    struct digest_writer *w = digest_writer_begin(path, RECORDS);
    uint64_t size;

    assert_non_null(w);
    for (unsigned i = 0; i < RECORDS; i++)
        r[i] = sample(i);
    assert_true(digest_writer_add(w, r, 1) && digest_writer_add(w, r + 1, RECORDS - 1));
    assert_true(digest_writer_finish(w, &size));
    assert_int_equal(size, SIZE);
}

/* In memory of its exact size, so that a read beyond the end shows under the sanitizers. */
static uint8_t *good_bytes(void)
{
    enum digest_file_result result;
    size_t size;

    write_good();
    uint8_t *bytes = digest_file_read(path, &size, &result);
    assert_int_equal(result, DIGEST_FILE_OK);
    assert_int_equal(size, SIZE);
    return bytes;
}

static enum digest_file_result parse(const uint8_t *bytes, size_t size)
{
    const struct digest_record *records;
    uint8_t *copy = malloc(size ? size : 1);
    size_t n;

    memcpy(copy, bytes, size);
    enum digest_file_result result = digest_file_parse(copy, size, &records, &n);
    free(copy);
    return result;
}

static void what_was_written_is_read(void **state)
{
    const struct digest_record *records;
    size_t n;
    struct stat st;
    uint8_t *bytes = good_bytes();

    (void)state;
    assert_int_equal(digest_file_parse(bytes, SIZE, &records, &n), DIGEST_FILE_OK);
    assert_int_equal(n, RECORDS);
    for (unsigned i = 0; i < n; i++) {
        const struct digest_record want = sample(i);
        assert_memory_equal(records[i].numbers, want.numbers, sizeof want.numbers);
        assert_memory_equal(records[i].digest, want.digest, sizeof want.digest);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(access(beside, F_OK), -1);
    free(bytes);
}

static void every_flipped_bit_is_noticed(void **state)
{
    uint8_t *bytes = good_bytes();

    (void)state;
    for (size_t bit = 0; bit < SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(parse(bytes, SIZE), DIGEST_FILE_OK);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(parse(bytes, SIZE), DIGEST_FILE_OK);
    free(bytes);
}

static void every_other_length_is_noticed(void **state)
{
    uint8_t longer[SIZE + RECORD_SIZE + 1] = {0}, *bytes = good_bytes();

    (void)state;
    for (size_t n = 0; n < SIZE; n++) {
        assert_int_equal(parse(bytes, n), DIGEST_FILE_DAMAGED);
        memcpy(longer, bytes, n);
        if (n >= HEAD_SIZE + FOOT_SIZE) { /* torn, and the end looks right */
            mend_foot(longer, n);
            assert_int_equal(parse(longer, n), DIGEST_FILE_DAMAGED);
        }
    }
    memcpy(longer, bytes, SIZE);
    for (size_t n = SIZE + 1; n <= sizeof longer; n++) {
        mend_foot(longer, n);
        assert_int_equal(parse(longer, n), DIGEST_FILE_DAMAGED);
    }
    free(bytes);
}

/* A fault that checksums made afterwards would hide: 64 bits at a place. */
static const struct {
    size_t at;
    uint64_t value;
    enum digest_file_result result;
    const char *what;
} lies[] = {
    {0, 0x2153474944474154, DIGEST_FILE_DAMAGED, "magic"},
    {AT_VERSION, 2 | (uint64_t)RECORD_SIZE << 32, DIGEST_FILE_OTHER, "version"},
    {AT_VERSION, 1 | (uint64_t)(RECORD_SIZE + 8) << 32, DIGEST_FILE_OTHER, "size of a record"},
    {AT_BOOT, 0x6665656264616564, DIGEST_FILE_OTHER, "boot"},
    {AT_BOOT + 32, 0x1166666666, DIGEST_FILE_OTHER, "padding of the boot id"},
    {AT_COUNT, RECORDS - 1, DIGEST_FILE_DAMAGED, "longer than announced"},
    {AT_COUNT, RECORDS + 1, DIGEST_FILE_DAMAGED, "shorter than announced"},
    {AT_COUNT, DIGEST_FILE_MAX + 1, DIGEST_FILE_DAMAGED, "too many"},
    {AT_COUNT, UINT64_MAX / RECORD_SIZE + 2, DIGEST_FILE_DAMAGED, "a size that overflows"},
    {AT_COUNT, UINT64_MAX, DIGEST_FILE_DAMAGED, "a count that overflows"},
    {HEAD_SIZE + 6 * 8, 1000000000, DIGEST_FILE_DAMAGED, "nanoseconds of mtime"},
    {HEAD_SIZE + 8 * 8, 1000000000, DIGEST_FILE_DAMAGED, "nanoseconds of ctime"},
    {HEAD_SIZE + RECORD_SIZE + 7 * 8, 32503680000, DIGEST_FILE_DAMAGED, "ctime in the future"},
    {HEAD_SIZE + AT_FLAGS, 2, DIGEST_FILE_DAMAGED, "flags that nobody knows"},
};

static void consistent_lies_are_noticed(void **state)
{
    uint8_t *bytes = good_bytes(), file[SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        memcpy(file, bytes, SIZE);
        put64(file + lies[i].at, lies[i].value);
        mend_head(file);
        mend_records(file, SIZE);
        mend_foot(file, SIZE);
        if (parse(file, SIZE) != lies[i].result)
            fail_msg("%s: %s", lies[i].what, digest_file_result_text(parse(file, SIZE)));
    }
    /* And mending alone changes nothing. */
    memcpy(file, bytes, SIZE);
    mend_head(file);
    mend_records(file, SIZE);
    mend_foot(file, SIZE);
    assert_memory_equal(file, bytes, SIZE);
    free(bytes);
}

static void records_have_checksums_and_places_of_their_own(void **state)
{
    uint8_t *bytes = good_bytes(), file[SIZE];

    (void)state;
    memcpy(file, bytes, SIZE);
    file[HEAD_SIZE + RECORD_SIZE + 80] ^= 1; /* of a digest */
    mend_foot(file, SIZE);
    assert_int_equal(parse(file, SIZE), DIGEST_FILE_DAMAGED);

    memcpy(file, bytes, SIZE);
    memcpy(file + HEAD_SIZE, bytes + HEAD_SIZE + RECORD_SIZE, RECORD_SIZE);
    memcpy(file + HEAD_SIZE + RECORD_SIZE, bytes + HEAD_SIZE, RECORD_SIZE);
    mend_foot(file, SIZE);
    assert_int_equal(parse(file, SIZE), DIGEST_FILE_DAMAGED);
    free(bytes);
}

static enum digest_file_result reading(void)
{
    enum digest_file_result result;
    size_t size;

    free(digest_file_read(path, &size, &result));
    return result;
}

static void a_file_that_others_may_write_is_not_read(void **state)
{
    (void)state;
    assert_int_equal(reading(), DIGEST_FILE_NONE);
    write_good();
    for (mode_t mode = 0; mode < 01000; mode++) {
        assert_int_equal(chmod(path, mode | S_IRUSR), 0);
        assert_int_equal(reading(), mode & 022 ? DIGEST_FILE_FOREIGN : DIGEST_FILE_OK);
    }
}

static void a_file_of_another_user_is_not_read(void **state)
{
    (void)state;
    write_good();
    if (chown(path, 65534, 65534) != 0) {
        print_message("[  why   ] needs root\n");
        skip();
    }
    assert_int_equal(reading(), DIGEST_FILE_FOREIGN);
}

static void what_is_no_file_is_not_read(void **state)
{
    char target[80];

    (void)state;
    write_good();
    snprintf(target, sizeof target, "%s.new", path);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(reading(), DIGEST_FILE_FOREIGN);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(reading(), DIGEST_FILE_FOREIGN); /* and nobody waited for its other end */
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(reading(), DIGEST_FILE_FOREIGN);
}

static void a_huge_file_is_not_even_read(void **state)
{
    (void)state;
    write_good();
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    assert_int_equal(reading(), DIGEST_FILE_DAMAGED);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(reading(), DIGEST_FILE_DAMAGED);
}

/* Somebody who may write into the folder must not have another file of ours overwritten. */
static void nothing_is_written_through_a_link(void **state)
{
    char victim[80];
    struct stat st;

    (void)state;
    snprintf(victim, sizeof victim, "%s/victim", folder);
    close(open(victim, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(symlink(victim, beside), 0);
    write_good();
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(reading(), DIGEST_FILE_OK);
    unlink(victim);
}

static void a_writer_that_fails_leaves_the_old_file(void **state)
{
    struct digest_record r = sample(7);
    struct digest_writer *w;
    uint64_t size;

    (void)state;
    write_good();
    w = digest_writer_begin(path, 2); /* and then one record only */
    assert_non_null(w);
    assert_true(digest_writer_add(w, &r, 1));
    assert_false(digest_writer_finish(w, &size));
    assert_int_equal(access(beside, F_OK), -1);
    w = digest_writer_begin(path, 0);
    assert_non_null(w);
    assert_false(digest_writer_add(w, &r, 1)); /* one more than announced */
    assert_false(digest_writer_finish(w, &size));
    assert_int_equal(reading(), DIGEST_FILE_OK);
    assert_null(digest_writer_begin("/nowhere/at/all", 1));
    assert_int_equal(errno, ENOENT);
}

#define TEST(f) cmocka_unit_test_teardown(f, empty_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read),
        TEST(every_flipped_bit_is_noticed),
        TEST(every_other_length_is_noticed),
        TEST(consistent_lies_are_noticed),
        TEST(records_have_checksums_and_places_of_their_own),
        TEST(a_file_that_others_may_write_is_not_read),
        TEST(a_file_of_another_user_is_not_read),
        TEST(what_is_no_file_is_not_read),
        TEST(a_huge_file_is_not_even_read),
        TEST(nothing_is_written_through_a_link),
        TEST(a_writer_that_fails_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
