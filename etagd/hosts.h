/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names mean which site. A virtual host answers to many names (aliases) but its keys carry one
 * host; people type any of them. Every node announces its pairs in the hash {prefix}:hosts, field alias,
 * value the hosts separated by spaces (two virtual hosts may share an alias); this is the union of what
 * the hash holds and what this node's httpd announced. Nothing is ever taken out while etagd runs: a
 * name too many only forgets too much. Event-loop thread only.
 */
#ifndef ETAGD_HOSTS_H
#define ETAGD_HOSTS_H

#include "etagd/lib/scope.h"

struct hosts;

struct hosts *hosts_new(void); /* NULL: out of memory */
void hosts_free(struct hosts *h);

size_t hosts_count(const struct hosts *h); /* aliases */

/* Grows with every alias that is learned to stand for another host. Records that were resolved before may
 * have named less than they do now. */
uint64_t hosts_version(const struct hosts *h);

/* This node's httpd says so. False: malformed, or no room; then *every* name counts as unknown from
 * here on, because a pair that is not kept could be the one that matters. */
bool hosts_announce(struct hosts *h, struct span alias, struct span host);

/* The hash was read: begin, then each of its fields. */
void hosts_shared_begin(struct hosts *h);
void hosts_shared(struct hosts *h, struct span alias, struct span value);

/* Pairs announced here that the hash lacks: each(arg, alias, value) with the value to write. */
void hosts_missing(const struct hosts *h, void (*each)(void *arg, struct span alias, struct span value), void *arg);

/* Calls each with every scope text a scope stands for: itself, and itself on every host its name is an
 * alias of. False when its host is unknown although hosts were announced, or a text does not fit: then it
 * must count as all, and each may have been called before. Scopes without a host are passed on. */
bool hosts_expand(const struct hosts *h, struct span scope, void (*each)(void *arg, struct span text), void *arg);

#endif
