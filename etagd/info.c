/* SPDX-License-Identifier: Apache-2.0 */
/* INFO: what the daemon knows of itself, in Redis' form. */
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "etagd/clock.h"
#include "etagd/conf.h"
#include "etagd/dispatch.h"
#include "etagd/hasher.h"
#include "etagd/store.h"

struct info {
    struct evbuffer *out;
    const char *wanted; /* a section's name, or empty: all */
    char current[32];
};

static void line(void *arg, const char *section, const char *name, const char *value)
{
    struct info *i = arg;

    if (*i->wanted && strcasecmp(i->wanted, section) != 0)
        return;
    if (strcmp(i->current, section) != 0) {
        evbuffer_add_printf(i->out, "%s# %s\r\n", *i->current ? "\r\n" : "", section);
        snprintf(i->current, sizeof i->current, "%s", section);
    }
    evbuffer_add_printf(i->out, "%s:%s\r\n", name, value);
}

static void number(struct info *i, const char *section, const char *name, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    line(i, section, name, text);
}

static void server_section(struct info *i, const struct dispatch *d)
{
    line(i, "Server", "etagd_version", PACKAGE_VERSION);
    number(i, "Server", "protocol_version", PROTO_VERSION);
    line(i, "Server", "node", d->conf->node);
    number(i, "Server", "process_id", (uint64_t)getpid());
    line(i, "Server", "socket", d->conf->socket);
    number(i, "Server", "uptime_in_seconds", (clock_boot_ms() - d->started_ms) / 1000);
    number(i, "Clients", "connected_clients", d->clients);
    number(i, "Clients", "maxclients", d->conf->max_clients);
}

static void hasher_section(struct info *i, const struct dispatch *d)
{
    struct hasher_stats h;

    hasher_stats(d->hasher, &h);
    number(i, "Hasher", "files_hashed", h.hashed);
    number(i, "Hasher", "bytes_hashed", h.bytes);
    number(i, "Hasher", "files_waiting", h.waiting);
    number(i, "Hasher", "files_changed_meanwhile", h.changed);
    number(i, "Hasher", "files_unreadable", h.failed);
    number(i, "Hasher", "files_refused", h.refused);
    number(i, "Hasher", "queue_full", h.busy);
}

void dispatch_info(struct dispatch *d, const char *section, struct evbuffer *out)
{
    struct info i = {.out = out, .wanted = strcasecmp(section, "all") == 0 ? "" : section};

    server_section(&i, d);
#define COUNTER(name, help) number(&i, "Stats", #name, d->count.name);
    DISPATCH_COUNTERS(COUNTER)
#undef COUNTER
#define COUNTER(name, help) number(&i, "Detection", #name, d->detected[name]);
    DETECTION_COUNTERS(COUNTER)
#undef COUNTER
    hasher_section(&i, d);
    store_info(d->store, line, &i);
}
