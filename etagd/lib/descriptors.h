/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that travel with bytes over a unix stream socket (SCM_RIGHTS). Any thread; nothing here
 * blocks longer than the socket does.
 */
#ifndef ETAG_LIB_DESCRIPTORS_H
#define ETAG_LIB_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define DESCRIPTORS_MAX 4 /* of one message */

/* Descriptors received and not used yet; whoever holds the set closes them. */
struct descriptors {
    int fds[DESCRIPTORS_MAX];
    unsigned n;
};

/* sendmsg() of one piece; fds (may be none) go with its first byte. The result and errno are sendmsg's:
 * when it is > 0 the descriptors are on their way, else they are not. SIGPIPE is never raised. */
ssize_t descriptors_send(int socket, const void *bytes, size_t n, const int *fds, unsigned nfds);

/* recvmsg() into buf; what comes along is appended to the set, close-on-exec. Those that find no room are
 * closed, then *excess is set (it is never cleared). The result and errno are recvmsg's. */
ssize_t descriptors_receive(int socket, void *buf, size_t n, struct descriptors *set, bool *excess);

/* The one that came first, -1 when there is none; the caller's from now on. */
int descriptors_take(struct descriptors *set);

/* Closes all. */
void descriptors_drop(struct descriptors *set);

#endif
