/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/cluster_answer.h"

#include <string.h>

#define LINE_WORDS 8 /* before the slots: id, address, flags, master, ping, pong, config epoch, link */

/* ---- keys ---- */

/* CRC16/XMODEM. */
static unsigned crc16(struct span s)
{
    unsigned crc = 0;

    for (size_t i = 0; i < s.n; i++) {
        crc ^= (unsigned)(uint8_t)s.p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000u ? crc << 1 ^ 0x1021u : crc << 1) & 0xffffu;
    }
    return crc;
}

unsigned cluster_slot(struct span key)
{
    const char *open = key.n ? memchr(key.p, '{', key.n) : NULL, *close;
    size_t left = open ? key.n - (size_t)(open + 1 - key.p) : 0;

    close = left ? memchr(open + 1, '}', left) : NULL;
    if (close && close > open + 1)
        key = span_of(open + 1, (size_t)(close - open - 1));
    return crc16(key) % CLUSTER_SLOTS;
}

/* ---- words ---- */

/* Takes what stands before the next c, or all, off the front. False: nothing is left. */
static bool take(struct span *rest, char c, struct span *word)
{
    const char *end;

    if (rest->n == 0)
        return false;
    end = memchr(rest->p, c, rest->n);
    *word = span_of(rest->p, end ? (size_t)(end - rest->p) : rest->n);
    *rest = end ? span_of(end + 1, rest->n - word->n - 1) : span_of(rest->p + rest->n, 0);
    return true;
}

static bool read_number(struct span text, uint64_t max, uint64_t *out)
{
    *out = 0;
    if (text.n == 0 || text.n > 20)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || *out > max / 10)
            return false;
        *out = *out * 10 + (uint64_t)(text.p[i] - '0');
    }
    return *out <= max;
}

/* host:port; the host may be IPv6 without brackets, and it is left out by a node that does not know its own. */
static bool read_address(struct span text, const struct redis_address *asked, struct redis_address *out)
{
    size_t colon = text.n;
    uint64_t port;

    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    memset(out, 0, sizeof *out);
    if (colon == 0 || colon > sizeof out->host || memchr(text.p, '\0', text.n) ||
        !read_number(span_of(text.p + colon, text.n - colon), 65535, &port))
        return false;
    if (colon == 1)
        memcpy(out->host, asked->host, sizeof out->host);
    else
        memcpy(out->host, text.p, colon - 1);
    out->port = (unsigned)port;
    return true;
}

/* ---- CLUSTER INFO ---- */

bool cluster_read_info(struct span text, struct cluster_answer *out)
{
    static const struct span name = {"cluster_current_epoch:", 22};
    struct span line;

    while (take(&text, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (span_starts(line, name))
            return read_number(span_of(line.p + name.n, line.n - name.n), UINT64_MAX / 2, &out->current_epoch);
    }
    return false;
}

/* ---- CLUSTER NODES ---- */

struct line {
    struct cluster_node_id id, replica_of; /* zeros: of nobody */
    struct redis_address at; /* port 0: unknown */
    bool self, master, failed, suspected;
    uint64_t config_epoch;
    struct span slots;
};

bool cluster_same_node(const struct cluster_node_id *a, const struct cluster_node_id *b)
{
    return memcmp(a->text, b->text, sizeof a->text) == 0;
}

static bool read_id(struct span text, struct cluster_node_id *out)
{
    if (text.n != sizeof out->text)
        return false;
    memcpy(out->text, text.p, text.n);
    return true;
}

static void read_flags(struct span flags, struct line *out)
{
    struct span flag;

    while (take(&flags, ',', &flag)) {
        out->self |= span_eq(flag, SPAN_LITERAL("myself"));
        out->master |= span_eq(flag, SPAN_LITERAL("master"));
        out->failed |= span_eq(flag, SPAN_LITERAL("fail"));
        out->suspected |= span_eq(flag, SPAN_LITERAL("fail?"));
    }
}

static bool read_line(struct span text, const struct redis_address *asked, struct line *out)
{
    struct span word[LINE_WORDS], address;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < LINE_WORDS; i++)
        if (!take(&text, ' ', &word[i]))
            return false;
    out->slots = text;
    read_flags(word[2], out);
    /* host:port@bus port, and since 7.0 a name behind a comma */
    return read_id(word[0], &out->id) && take(&word[1], '@', &address) && read_address(address, asked, &out->at) &&
           (span_eq(word[3], SPAN_LITERAL("-")) || read_id(word[3], &out->replica_of)) &&
           read_number(word[6], UINT64_MAX / 2, &out->config_epoch);
}

/* The next range of a line's slots. False: none is left, or it is malformed, which clears *sound. Slots on their way
 * ("[77->-id]") still belong to who has them. */
static bool next_slots(struct span *rest, unsigned *first, unsigned *last, bool *sound)
{
    struct span word, from;
    uint64_t a = 0, b = 0;

    do {
        if (!take(rest, ' ', &word))
            return false;
    } while (word.n && word.p[0] == '[');
    take(&word, '-', &from);
    *sound = read_number(from, CLUSTER_SLOTS - 1, &a) &&
             (word.n ? read_number(word, CLUSTER_SLOTS - 1, &b) : (b = a, true)) && a <= b;
    *first = (unsigned)a;
    *last = (unsigned)b;
    return *sound;
}

static void note_master(const struct line *l, struct cluster_answer *out)
{
    out->found = true;
    out->master = l->id;
    out->at = l->at;
    out->well = !l->failed && !l->suspected && l->at.port != 0;
    out->config_epoch = l->config_epoch;
}

/* False: malformed. */
static bool read_slots(const struct line *l, unsigned slot, struct cluster_answer *out, struct cluster_map *map)
{
    struct span rest = l->slots;
    unsigned first, last;
    uint8_t place = CLUSTER_NOBODY;
    bool sound = true, any = false;

    while (next_slots(&rest, &first, &last, &sound)) {
        if (!any && map->n < CLUSTER_MASTERS) {
            place = (uint8_t)map->n;
            map->at[map->n++] = l->at;
        }
        any = true;
        memset(map->owner + first, place, last - first + 1);
        if (first <= slot && slot <= last)
            note_master(l, out);
    }
    out->voters += any;
    if (l->self)
        out->votes = any && l->master;
    return sound;
}

static void note_epoch(uint64_t epoch, struct cluster_answer *out)
{
    if (out->nepochs < CLUSTER_EPOCHS)
        out->epochs[out->nepochs++] = epoch;
}

static void read_replicas(struct span text, const struct redis_address *asked, struct cluster_answer *out)
{
    struct cluster_replicas *to = &out->replicas;
    struct span one;
    struct line l;

    while (take(&text, '\n', &one)) {
        if (!read_line(one, asked, &l) || !cluster_same_node(&l.replica_of, &out->master))
            continue;
        to->full |= to->n == CLUSTER_REPLICAS;
        if (to->full)
            return;
        to->at[to->n].id = l.id;
        to->at[to->n++].failed = l.failed;
    }
}

/* Nodes list each other in any order; equal maps shall be equal byte for byte. */
static void order(struct cluster_map *map)
{
    struct redis_address at[CLUSTER_MASTERS];
    uint8_t place[CLUSTER_MASTERS];
    unsigned n = 0;

    memcpy(at, map->at, sizeof at);
    memset(place, CLUSTER_NOBODY, sizeof place);
    for (size_t slot = 0; slot < CLUSTER_SLOTS; slot++) {
        uint8_t was = map->owner[slot];

        if (was == CLUSTER_NOBODY)
            continue;
        if (place[was] == CLUSTER_NOBODY) {
            map->at[n] = at[was];
            place[was] = (uint8_t)n++;
        }
        map->owner[slot] = place[was];
    }
    memset(map->at + n, 0, (CLUSTER_MASTERS - n) * sizeof map->at[0]);
    map->n = n;
}

bool cluster_read_nodes(struct span text, const struct redis_address *asked, unsigned slot, struct cluster_answer *out,
                        struct cluster_map *map)
{
    uint64_t current_epoch = out->current_epoch;
    struct span rest = text, one;
    bool self = false;
    struct line l;

    memset(out, 0, sizeof *out);
    out->current_epoch = current_epoch;
    memset(map, 0, sizeof *map);
    memset(map->owner, CLUSTER_NOBODY, sizeof map->owner);
    while (take(&rest, '\n', &one)) {
        if (!read_line(one, asked, &l) || !read_slots(&l, slot, out, map))
            return false;
        if (l.self)
            out->self = l.id;
        self |= l.self;
        if (l.master)
            note_epoch(l.config_epoch, out);
    }
    order(map);
    if (out->found)
        read_replicas(text, asked, out);
    return self;
}

/* ---- MOVED, ASK ---- */

bool cluster_read_redirection(struct span fault, const struct redis_address *from, unsigned *slot,
                              struct redis_address *to)
{
    struct span code, number;
    uint64_t n;

    if (!take(&fault, ' ', &code) || !take(&fault, ' ', &number) || !read_number(number, CLUSTER_SLOTS - 1, &n) ||
        !read_address(fault, from, to) || to->port == 0)
        return false;
    *slot = (unsigned)n;
    return true;
}
