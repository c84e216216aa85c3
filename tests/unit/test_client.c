/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "etagd/lib/client.h"

/* A peer that accepts one connection at a time and plays a script: what it answers, and how. */
struct peer {
    char path[64];
    int listener;
    pthread_t thread;
    const char *answer; /* sent after the first bytes of a request; NULL: nothing */
    size_t answer_n;
    bool close_first;   /* closes without reading */
    bool dribble;       /* a byte at a time */
    int pass;           /* descriptors that travel with the answer */
    int release[2];     /* the test tells the peer to end */
};

#define MS 1000000

static void send_fds(int fd, const struct peer *p)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec v = {(char *)(uintptr_t)p->answer, p->answer_n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = CMSG_SPACE((size_t)p->pass * sizeof(int))};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN((size_t)p->pass * sizeof(int));
    for (int i = 0; i < p->pass; i++)
        memcpy(CMSG_DATA(h) + (size_t)i * sizeof(int), &p->release[0], sizeof(int));
    assert_int_equal(sendmsg(fd, &m, 0), (ssize_t)p->answer_n);
}

static void *play(void *arg)
{
    struct peer *p = arg;
    char buf[4096];
    int fd = accept(p->listener, NULL, NULL);

    if (fd >= 0 && !p->close_first && recv(fd, buf, sizeof buf, 0) > 0 && p->answer) {
        if (p->pass)
            send_fds(fd, p);
        else
            for (size_t i = 0, step = p->dribble ? 1 : p->answer_n; i < p->answer_n; i += step)
                if (send(fd, p->answer + i, step, MSG_NOSIGNAL) < 0)
                    break;
    }
    if (fd >= 0 && !p->close_first)
        (void)!read(p->release[0], buf, 1); /* the connection stays open until the test is over */
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void start_peer(struct peer *p)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    snprintf(p->path, sizeof p->path, "/tmp/test_client.%ld.sock", (long)getpid());
    unlink(p->path);
    strcpy(a.sun_path, p->path);
    p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(pipe(p->release), 0);
    if (p->answer && !p->answer_n)
        p->answer_n = strlen(p->answer);
    assert_int_equal(pthread_create(&p->thread, NULL, play, p), 0);
}

static void stop_peer(struct peer *p)
{
    close(p->release[1]);
    pthread_join(p->thread, NULL);
    close(p->release[0]);
    close(p->listener);
    unlink(p->path);
}

static enum client_error ask(struct peer *p, int64_t ms, struct redisReply **reply, struct client **keep)
{
    struct span argv[] = {SPAN_LITERAL("PING")};
    struct client *c = client_new(p->path);
    enum client_error e;

    assert_non_null(c);
    e = client_call(c, 1, argv, -1, client_now() + ms * MS, reply);
    assert_int_equal(client_connected(c), e == CLIENT_OK);
    if (keep)
        *keep = c;
    else
        client_free(c);
    return e;
}

static void test_reply(void **state)
{
    struct peer p = {.answer = "+PONG\r\n"};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_OK);
    assert_string_equal(reply->str, "PONG");
    freeReplyObject(reply);
    stop_peer(&p);
}

static void test_reply_in_single_bytes(void **state)
{
    struct peer p = {.answer = "*2\r\n$3\r\nabc\r\n:7\r\n", .dribble = true};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_OK);
    assert_int_equal(reply->elements, 2);
    assert_int_equal(reply->element[1]->integer, 7);
    freeReplyObject(reply);
    stop_peer(&p);
}

/* Silence ends at the deadline, and the connection with it: its late answer is nobody's. */
static void test_silence_times_out(void **state)
{
    struct peer p = {.answer = NULL};
    struct redisReply *reply;
    int64_t begun = client_now();

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 30, &reply, NULL), CLIENT_TIMEOUT);
    assert_true(client_now() - begun >= 30 * (int64_t)MS);
    assert_null(reply);
    stop_peer(&p);
}

static void test_half_a_reply_times_out(void **state)
{
    struct peer p = {.answer = "$100\r\nhalf"};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 30, &reply, NULL), CLIENT_TIMEOUT);
    stop_peer(&p);
}

static void test_close(void **state)
{
    struct peer p = {.close_first = true};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_CLOSED);
    stop_peer(&p);
}

static void test_not_resp(void **state)
{
    struct peer p = {.answer = "HTTP/1.1 400 Bad Request\r\n\r\n"};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_PROTOCOL);
    stop_peer(&p);
}

static void test_denied(void **state)
{
    struct peer p = {.answer = "-DENIED this user may not\r\n"};
    struct redisReply *reply;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_DENIED);
    stop_peer(&p);
}

static void test_absent(void **state)
{
    struct span argv[] = {SPAN_LITERAL("PING")};
    struct redisReply *reply;
    char longest[300];

    (void)state;
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const paths[] = {"/nonexistent/etagd.sock", "", longest};
    for (size_t i = 0; i < 3; i++) {
        struct client *c = client_new(paths[i]);
        assert_int_equal(client_call(c, 1, argv, -1, client_now() + 100 * MS, &reply), CLIENT_ABSENT);
        client_free(c);
    }
}

/* A huge reply is refused after what we are willing to hold, not after what it announces. */
static void test_endless_reply_is_refused(void **state)
{
    size_t n = 3u << 20;
    char *bytes = malloc(n);
    struct peer p = {.answer = bytes, .answer_n = n};
    struct redisReply *reply;

    (void)state;
    memset(bytes, 'x', n);
    memcpy(bytes, "$100000000\r\n", 12);
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_PROTOCOL);
    stop_peer(&p);
    free(bytes);
}

/* Thirteen bytes that announce two thousand million elements cost nothing: no room is made for them. */
static void test_announced_arrays_are_bounded(void **state)
{
    static const char *const answers[] = {"*2147483647\r\n", "*65537\r\n", "*1\r\n*2147483647\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct peer p = {.answer = answers[i]};
        struct redisReply *reply;
        start_peer(&p);
        assert_int_equal(ask(&p, 5000, &reply, NULL), CLIENT_PROTOCOL);
        assert_null(reply);
        stop_peer(&p);
    }
}

/* A second reply to one request is not taken for the answer to the next. */
static void test_a_reply_too_many_is_nobodys(void **state)
{
    struct peer p = {.answer = "+first\r\n+second\r\n"};
    struct span argv[] = {SPAN_LITERAL("PING")};
    struct redisReply *reply;
    struct client *c;

    (void)state;
    start_peer(&p);
    assert_int_equal(ask(&p, 5000, &reply, &c), CLIENT_OK);
    assert_string_equal(reply->str, "first");
    freeReplyObject(reply);
    assert_int_equal(client_call(c, 1, argv, -1, client_now() + 5000 * (int64_t)MS, &reply), CLIENT_PROTOCOL);
    assert_null(reply);
    assert_false(client_connected(c));
    client_free(c);
    stop_peer(&p);
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static enum client_error attach(struct peer *p, struct client_attachment *a)
{
    struct client *c = client_new(p->path);
    enum client_error e = client_attach(c, client_now() + (int64_t)5000 * MS, a);

    client_free(c);
    return e;
}

#define ATTACHMENT_ELEMENTS "\r\n:1\r\n$2\r\nn1\r\n$16\r\n0123456789abcdef\r\n:4096\r\n:64\r\n$8\r\nembedded\r\n"
#define ATTACHMENT "*6" ATTACHMENT_ELEMENTS

static void test_attach(void **state)
{
    struct peer p = {.answer = ATTACHMENT, .pass = 2};
    struct client_attachment a;

    (void)state;
    start_peer(&p);
    assert_int_equal(attach(&p, &a), CLIENT_OK);
    assert_string_equal(a.node, "n1");
    assert_string_equal(a.store, "embedded");
    assert_string_equal(a.time_namespace, ""); /* a daemon that does not say */
    assert_int_equal(close(a.table_fd), 0);
    assert_int_equal(close(a.touch_fd), 0);
    stop_peer(&p);
}

static void test_attach_tells_the_time_namespace(void **state)
{
    static const struct {
        const char *answer, *expected;
    } cases[] = {
        {"*7" ATTACHMENT_ELEMENTS "$17\r\ntime:[4026531834]\r\n", "time:[4026531834]"},
        {"*7" ATTACHMENT_ELEMENTS "$0\r\n\r\n", ""},
        {"*7" ATTACHMENT_ELEMENTS ":7\r\n", ""},
        {"*8" ATTACHMENT_ELEMENTS "$1\r\nx\r\n:1\r\n", "x"}, /* of a daemon still to come */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p = {.answer = cases[i].answer, .pass = 2};
        struct client_attachment a;

        start_peer(&p);
        assert_int_equal(attach(&p, &a), CLIENT_OK);
        assert_string_equal(a.time_namespace, cases[i].expected);
        close(a.table_fd);
        close(a.touch_fd);
        stop_peer(&p);
    }
}

/* Whatever is refused, no descriptor that came along stays open. */
static void test_attach_refused_leaks_nothing(void **state)
{
    static const struct {
        const char *answer;
        int pass;
        enum client_error error;
    } cases[] = {
        {"-VERSION 2\r\n", 2, CLIENT_VERSION},
        {"-ERR no\r\n", 2, CLIENT_PROTOCOL},
        {"*6\r\n:2\r\n$0\r\n\r\n$0\r\n\r\n:1\r\n:1\r\n$0\r\n\r\n", 2, CLIENT_VERSION},
        {ATTACHMENT, 1, CLIENT_PROTOCOL},
        {ATTACHMENT, 0, CLIENT_PROTOCOL},
        {"*1\r\n:1\r\n", 2, CLIENT_PROTOCOL},
        {"+OK\r\n", 8, CLIENT_PROTOCOL},
        {"nonsense\r\n", 2, CLIENT_PROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p = {.answer = cases[i].answer, .pass = cases[i].pass};
        struct client_attachment a;
        unsigned before = open_fds();
        start_peer(&p);
        assert_int_equal(attach(&p, &a), cases[i].error);
        stop_peer(&p);
        assert_int_equal(open_fds(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_reply_in_single_bytes),
        cmocka_unit_test(test_silence_times_out),
        cmocka_unit_test(test_half_a_reply_times_out),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_not_resp),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_endless_reply_is_refused),
        cmocka_unit_test(test_announced_arrays_are_bounded),
        cmocka_unit_test(test_a_reply_too_many_is_nobodys),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_attach_tells_the_time_namespace),
        cmocka_unit_test(test_attach_refused_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
