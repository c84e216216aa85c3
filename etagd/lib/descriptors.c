/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/descriptors.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))

ssize_t descriptors_send(int socket, const void *bytes, size_t n, const int *fds, unsigned nfds)
{
    _Alignas(struct cmsghdr) char control[CONTROL] = {0};
    struct iovec v = {(void *)bytes, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

    if (nfds) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(h), fds, nfds * sizeof(int));
    }
    return sendmsg(socket, &m, MSG_NOSIGNAL);
}

static void keep(struct descriptors *set, int fd, bool *excess)
{
    if (set->n < DESCRIPTORS_MAX) {
        set->fds[set->n++] = fd;
    } else {
        close(fd);
        *excess = true;
    }
}

ssize_t descriptors_receive(int socket, void *buf, size_t n, struct descriptors *set, bool *excess)
{
    _Alignas(struct cmsghdr) char control[CONTROL];
    struct iovec v = {buf, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);

    if (got < 0)
        return got;
    if (m.msg_flags & MSG_CTRUNC)
        *excess = true; /* the kernel has closed those it had no room to give us */
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            keep(set, fd, excess);
        }
    }
    return got;
}

int descriptors_take(struct descriptors *set)
{
    if (!set->n)
        return -1;
    int fd = set->fds[0];
    memmove(set->fds, set->fds + 1, --set->n * sizeof *set->fds);
    return fd;
}

void descriptors_drop(struct descriptors *set)
{
    while (set->n)
        close(set->fds[--set->n]);
}
