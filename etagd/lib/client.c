/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "etagd/lib/descriptors.h"
#include "etagd/lib/proto.h"

#define REPLY_MAX (1u << 20) /* a reply longer than this is none of ours */
#define ARGS_MAX 1024
#define ELEMENTS_MAX 65536 /* of an array: hiredis makes room for what is announced, before any of it came */

struct client {
    int fd; /* -1: not connected */
    redisReader *reader;
    redisReplyObjectFunctions functions; /* the reader's, with bounded arrays */
    size_t received; /* of the reply being read */
    struct descriptors passed; /* that came with it */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static const char *const texts[] = {
    [CLIENT_OK] = "no error",
    [CLIENT_ABSENT] = "nobody listens on the socket",
    [CLIENT_DENIED] = "access denied",
    [CLIENT_TIMEOUT] = "no answer in time",
    [CLIENT_CLOSED] = "the connection was closed",
    [CLIENT_PROTOCOL] = "the answer was not understood",
    [CLIENT_VERSION] = "etagd speaks another protocol version",
};

const char *client_error_text(enum client_error e)
{
    return texts[e];
}

int64_t client_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct client *client_new(const char *path)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->fd = -1;
    /* A path that does not fit cannot be connected to: the empty one says so there. */
    if (strlen(path) < sizeof c->path)
        memcpy(c->path, path, strlen(path) + 1);
    return c;
}

static void disconnect(struct client *c)
{
    descriptors_drop(&c->passed);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    if (c->reader)
        redisReaderFree(c->reader);
    c->reader = NULL;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    disconnect(c);
    free(c);
}

bool client_connected(const struct client *c)
{
    return c->fd >= 0;
}

static enum client_error failed(struct client *c, enum client_error e)
{
    disconnect(c);
    return e;
}

/* CLIENT_OK: the descriptor is ready for what was asked (or broken, which the next call tells). */
static enum client_error await(int fd, short events, int64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = deadline - client_now();
        if (left <= 0)
            return CLIENT_TIMEOUT;
        struct timespec t = {left / 1000000000, left % 1000000000};
        int n = ppoll(&p, 1, &t, NULL);
        if (n > 0)
            return CLIENT_OK;
        if (n < 0 && errno != EINTR)
            return CLIENT_CLOSED;
    }
}

static enum client_error from_errno(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return CLIENT_DENIED;
    case EPIPE:
    case ECONNRESET:
        return CLIENT_CLOSED;
    case EAGAIN: /* the listener's queue is full: etagd is not keeping up */
        return CLIENT_TIMEOUT;
    default:
        return CLIENT_ABSENT;
    }
}

#if HIREDIS_MAJOR >= 1
typedef size_t array_length;
#else
typedef int array_length;
#endif

/* hiredis takes a refusal for want of memory and ends the reply. */
static void *make_array(const redisReadTask *task, array_length n)
{
    const redisReplyObjectFunctions *plain = task->privdata;

    return n > ELEMENTS_MAX ? NULL : plain->createArray(task, n);
}

static bool make_reader(struct client *c)
{
    c->reader = redisReaderCreate();
    if (!c->reader)
        return false;
    c->reader->privdata = c->reader->fn;
    c->functions = *c->reader->fn;
    c->functions.createArray = make_array;
    c->reader->fn = &c->functions;
    return true;
}

enum client_error client_connect(struct client *c, int64_t deadline_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    disconnect(c);
    if (!c->path[0])
        return CLIENT_ABSENT;
    if (client_now() >= deadline_ns)
        return CLIENT_TIMEOUT;
    memcpy(address.sun_path, c->path, sizeof c->path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return CLIENT_ABSENT;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        return failed(c, from_errno(errno));
    return make_reader(c) ? CLIENT_OK : failed(c, CLIENT_ABSENT);
}

static enum client_error send_all(struct client *c, const char *p, size_t n, int pass_fd, int64_t deadline)
{
    while (n) {
        ssize_t sent = descriptors_send(c->fd, p, n, &pass_fd, pass_fd >= 0);

        if (sent >= 0) {
            p += sent;
            n -= (size_t)sent;
            pass_fd = -1; /* it went with the first byte */
        } else if (errno == EAGAIN) {
            enum client_error e = await(c->fd, POLLOUT, deadline);
            if (e != CLIENT_OK)
                return e;
        } else if (errno != EINTR) {
            return from_errno(errno);
        }
    }
    return CLIENT_OK;
}

static enum client_error receive(struct client *c, int64_t deadline)
{
    char buf[16384];
    bool excess = false;
    ssize_t n;

    while ((n = descriptors_receive(c->fd, buf, sizeof buf, &c->passed, &excess)) < 0) {
        if (errno == EAGAIN) {
            enum client_error e = await(c->fd, POLLIN, deadline);
            if (e != CLIENT_OK)
                return e;
        } else if (errno != EINTR) {
            return from_errno(errno);
        }
    }
    if (n == 0)
        return CLIENT_CLOSED;
    c->received += (size_t)n;
    if (excess || c->received > REPLY_MAX || redisReaderFeed(c->reader, buf, (size_t)n) != REDIS_OK)
        return CLIENT_PROTOCOL;
    return CLIENT_OK;
}

static enum client_error read_reply(struct client *c, int64_t deadline, redisReply **out)
{
    c->received = 0;
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
            return CLIENT_PROTOCOL;
        if (reply) {
            *out = reply;
            return CLIENT_OK;
        }
        enum client_error e = receive(c, deadline);
        if (e != CLIENT_OK)
            return e;
    }
}

static enum client_error exchange(struct client *c, const char *bytes, size_t n, int pass_fd, int64_t deadline,
                                  redisReply **out)
{
    enum client_error e = c->fd >= 0 ? CLIENT_OK : client_connect(c, deadline);

    /* Bytes that nobody asked for would be taken for the answer to this request. */
    if (e == CLIENT_OK && c->reader->pos != c->reader->len)
        e = CLIENT_PROTOCOL;
    if (e == CLIENT_OK)
        e = send_all(c, bytes, n, pass_fd, deadline);
    if (e == CLIENT_OK || e == CLIENT_CLOSED) {
        /* Even after a failed send: etagd says why it closes the connection before it does. */
        enum client_error got = c->fd >= 0 ? read_reply(c, deadline, out) : e;
        e = got;
    }
    if (e == CLIENT_OK && (*out)->type == REDIS_REPLY_ERROR && strncmp((*out)->str, "DENIED", 6) == 0) {
        freeReplyObject(*out);
        e = CLIENT_DENIED;
    }
    if (e != CLIENT_OK) {
        *out = NULL;
        disconnect(c);
    }
    return e;
}

enum client_error client_call(struct client *c, int argc, const struct span *argv, int pass_fd, int64_t deadline_ns,
                              struct redisReply **out)
{
    const char *texts_[ARGS_MAX];
    size_t lengths[ARGS_MAX];
    char *bytes = NULL;

    *out = NULL;
    if (argc < 1 || argc > ARGS_MAX)
        return CLIENT_PROTOCOL;
    for (int i = 0; i < argc; i++) {
        texts_[i] = argv[i].p ? argv[i].p : "";
        lengths[i] = argv[i].n;
    }
    long long n = redisFormatCommandArgv(&bytes, argc, texts_, lengths);
    if (n < 0)
        return CLIENT_PROTOCOL;
    enum client_error e = exchange(c, bytes, (size_t)n, pass_fd, deadline_ns, out);
    redisFreeCommand(bytes);
    descriptors_drop(&c->passed); /* none belongs to an ordinary reply */
    return e;
}

static void copy_text(char *to, size_t size, const redisReply *from)
{
    snprintf(to, size, "%s", from->type == REDIS_REPLY_STRING || from->type == REDIS_REPLY_STATUS ? from->str : "");
}

/* The descriptors change hands here, so they are taken before client_call's clean-up. */
static enum client_error take_attachment(struct client *c, const redisReply *r, struct client_attachment *out)
{
    if (r->type == REDIS_REPLY_ERROR)
        return strncmp(r->str, "VERSION", 7) == 0 ? CLIENT_VERSION : CLIENT_PROTOCOL;
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 6 || c->passed.n != 2)
        return CLIENT_PROTOCOL;
    if (r->element[0]->type != REDIS_REPLY_INTEGER || r->element[0]->integer != PROTO_VERSION)
        return CLIENT_VERSION;
    copy_text(out->node, sizeof out->node, r->element[1]);
    copy_text(out->store, sizeof out->store, r->element[5]);
    out->time_namespace[0] = '\0';
    if (r->elements > 6)
        copy_text(out->time_namespace, sizeof out->time_namespace, r->element[6]);
    out->table_fd = descriptors_take(&c->passed);
    out->touch_fd = descriptors_take(&c->passed);
    return CLIENT_OK;
}

enum client_error client_attach(struct client *c, int64_t deadline_ns, struct client_attachment *out)
{
    char version[16], pid[24];
    const char *argv[] = {"ATTACH", version, pid};
    char *bytes = NULL;
    redisReply *reply = NULL;

    snprintf(version, sizeof version, "%d", PROTO_VERSION);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    long long n = redisFormatCommandArgv(&bytes, 3, argv, NULL);
    if (n < 0)
        return CLIENT_PROTOCOL;
    enum client_error e = exchange(c, bytes, (size_t)n, -1, deadline_ns, &reply);
    redisFreeCommand(bytes);
    if (e != CLIENT_OK)
        return e;
    e = take_attachment(c, reply, out);
    freeReplyObject(reply);
    return e == CLIENT_OK ? CLIENT_OK : failed(c, e);
}
