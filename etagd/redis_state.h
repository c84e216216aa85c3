/* SPDX-License-Identifier: Apache-2.0 */
/* The connection's inside, shared by redis.c (commands and replies) and redis_connect.c (up and down). */
#ifndef ETAGD_REDIS_STATE_H
#define ETAGD_REDIS_STATE_H

#include "etagd/redis.h"

struct command;
struct event;
struct redisReader;
struct redis_transport;

enum stage { STAGE_DOWN, STAGE_CONNECTING, STAGE_GREETING, STAGE_UP };

struct redis {
    struct redis_options options;
    struct redis_url url;
    char *user, *password_file, *name;

    enum stage stage;
    struct redis_transport *transport;
    struct redisReader *reader;
    uint64_t unparsed;
    struct command *oldest, **newest;
    size_t in_flight;
    struct event *timer; /* connecting: its end; up: the oldest command's; down: the next attempt */
    unsigned pause_ms;
    bool give_up; /* decided inside a callback, done when it has returned */
    char why[256];
};

/* Sends a command whatever the stage. */
bool redis_push(struct redis *r, size_t argc, const struct span *argv,
                void (*reply)(void *arg, const struct redis_reply *reply), void *arg);

/* Reads what has arrived and calls callbacks, until redis_fail. */
void redis_read(struct redis *r);

/* False: out of memory. */
bool redis_reader_open(struct redis *r);
void redis_reader_close(struct redis *r);

/* Answers everything in flight by "lost". */
void redis_lose(struct redis *r);

/* The connection is given up, as soon as the callback that is running has returned. */
void redis_fail(struct redis *r, const char *why);

/* Milliseconds until the oldest command must have been answered; 0: it is too late. in_flight > 0. */
uint64_t redis_patience(const struct redis *r);

void redis_arm(struct redis *r, uint64_t ms);

#endif
