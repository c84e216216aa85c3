/* SPDX-License-Identifier: Apache-2.0 */
/* A lookup makes no system call: a process that the kernel kills for any does a million of them. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/table_fixture.h"

#define RECORDS 1000u
#define LOOKUPS 1000000u

/* What the child does, under seccomp; returns its exit status. */
typedef int (*work_fn)(const struct table *t, const struct table_id *ids);

/* The clock alone: where the kernel's vDSO has no clock source of its own (some hypervisors), reading it is a call. */
static int read_clock(const struct table *t, const struct table_id *ids)
{
    (void)t;
    (void)ids;
    return table_now_ms() == 0;
}

static int look_up(const struct table *t, const struct table_id *ids)
{
    struct table_copy copy;
    unsigned hits = 0, misses = 0;

    for (unsigned i = 0; i < LOOKUPS; i++)
        switch (table_lookup(t, ids[i % (2 * RECORDS)], &copy)) {
        case TABLE_HIT:
            hits++;
            break;
        case TABLE_MISS:
            misses++;
            break;
        default:
            return 2;
        }
    return !(hits == LOOKUPS / 2 && misses == LOOKUPS / 2);
}

static int call_the_kernel(const struct table *t, const struct table_id *ids)
{
    (void)t;
    (void)ids;
    return (int)syscall(SYS_getppid) & 0;
}

/* Every call but exit kills the process. Not the strict mode: that forbids the time stamp counter as well. */
static bool forbid_calls(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The status of waitpid; -1: this kernel has no seccomp. */
static int under_seccomp(work_fn work, const struct table *t, const struct table_id *ids)
{
    int status;
    pid_t child = fork();

    assert_int_not_equal(child, -1);
    if (child == 0) {
        if (!forbid_calls())
            _exit(77);
        syscall(SYS_exit, work(t, ids));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 77 ? -1 : status;
}

static void a_million_lookups_without_a_system_call(void **state)
{
    struct writer *w = *state;
    const struct table *t = writer_table(w);
    struct table_id ids[2 * RECORDS];
    char key[64];

    for (unsigned i = 0; i < 2 * RECORDS; i++) {
        struct span name = numbered(key, "https://www.example.com/page/", i);

        if (i % 2 == 0)
            assert_int_equal(put_at(w, name, i, writer_seq(w), (struct put_options){0}), WRITER_OK);
        ids[i] = table_identify(t, name);
    }
    if (under_seccomp(read_clock, t, ids) != 0) {
        print_message("no seccomp here, or this kernel's clock needs a system call\n");
        skip();
    }
    /* The child that calls is killed: this test can fail. */
    assert_true(WIFSIGNALED(under_seccomp(call_the_kernel, t, ids)));
    assert_int_equal(under_seccomp(look_up, t, ids), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_million_lookups_without_a_system_call, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
