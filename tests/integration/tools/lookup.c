/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks into a node's table as httpd does: attaches, maps, reads, without asking etagd anything more.
 *
 *   lookup SOCKET KEY           one line: the result and, for a hit, the entry and its capsule
 *   lookup --watch SOCKET KEY...  a line per key now and whenever its result changes, until it is ended;
 *                               in front CLOCK_MONOTONIC in ns, milliseconds of lease left and the key's
 *                               place in the list
 *   lookup --snapshot SOCKET    "generation seq" as a publisher takes them
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "etagd/lib/client.h"
#include "etagd/lib/digest.h"
#include "etagd/lib/table.h"

#define LINE 1024

static struct table *attach(const char *socket)
{
    struct client *c = client_new(socket);
    struct client_attachment a;
    enum client_error error = client_attach(c, client_now() + INT64_C(5000000000), &a);
    const char *why = "";
    struct table *t;

    if (error != CLIENT_OK) {
        fprintf(stderr, "%s: %s\n", socket, client_error_text(error));
        exit(2);
    }
    t = table_map(a.table_fd, a.touch_fd, &why);
    if (!t) {
        fprintf(stderr, "%s: %s\n", socket, why);
        exit(2);
    }
    close(a.table_fd);
    close(a.touch_fd);
    client_free(c);
    return t;
}

static const char *result_name(enum table_result r)
{
    switch (r) {
    case TABLE_HIT:
        return "HIT";
    case TABLE_MISS:
        return "MISS";
    case TABLE_VOID:
        return "VOID";
    case TABLE_STALE:
        return "STALE";
    case TABLE_EXPIRED:
        return "EXPIRED";
    case TABLE_CONFLICT:
        return "CONFLICT";
    }
    return "?";
}

static void describe(const struct table *t, const struct table_copy *hit, char *out, size_t size)
{
    const struct entry *e = &hit->entry;
    char opaque[64], capsule[CAPSULE_MAX];
    size_t n = 0;

    if (!table_capsule(t, hit, capsule, &n)) {
        snprintf(out, size, "HIT damaged capsule");
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (capsule[i] == '\n')
            capsule[i] = '|';
    if (e->kind == ENTRY_UPSTREAM || e->kind == ENTRY_NAMES)
        snprintf(out, size, "HIT %c %.*s %.*s", e->kind, (int)e->tag.n, e->tag.n ? e->tag.p : "", (int)n, capsule);
    else {
        digest_base64url((const uint8_t *)e->tag.p, e->tag.n, opaque);
        snprintf(out, size, "HIT %c %s %.*s", e->kind, opaque, (int)n, capsule);
    }
}

static void look(const struct table *t, const char *key, char *out, size_t size)
{
    struct table_copy copy;
    enum table_result r = table_lookup(t, table_identify(t, span_str(key)), &copy);

    if (r == TABLE_HIT)
        describe(t, &copy, out, size);
    else
        snprintf(out, size, "%s", result_name(r));
}

static void watch(const struct table *t, char **keys, size_t n)
{
    const struct timespec pause = {0, 50000};
    char(*last)[LINE] = calloc(n, sizeof *last), now[LINE];

    for (;; nanosleep(&pause, NULL)) {
        for (size_t i = 0; i < n; i++) {
            look(t, keys[i], now, sizeof now);
            if (strcmp(now, last[i]) == 0)
                continue;
            printf("%" PRId64 " %" PRIu64 " %zu %s\n", client_now(), table_lease_left(t), i, now);
            fflush(stdout);
            memcpy(last[i], now, sizeof now);
        }
    }
}

int main(int argc, char **argv)
{
    char line[LINE];

    if (argc == 3 && strcmp(argv[1], "--snapshot") == 0) {
        struct table_snapshot s = table_snapshot(attach(argv[2]));

        printf("%" PRIu64 " %" PRIu64 "\n", s.generation, s.seq);
    } else if (argc >= 4 && strcmp(argv[1], "--watch") == 0) {
        watch(attach(argv[2]), argv + 3, (size_t)argc - 3);
    } else if (argc == 3) {
        look(attach(argv[1]), argv[2], line, sizeof line);
        puts(line);
    } else {
        fprintf(stderr, "usage: lookup SOCKET KEY | lookup --watch SOCKET KEY... | lookup --snapshot SOCKET\n");
        return 2;
    }
    return 0;
}
