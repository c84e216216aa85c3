/* SPDX-License-Identifier: Apache-2.0 */
/* Connections over socket pairs, before a dispatch of our own that finishes replies when the test says so:
 * what the store is allowed to do, it does here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etagd/connection.h"
#include "etagd/dispatch.h"
#include "etagd/resp.h"

#define HELD_MAX 4

static struct {
    struct reply *held[HELD_MAX]; /* of HOLD, in order; NULL: forgotten */
    size_t nheld, requests, forgotten;
    bool releasing;
} fake;

static struct {
    struct event_base *base;
    struct dispatch dispatch;
    size_t closed;
} loop;

static void finish(struct reply *r)
{
    resp_status(r->out, "LATE");
    r->done = true;
    r->ready(r);
}

/* The oldest first, as a store may. */
static void release(void)
{
    fake.releasing = true;
    for (size_t i = 0; i < fake.nheld; i++)
        if (fake.held[i])
            finish(fake.held[i]);
    fake.nheld = 0;
    fake.releasing = false;
}

void dispatch_request(struct dispatch *d, const struct proto_request *q, int fd, struct reply *r)
{
    (void)d;
    fake.requests++;
    if (fd >= 0)
        close(fd);
    if (span_eq(q->argv[0], SPAN_LITERAL("HOLD"))) {
        assert_true(fake.nheld < HELD_MAX);
        fake.held[fake.nheld++] = r;
        return;
    }
    if (span_eq(q->argv[0], SPAN_LITERAL("RELEASE")))
        release();
    if (span_eq(q->argv[0], SPAN_LITERAL("QUIT")))
        r->close_after = true;
    /* Only now: the request must still be what it was. */
    resp_bulk(r->out, q->argv[q->argc - 1]);
    r->done = true;
}

void dispatch_forget(struct dispatch *d, struct reply *r)
{
    (void)d;
    assert_false(fake.releasing); /* the list is being gone through */
    fake.forgotten++;
    for (size_t i = 0; i < fake.nheld; i++)
        if (fake.held[i] == r)
            fake.held[i] = NULL;
}

static void on_closed(struct connection *c, void *arg)
{
    struct connection **mine = arg;

    assert_ptr_equal(c, *mine);
    *mine = NULL;
    loop.closed++;
    connection_free(c);
}

struct peer {
    struct connection *c; /* NULL: it has ended */
    int fd;
};

static void open_peer(struct peer *p)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    p->fd = pair[0];
    p->c = connection_new(loop.base, pair[1], &loop.dispatch, on_closed, &p->c);
    assert_non_null(p->c);
}

static void close_peer(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->c)
        connection_free(p->c);
}

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    memset(&loop, 0, sizeof loop);
    loop.base = event_base_new();
    return loop.base ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    event_base_free(loop.base);
    return 0;
}

/* Everything that can happen now. */
static void turn(void)
{
    for (int i = 0; i < 32; i++)
        event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void send_request(const struct peer *p, const char *word, const char *text, size_t n)
{
    size_t room = n + 64, used = (size_t)0;
    char *bytes = malloc(room);

    used = (size_t)snprintf(bytes, room, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(word), word, n);
    memcpy(bytes + used, text, n);
    memcpy(bytes + used + n, "\r\n", 2);
    used += n + 2;
    for (size_t at = 0; at < used;) {
        ssize_t sent = send(p->fd, bytes + at, used - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            turn();
        else
            assert_true(sent > 0);
        at += sent > 0 ? (size_t)sent : 0;
    }
    free(bytes);
}

static void ask(const struct peer *p, const char *word, const char *text)
{
    send_request(p, word, text, strlen(text));
}

/* Appends what has come to buf; returns how much there is now. */
static size_t take(const struct peer *p, char *buf, size_t n, size_t room)
{
    ssize_t got;

    while (n < room && (got = recv(p->fd, buf + n, room - n, 0)) > 0)
        n += (size_t)got;
    buf[n < room ? n : room - 1] = '\0';
    return n;
}

static void assert_answer(const struct peer *p, const char *wanted)
{
    char buf[256];

    turn();
    take(p, buf, 0, sizeof buf);
    assert_string_equal(buf, wanted);
}

static void test_late_answers_keep_their_place(void **state)
{
    struct peer a;

    (void)state;
    open_peer(&a);
    ask(&a, "HOLD", "");
    ask(&a, "ECHO", "1");
    ask(&a, "HOLD", "");
    ask(&a, "ECHO", "2");
    assert_answer(&a, "");
    release();
    assert_answer(&a, "+LATE\r\n$1\r\n1\r\n+LATE\r\n$1\r\n2\r\n");
    close_peer(&a);
}

/* b has more requests here than may be open at one time; a's request finishes the one they wait for. */
static void test_requests_do_not_nest(void **state)
{
    struct peer a, b;

    (void)state;
    open_peer(&a);
    open_peer(&b);
    ask(&b, "HOLD", "");
    for (int i = 0; i < 1100; i++)
        ask(&b, "ECHO", "b");
    turn();
    assert_true(fake.requests < 1101);
    ask(&a, "RELEASE", "intact");
    assert_answer(&a, "$6\r\nintact\r\n");

    size_t n = 0, wanted = strlen("+LATE\r\n") + 1100 * strlen("$1\r\nb\r\n");
    char *buf = malloc(wanted + 64);
    for (int i = 0; i < 100 && n < wanted; i++) {
        turn();
        n = take(&b, buf, n, wanted + 64);
    }
    assert_int_equal(n, wanted);
    free(buf);
    close_peer(&a);
    close_peer(&b);
}

/* Nobody's connection is freed while the store still goes through those who wait. */
static void test_an_end_waits_for_the_loop(void **state)
{
    struct peer a, gone;

    (void)state;
    open_peer(&a);
    open_peer(&gone);
    ask(&gone, "HOLD", "");
    ask(&gone, "HOLD", "");
    turn();
    assert_int_equal(fake.nheld, 2);
    close(gone.fd);
    gone.fd = -1;
    turn();
    ask(&a, "RELEASE", "x");
    assert_answer(&a, "$1\r\nx\r\n");
    assert_null(gone.c);
    assert_int_equal(fake.forgotten, 0);
    close_peer(&a);
}

static void test_freed_connections_are_forgotten(void **state)
{
    struct peer a;

    (void)state;
    open_peer(&a);
    ask(&a, "HOLD", "");
    turn();
    close_peer(&a);
    assert_int_equal(fake.forgotten, 1);
    release();
}

/* Finished answers that may not go yet count as output, whatever they wait for. */
static void test_answers_that_wait_are_bounded(void **state)
{
    enum { N = 200, SIZE = 60000 };
    struct peer a;
    char *text = malloc(SIZE), *buf = malloc(N * (SIZE + 32));
    size_t n = 0, sent = 0;

    (void)state;
    memset(text, 'x', SIZE);
    open_peer(&a);
    ask(&a, "HOLD", "");
    turn();
    /* As much as goes without help: then neither we nor the peer has room left. */
    for (;; sent++) {
        char head[64];
        int h = snprintf(head, sizeof head, "*2\r\n$4\r\nECHO\r\n$%d\r\n", SIZE);
        turn();
        if (sent == N || fake.requests <= sent)
            break;
        assert_int_equal(send(a.fd, head, (size_t)h, MSG_NOSIGNAL), h);
        for (size_t at = 0; at < SIZE;) {
            ssize_t k = send(a.fd, text + at, SIZE - at, MSG_NOSIGNAL);
            turn();
            if (k > 0)
                at += (size_t)k;
        }
        assert_int_equal(send(a.fd, "\r\n", 2, MSG_NOSIGNAL), 2);
    }
    assert_in_range(fake.requests, 10, 20); /* HOLD and 1 MiB of answers */
    assert_non_null(a.c);
    release();
    size_t wanted = 7 + sent * (SIZE + 10);
    for (int i = 0; i < 1000 && n < wanted; i++) {
        turn();
        n = take(&a, buf, n, N * (SIZE + 32));
    }
    assert_int_equal(n, wanted);
    free(text);
    free(buf);
    close_peer(&a);
}

static void test_quit_ends_what_follows(void **state)
{
    struct peer a;

    (void)state;
    open_peer(&a);
    ask(&a, "QUIT", "bye");
    ask(&a, "ECHO", "never");
    assert_answer(&a, "$3\r\nbye\r\n");
    assert_int_equal(fake.requests, 1);
    assert_null(a.c);
    close_peer(&a);
}

/* All that was sent before the drain is answered, in the socket still or held up by what cannot go yet. */
static void test_drain_answers_what_was_sent(void **state)
{
    enum { N = 3000 };
    size_t n = 0, wanted = strlen("+LATE\r\n") + N * strlen("$1\r\nd\r\n");
    char *buf = malloc(wanted + 64);
    struct peer a;

    (void)state;
    open_peer(&a);
    ask(&a, "HOLD", "");
    /* In one piece: the kernel has room for it, although we read a third of it only. */
    static const char one[] = "*2\r\n$4\r\nECHO\r\n$1\r\nd\r\n";
    size_t size = sizeof one - 1;
    char *all = malloc(N * size);
    for (size_t i = 0; i < N; i++)
        memcpy(all + i * size, one, size);
    assert_int_equal(send(a.fd, all, N * size, MSG_NOSIGNAL), (ssize_t)(N * size));
    free(all);
    turn();
    connection_drain(a.c);
    turn();
    assert_non_null(a.c); /* the late answer is owed */
    release();
    for (int i = 0; i < 1000 && a.c; i++) {
        turn();
        n = take(&a, buf, n, wanted + 64);
    }
    n = take(&a, buf, n, wanted + 64);
    assert_int_equal(n, wanted);
    assert_null(a.c);
    free(buf);
    close_peer(&a);
}

static void test_drain_ends_idle_and_half_requests(void **state)
{
    struct peer idle, half;

    (void)state;
    open_peer(&idle);
    open_peer(&half);
    assert_int_equal(send(half.fd, "*1\r\n$4\r\nPI", 10, 0), 10);
    turn();
    connection_drain(idle.c);
    connection_drain(half.c);
    turn();
    assert_null(idle.c);
    assert_null(half.c);
    close_peer(&idle);
    close_peer(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_late_answers_keep_their_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_requests_do_not_nest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_end_waits_for_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_freed_connections_are_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers_that_wait_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quit_ends_what_follows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drain_answers_what_was_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_drain_ends_idle_and_half_requests, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
