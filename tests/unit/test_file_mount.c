/* SPDX-License-Identifier: Apache-2.0 */
/* Whose stat is believed, as a function of file system, mount and ETagTrustFS. */
#include "etagd/lib/file_mount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>

#include <cmocka.h>

#define EXT4 0xEF53u
#define XFS 0x58465342u
#define TMPFS 0x01021994u
#define OVERLAY 0x794C7630u
#define SQUASHFS 0x73717368u
#define EROFS 0xE0F5E1E2u
#define FUSE 0x65735546u
#define P9 0x01021997u
#define NFS 0x6969u
#define SMB2 0xFE534D42u
#define PROC 0x9FA0u
#define STRANGE 0x12345678u

static const struct file_trust by_itself = {.mode = FILE_TRUST_AUTO}, all = {.mode = FILE_TRUST_ALL},
                               none = {.mode = FILE_TRUST_NONE};

/* Believed by itself: mounted read-write or read-only with a unique id, and then without. */
static const struct {
    uint32_t type;
    bool unique_rw, unique_ro, reused_rw, reused_ro;
} rules[] = {
    {EXT4, true, true, true, false},       {XFS, true, true, true, false},       {TMPFS, true, true, true, false},
    {OVERLAY, true, true, false, false},   {SQUASHFS, false, false, false, false}, {EROFS, false, false, false, false},
    {FUSE, false, false, false, false},    {P9, false, false, false, false},     {NFS, false, false, false, false},
    {SMB2, false, false, false, false},    {PROC, false, false, false, false},   {STRANGE, false, false, false, false},
};
#define RULES (sizeof rules / sizeof *rules)

static void by_itself_each_kind_is_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < RULES; i++) {
        assert_int_equal(file_mount_believed(rules[i].type, false, true, &by_itself), rules[i].unique_rw);
        assert_int_equal(file_mount_believed(rules[i].type, true, true, &by_itself), rules[i].unique_ro);
        assert_int_equal(file_mount_believed(rules[i].type, false, false, &by_itself), rules[i].reused_rw);
        assert_int_equal(file_mount_believed(rules[i].type, true, false, &by_itself), rules[i].reused_ro);
    }
}

static void all_and_none_are_the_administrators_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < RULES; i++)
        for (unsigned how = 0; how < 4; how++) {
            assert_true(file_mount_believed(rules[i].type, how & 1, how & 2, &all));
            assert_false(file_mount_believed(rules[i].type, how & 1, how & 2, &none));
        }
}

static void a_name_adds_its_type_and_no_other(void **state)
{
    struct file_trust trust = {.mode = FILE_TRUST_AUTO, .types = file_trust_type(SPAN_LITERAL("SquashFS"))};

    (void)state;
    assert_int_not_equal(trust.types, 0);
    for (size_t i = 0; i < RULES; i++)
        for (unsigned how = 0; how < 4; how++)
            assert_int_equal(file_mount_believed(rules[i].type, how & 1, how & 2, &trust),
                             rules[i].type == SQUASHFS ||
                                 file_mount_believed(rules[i].type, how & 1, how & 2, &by_itself));
}

static void names_stand_for_numbers(void **state)
{
    const char *name;
    uint32_t seen = 0;
    size_t n = 0;

    (void)state;
    assert_int_equal(file_trust_type(SPAN_LITERAL("")), 0);
    assert_int_equal(file_trust_type(SPAN_LITERAL("nosuchfs")), 0);
    assert_int_equal(file_trust_type(SPAN_LITERAL("All")), 0);
    for (; (name = file_trust_name(n)); n++) {
        assert_int_not_equal(file_trust_type(span_str(name)), 0);
        seen |= file_trust_type(span_str(name));
    }
    assert_true(n > 20 && seen);
    assert_int_equal(file_trust_type(SPAN_LITERAL("ext4")), file_trust_type(SPAN_LITERAL("ext2")));
    struct file_trust smb = {.mode = FILE_TRUST_AUTO, .types = file_trust_type(SPAN_LITERAL("smb"))};
    assert_true(file_mount_believed(SMB2, false, true, &smb) && file_mount_believed(0x517B, false, true, &smb));
}

/* One mount's judgement is remembered by its type, not by what one directory's setting made of it. */
static void settings_do_not_spill_over(void **state)
{
    struct statfs fs;
    uint64_t id = 0x80000123;

    (void)state;
    assert_int_equal(statfs("/proc/self", &fs), 0);
    assert_int_equal((uint32_t)fs.f_type, PROC);
    for (int i = 0; i < 3; i++) {
        assert_true(file_mount_judge(&id, true, -1, "/proc/self/status", &all));
        assert_false(file_mount_judge(&id, true, -1, "/proc/self/status", &by_itself));
        assert_false(file_mount_judge(&id, true, -1, "/proc/self/status", &none));
    }
    /* Remembered: the path is not asked again. Nothing of the kind without unique ids. */
    assert_true(file_mount_judge(&id, true, -1, "/nowhere", &all));
    assert_false(file_mount_judge(&id, false, -1, "/nowhere", &all));
    id = 0x80000123 + 64; /* its neighbour in the same place */
    assert_false(file_mount_judge(&id, true, -1, "/nowhere", &all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_itself_each_kind_is_judged),
        cmocka_unit_test(all_and_none_are_the_administrators_word),
        cmocka_unit_test(a_name_adds_its_type_and_no_other),
        cmocka_unit_test(names_stand_for_numbers),
        cmocka_unit_test(settings_do_not_spill_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
