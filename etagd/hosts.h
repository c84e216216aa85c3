/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names are one site. A virtual host answers to many names, its pages may be asked for by each of
 * them, and people and writes name any of them. A pair that is announced (alias, host) puts both names into
 * one group; scopes carry the representative of the group in place of the name, those of records and those of
 * operations alike, so that an operation reaches what was learned under any name of the site.
 *
 * The representative is the smallest name: of the shortest ones the first in byte order. It depends on the
 * pairs alone, not on their order, and no scope grows by it. Ports count for nothing.
 *
 * Every node announces its pairs in the hash {prefix}:hosts, field alias, value the hosts separated by spaces;
 * this is the union of what the hash holds and what this node's httpd announced. Nothing is ever taken out
 * while etagd runs: a name too many only forgets too much. Event-loop thread only.
 */
#ifndef ETAGD_HOSTS_H
#define ETAGD_HOSTS_H

#include "etagd/lib/scope.h"

struct hosts;

struct hosts *hosts_new(void); /* NULL: out of memory */
void hosts_free(struct hosts *h);

size_t hosts_count(const struct hosts *h); /* names */

/* Grows whenever two groups become one, and when a pair could not be kept. Scopes that were resolved before
 * may name less than they do now: what was judged by them is void. */
uint64_t hosts_version(const struct hosts *h);

/* This node's httpd says so. False: malformed, or no room; then *every* name counts as unknown from
 * here on, because a pair that is not kept could be the one that matters. */
bool hosts_announce(struct hosts *h, struct span alias, struct span host);

/* The hash was read: begin, then each of its fields. */
void hosts_shared_begin(struct hosts *h);
void hosts_shared(struct hosts *h, struct span alias, struct span value);

/* Pairs announced here that the hash lacks: each(arg, alias, value) with the value to write. Memory short:
 * they stay missing. */
void hosts_missing(const struct hosts *h, void (*each)(void *arg, struct span alias, struct span value), void *arg);

/* *resolved: the scope with the representative in place of its host, in out; or the scope itself when it has
 * no host, or one that nobody announced. It is never longer than the scope. False when the host is unknown
 * although hosts were announced: an operation must then count as all. */
bool hosts_resolve(const struct hosts *h, struct span scope, char out[SCOPE_TEXT], struct span *resolved);

#endif
