/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response lets us do with it: its cache directives, as those who stand with the origin obey them. The target
 * list (RFC 9213 2.2) is fixed: ETag-Cache-Control. Where that field is well-formed and not empty, Cache-Control and
 * Expires say nothing to us; where it is not, it counts as absent.
 */
#ifndef MOD_ETAG_CONTROL_H
#define MOD_ETAG_CONTROL_H

#include "mod_etag/config.h"

#define CONTROL_TARGETED "ETag-Cache-Control"

struct control {
    bool forbids;              /* never stored: no-store or private; in the targeted field no-cache as well */
    bool is_public;            /* may be stored although the request has credentials */
    apr_interval_time_t trust; /* how long it may be answered with: ETagTTL, or what the targeted field says */
};

/* Of the headers as they are now. */
struct control control_of(request_rec *r, const struct etag_dir *dir);

/* Takes the targeted field off: nobody behind us is its target. */
void control_strip(request_rec *r);

#endif
