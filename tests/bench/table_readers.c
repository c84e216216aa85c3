/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What many reading processes cost beside the table they share: page tables, as httpd's prefork children have them.
 *
 *   table_readers PROCESSES MEGABYTES
 *
 * Prints "N processes, N MiB: N kB of page tables each, N kB of the table in huge pages".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "etagd/lib/table_word.h"
#include "etagd/writer.h"

#define LOOKUPS 200000u
#define BYTES_PER_KEY 200u /* entries of the table, roughly */

static struct span key_of(char text[64], unsigned n)
{
    return span_of(text, (size_t)snprintf(text, 64, "https://www.example.com/page/%u#variant", n));
}

static void fill(struct writer *w, unsigned keys)
{
    const struct entry e = {ENTRY_DIGEST, 0, ENTRY_UNDATED, SPAN_LITERAL("0123456789abcdef")};
    uint8_t value[ENTRY_SIZE];
    const size_t n = entry_encode(value, sizeof value, &e);
    char text[64];

    for (unsigned i = 0; i < keys; i++)
        writer_put(w, &(struct writer_put){.key = key_of(text, i),
                                           .seq = writer_seq(w),
                                           .ttl_s = 3600,
                                           .value = span_of((const char *)value, n)});
}

/* The number of kB behind a name in a file of /proc; 0: there is none. */
static unsigned long kilobytes(const char *path, const char *name)
{
    unsigned long kb = 0;
    char line[256];
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            kb += strtoul(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

struct cost {
    unsigned long page_tables, huge;
};

/* A child: maps the table, reads all over it, tells what that took, and stays until the pipe is closed. */
static void read_all(const struct writer *w, unsigned keys, int out, int until)
{
    const unsigned long before = kilobytes("/proc/self/status", "VmPTE:");
    struct table_copy copy;
    struct cost cost;
    const char *why;
    char text[64], end;
    struct table *t = table_map(writer_table_fd(w), writer_touch_fd(w), &why);

    if (!t) {
        fprintf(stderr, "table_map: %s\n", why);
        _exit(1);
    }
    for (unsigned i = 0; i < LOOKUPS; i++)
        table_lookup(t, table_identify(t, key_of(text, (unsigned)(i * 2654435761u % keys))), &copy);
    cost.page_tables = kilobytes("/proc/self/status", "VmPTE:") - before;
    cost.huge = kilobytes("/proc/self/smaps", "ShmemPmdMapped:");
    if (write(out, &cost, sizeof cost) != sizeof cost || read(until, &end, 1) < 0)
        _exit(1);
    _exit(0);
}

int main(int argc, char **argv)
{
    const unsigned processes = argc > 1 ? (unsigned)atoi(argv[1]) : 400, mib = argc > 2 ? (unsigned)atoi(argv[2]) : 64;
    const unsigned keys = (unsigned)((uint64_t)mib * 1048576 / BYTES_PER_KEY);
    unsigned long page_tables = 0, huge = 0;
    int told[2], until[2], failed = 0, status;
    struct cost cost;
    const char *why;
    struct writer *w = writer_create(&(struct writer_size){.bytes = (uint64_t)mib << 20}, &why);

    if (!w || pipe(told) != 0 || pipe(until) != 0) {
        fprintf(stderr, "%s\n", w ? "no pipe" : why);
        return 1;
    }
    writer_lease(w, table_now_ms() + TABLE_LEASE_MAX_MS);
    fill(w, keys);
    for (unsigned i = 0; i < processes; i++) {
        const pid_t child = fork();

        if (child == 0) {
            close(until[1]);
            read_all(w, keys, told[1], until[0]);
        }
        failed += child < 0;
    }
    close(told[1]);
    for (unsigned i = 0; i < processes; i++) {
        if (read(told[0], &cost, sizeof cost) != sizeof cost) {
            failed++;
            break;
        }
        page_tables += cost.page_tables;
        huge += cost.huge;
    }
    close(until[1]);
    while (wait(&status) > 0)
        failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    printf("%u processes, %u MiB: %lu kB of page tables each, %lu kB of the table in huge pages\n", processes, mib,
           page_tables / processes, huge / processes);
    return failed != 0;
}
