/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/daemon.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/dispatch.h"
#include "etagd/hasher.h"
#include "etagd/log.h"
#include "etagd/notify.h"
#include "etagd/server.h"
#include "etagd/store.h"

#define DRAIN_S 5
#define OWN_FILES 64 /* log, table, Redis, event loop, and some to spare */

static const int handled[] = {SIGHUP, SIGUSR1, SIGTERM, SIGINT};
#define HANDLED (sizeof handled / sizeof *handled)

struct daemon {
    struct conf *conf;
    struct event_base *base;
    struct event *signals[HANDLED], *watchdog, *drained;
    struct store *store;
    struct dispatch dispatch;
    struct server *server;
    struct conf *(*reread)(void *arg, struct conf_error *err);
    void *reread_arg;
    bool draining;
};

static bool open_log(const struct conf *conf, struct conf_error *err)
{
    enum log_level level = LOG_LEVEL_INFO;

    log_level_parse(conf->log_level, &level);
    if (log_open(conf->log_file, level))
        return true;
    snprintf(err->text, sizeof err->text, "LogFile \"%s\": %s; make it writable for etagd", conf->log_file,
             strerror(errno));
    return false;
}

/* --- signals --- */

/* What a running daemon can take over: the log. Everything else is named, so that nobody waits for it. */
static void reload(struct daemon *d)
{
    struct conf_error err;
    struct conf *fresh;

    notify_reloading();
    fresh = d->reread(d->reread_arg, &err);
    if (!fresh) {
        log_error("reload refused, the running configuration stays: %s", err.text);
    } else {
        if (!open_log(fresh, &err))
            log_error("%s", err.text);
        conf_reload(d->conf, fresh);
        conf_free(fresh);
        log_info("configuration read again, log reopened");
    }
    notify_send("READY=1");
}

static void dump(struct daemon *d)
{
    struct evbuffer *text = evbuffer_new();
    char *line;

    if (!text)
        return;
    dispatch_info(&d->dispatch, "", text);
    while ((line = evbuffer_readln(text, NULL, EVBUFFER_EOL_CRLF))) {
        if (*line)
            log_info("%s", line);
        free(line);
    }
    evbuffer_free(text);
}

static void stop(void *arg)
{
    struct daemon *d = arg;
    event_base_loopbreak(d->base);
}

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    log_warn("some clients did not take their answers within %d s", DRAIN_S);
    stop(arg);
}

static void drain(struct daemon *d)
{
    const struct timeval most = {DRAIN_S, 0};

    if (d->draining) {
        stop(d);
        return;
    }
    d->draining = true;
    log_info("stopping");
    notify_send("STOPPING=1");
    event_add(d->drained, &most);
    server_drain(d->server, stop, d);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
    struct daemon *d = arg;

    (void)what;
    if (sig == SIGHUP)
        reload(d);
    else if (sig == SIGUSR1)
        dump(d);
    else
        drain(d);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    notify_send("WATCHDOG=1");
}

/* --- start and end --- */

/* Each connection and each file that waits to be hashed holds a descriptor. */
static void raise_open_files(const struct conf *conf)
{
    const rlim_t wanted = (rlim_t)conf->max_clients + conf->hash_queue + OWN_FILES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_warn(
            "open files are limited to %llu, MaxClients and HashQueue may need %llu: raise the limit (LimitNOFILE)",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

static void file_hashed(void *arg, struct span identity, const uint8_t digest[DIGEST_SIZE])
{
    struct daemon *d = arg;
    store_put_file(d->store, identity, digest);
}

static bool start_events(struct daemon *d)
{
    uint64_t ms = notify_watchdog_ms();
    struct timeval every = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < HANDLED; i++) {
        d->signals[i] = evsignal_new(d->base, handled[i], on_signal, d);
        if (!d->signals[i] || event_add(d->signals[i], NULL) < 0)
            return false;
    }
    d->drained = evtimer_new(d->base, on_drained, d);
    d->watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, d);
    return d->drained && d->watchdog && (!ms || event_add(d->watchdog, &every) == 0);
}

static bool start(struct daemon *d, struct conf_error *err)
{
    const char *why = NULL;

    snprintf(err->text, sizeof err->text, "no event loop or no threads: raise the limits of memory and processes");
    raise_open_files(d->conf);
    d->base = event_base_new();
    if (!d->base || !start_events(d))
        return false;
    d->store = store_new(d->base, d->conf, &why);
    if (!d->store) {
        snprintf(err->text, sizeof err->text, "%s", why);
        return false;
    }
    d->dispatch.conf = d->conf;
    d->dispatch.store = d->store;
    d->dispatch.started_ms = clock_boot_ms();
    d->dispatch.hasher = hasher_new(d->base, d->conf->hash_threads, (size_t)d->conf->hash_queue, file_hashed, d);
    if (!d->dispatch.hasher)
        return false;
    d->server = server_new(d->base, d->conf, &d->dispatch, err);
    return d->server != NULL;
}

static void finish(struct daemon *d)
{
    if (d->store)
        store_save_files(d->store);
    server_free(d->server);
    hasher_free(d->dispatch.hasher);
    if (d->store)
        store_free(d->store);
    for (size_t i = 0; i < HANDLED; i++)
        if (d->signals[i])
            event_free(d->signals[i]);
    if (d->drained)
        event_free(d->drained);
    if (d->watchdog)
        event_free(d->watchdog);
    if (d->base)
        event_base_free(d->base);
    conf_free(d->conf);
}

int daemon_run(struct conf *conf, struct conf *(*reread)(void *arg, struct conf_error *err), void *arg,
               struct conf_error *err)
{
    struct daemon d = {.conf = conf, .reread = reread, .reread_arg = arg};
    bool started = open_log(conf, err) && start(&d, err);

    if (started) {
        log_info("etagd %s serves %s, node %s, store %s", PACKAGE_VERSION, conf->socket, conf->node,
                 conf->redis ? conf->redis : "embedded (this node alone)");
        notify_send("READY=1\nSTATUS=serving");
        event_base_dispatch(d.base);
        log_info("stopped");
    }
    finish(&d);
    return started ? 0 : 1;
}
