/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unix socket's file: one daemon per path, made with the wanted mode and group, removed at the end.
 * Event-loop thread, start-up and end only.
 */
#ifndef ETAGD_LISTENER_H
#define ETAGD_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

struct conf;
struct conf_error;

struct listener {
    int fd;      /* listening, non-blocking */
    int lock_fd; /* PATH.lock, held as long as the daemon lives */
    dev_t device; /* of the socket's file, to know it again */
    ino_t inode;
};

/* False and err->text when another daemon holds the path, or it cannot be bound. A socket of ours left behind
 * by a daemon that died is replaced; anything else at the path is left alone. */
bool listener_open(struct listener *l, const struct conf *conf, struct conf_error *err);

/* No more connections: who tries is told so at once. The path stays ours. */
void listener_stop(struct listener *l, const struct conf *conf);

void listener_close(struct listener *l, const struct conf *conf);

#endif
