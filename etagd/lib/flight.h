/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One makes, the others wait: work on the same thing is done once by all threads of all processes that share
 * the memory, and its result is there for those who come a little later. Nobody depends on anybody: who
 * makes may die, be stopped or fail at any moment, and is then waited for no longer than patience. On a busy
 * machine everything takes its time: a maker that goes on gives signs of it, and is waited for longer.
 *
 * Here the thing is a file's identity and the result its digest. The memory belongs to the processes of one
 * httpd; each of them can write it, as it can write whatever it answers.
 * Any thread of any process that inherited the memory.
 */
#ifndef ETAG_LIB_FLIGHT_H
#define ETAG_LIB_FLIGHT_H

#include "etagd/lib/digest.h"

#define FLIGHT_ID_SIZE 16

struct flights;

enum flight_result {
    FLIGHT_MINE,   /* make it, and call flights_land */
    FLIGHT_LANDED, /* somebody has: digest holds the result */
    FLIGHT_ALONE   /* make it without telling: it takes others too long, or too much is being made */
};

struct flight {
    uint32_t place;
    uint64_t ticket;
};

/* Before the processes are forked. NULL (errno) when there is no shared memory. */
struct flights *flights_new(void);
void flights_free(struct flights *f); /* this process's mapping */

/* patience_ns: how long a maker may give no sign: then somebody else takes its claim over. most_ns: the
 * longest to wait in all. */
enum flight_result flights_begin(struct flights *f, const uint8_t id[FLIGHT_ID_SIZE], int64_t patience_ns,
                                 int64_t most_ns, struct flight *mine, uint8_t digest[DIGEST_SIZE]);

/* The work goes on. Cheap. */
void flights_sign(struct flights *f, const struct flight *mine);

/* digest NULL: it could not be made; one of those who wait tries next. */
void flights_land(struct flights *f, const struct flight *mine, const uint8_t *digest);

#endif
