/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distinct tags by the hundred thousand, and a reader of the table that they lap:
 *
 *   flood SOCKET SECONDS
 *
 * One thread publishes records as httpd does, each another variant of one page whose tag follows from its number. The
 * other looks up, again and again, those that will be overwritten next: were a record believed that was overwritten
 * while it was copied, its tag would not be the one that follows. All are of one length, so that a later one lies
 * exactly where the earlier one lay. Prints "flood: N puts, N lookups, N hits, N wrong"; ends with 1 when a tag was
 * wrong, with 2 when etagd cannot be reached.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "etagd/lib/client.h"
#include "etagd/lib/table.h"

#define KEY "https://flood.example/"
#define TAG_BYTES 380u
#define AHEAD 4u /* records looked up beyond the oldest one that is still there */
#define BATCH 64u /* sent before their answers are read */

#define READERS 2

static struct {
    const struct table *table;
    uint64_t first; /* number; another one in every run: what is known already would be kept longer */
    _Atomic uint64_t next;
    _Atomic bool over;
    _Atomic uint64_t lookups, hits, wrong;
} flood;

static void tag_of(uint64_t number, char text[TAG_BYTES])
{
    memset(text, (int)('A' + number % 26), TAG_BYTES);
    text[0] = text[TAG_BYTES - 1] = '"';
}

/* ---- the reader ---- */

static struct table_id id_of(uint64_t number)
{
    char key[64];

    snprintf(key, sizeof key, KEY "#%" PRIu64, number);
    return table_identify(flood.table, span_str(key));
}

struct counts {
    uint64_t lookups, hits, wrong;
};

static bool look(uint64_t number, struct table_id id, struct counts *c)
{
    char text[TAG_BYTES];
    struct table_copy copy;

    c->lookups++;
    if (table_lookup(flood.table, id, &copy) != TABLE_HIT)
        return false;
    tag_of(number, text);
    c->hits++;
    c->wrong += !span_eq(copy.entry.tag, span_of(text, sizeof text));
    return true;
}

static void *read_oldest(void *arg)
{
    struct counts c = {0};
    struct table_id ids[AHEAD];
    uint64_t oldest = flood.first;

    (void)arg;
    for (uint64_t i = 0; i < AHEAD; i++)
        ids[(oldest + i) % AHEAD] = id_of(oldest + i);
    while (!flood.over) {
        const uint64_t next = flood.next;
        bool found = false;
        for (uint64_t i = oldest; i < oldest + AHEAD && i < next; i++)
            found |= look(i, ids[i % AHEAD], &c) && i == oldest;
        if (found || oldest >= next)
            continue;
        ids[oldest % AHEAD] = id_of(oldest + AHEAD);
        oldest++;
    }
    flood.lookups += c.lookups;
    flood.hits += c.hits;
    flood.wrong += c.wrong;
    return NULL;
}

/* ---- the publisher ---- */

static void put_text(FILE *out, struct span text)
{
    fprintf(out, "$%zu\r\n", text.n);
    fwrite(text.p, 1, text.n, out);
    fputs("\r\n", out);
}

static void put_number(FILE *out, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    put_text(out, span_str(text));
}

/* ETAG PUT, etagd/lib/proto.h. */
static void publish(FILE *out, uint64_t number)
{
    const struct table_snapshot now = table_snapshot(flood.table);
    char text[TAG_BYTES];
    uint8_t value[ENTRY_SIZE];
    const struct entry entry = {
        .kind = ENTRY_UPSTREAM, .last_modified = ENTRY_UNDATED, .tag = span_of(text, sizeof text)};

    tag_of(number, text);
    fputs("*12\r\n", out);
    put_text(out, SPAN_LITERAL("ETAG"));
    put_text(out, SPAN_LITERAL("PUT"));
    put_number(out, now.generation);
    put_number(out, now.seq);
    put_text(out, SPAN_LITERAL(KEY));
    put_number(out, number);
    put_text(out, SPAN_LITERAL(""));
    put_text(out, SPAN_LITERAL("3000"));
    put_text(out, span_of((const char *)value, entry_encode(value, sizeof value, &entry)));
    put_text(out, SPAN_LITERAL(""));
    put_text(out, SPAN_LITERAL("0"));
    put_text(out, SPAN_LITERAL("0"));
}

/* Every answer is one line; a refusal is one, too (no lease). False: etagd is gone. */
static bool publish_batch(FILE *out, FILE *in)
{
    const uint64_t first = flood.next;
    char line[256];

    for (unsigned i = 0; i < BATCH; i++)
        publish(out, first + i);
    if (fflush(out) != 0)
        return false;
    for (unsigned i = 0; i < BATCH; i++)
        if (!fgets(line, sizeof line, in))
            return false;
    flood.next = first + BATCH;
    return true;
}

static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 ? fd : -1;
}

static bool attach(const char *path)
{
    struct client *c = client_new(path);
    struct client_attachment a;
    const char *why;

    if (!c || client_attach(c, client_now() + INT64_C(5000000000), &a) != CLIENT_OK)
        return false;
    flood.table = table_map(a.table_fd, -1, &why); /* no touch: what is looked up is not kept for that */
    close(a.table_fd);
    close(a.touch_fd);
    client_free(c);
    return flood.table != NULL;
}

int main(int argc, char **argv)
{
    const int64_t end = client_now() + (int64_t)(argc == 3 ? atof(argv[2]) * 1e9 : 0);
    pthread_t readers[READERS];

    if (argc != 3) {
        fprintf(stderr, "usage: flood SOCKET SECONDS\n");
        return 2;
    }
    const int fd = attach(argv[1]) ? connect_to(argv[1]) : -1;
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w"), *in = fd < 0 ? NULL : fdopen(dup(fd), "r");
    if (!out || !in)
        return 2;
    flood.next = flood.first = (uint64_t)client_now() / 1000;
    for (int i = 0; i < READERS; i++)
        if (pthread_create(&readers[i], NULL, read_oldest, NULL) != 0)
            return 2;
    /* etagd may be ended meanwhile: then it is over. */
    while (client_now() < end && publish_batch(out, in))
        ;
    flood.over = true;
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    printf("flood: %" PRIu64 " puts, %" PRIu64 " lookups, %" PRIu64 " hits, %" PRIu64 " wrong\n",
           flood.next - flood.first, (uint64_t)flood.lookups, (uint64_t)flood.hits, (uint64_t)flood.wrong);
    return flood.wrong ? 1 : 0;
}
