/* SPDX-License-Identifier: Apache-2.0 */
/* What request.c, variant.c and credentials.c share. */
#ifndef MOD_ETAG_VARIANT_H
#define MOD_ETAG_VARIANT_H

#include "mod_etag/request.h"

/* Keeps the digest of the selected resource in r's context, once: a handler that has run may have
 * rewritten what it is made from. */
void variant_select(request_rec *r, const struct etag_dir *dir);

/* True and *name when another name stands in the list ("a,b"); advances *names. */
bool variant_next_name(const char **names, struct span *name);
bool variant_has_name(const char *names, const char *name);

#define VARIANT_COOKIE "cookie:" /* before the name of a cookie that selects */

/* True and the next cookie of a Cookie field; advances *field. Two lines of the field were joined by a
 * comma on the way, so a name may begin behind one as well; a value reaches to the next semicolon. */
bool variant_next_cookie(const char **field, struct span *name, struct span *value);

#endif
