/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The If field of WebDAV (RFC 4918 10.4). mod_dav compares its entity-tags with those that it makes from the
 * file's times, and shows these in getetag; a client may as well name the tag that GET carried, which is
 * ours. Where that one is current, mod_dav is shown its own in place of it; where not, it finds it false by
 * itself. Behind "Not" that would let the write through where it could not be told whether the tag is current:
 * such a field is refused. Tags of mod_dav's making pass untouched, so that either kind guards a write.
 */
#ifndef MOD_ETAG_DAV_H
#define MOD_ETAG_DAV_H

#include <httpd.h>

/* handler hook, before all handlers; DECLINED or 412. */
int etag_dav_if(request_rec *r);

#endif
