/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No-Vary-Search: on which part of its URL's query a response depends, by its own word (draft-ietf-httpbis-no-vary-
 * search). What it says is written as a name like those that select a variant (entry.h, ENTRY_NAMES), and the
 * value that a request has for this name is the part of its query that counts:
 *
 *   search:               the query as it is: nothing was said, or nothing that can be understood
 *   search:[k]-a;b;       everything but the parameters a and b; with k in any order of their names
 *   search:[k]+a;b;       a and b alone
 *
 * Names of parameters are decoded (percent, "+" for space), in order, none twice; a byte that is not lower case,
 * digit, "-", ".", "_" or "~" is "=" and two hexadecimal digits.
 *
 * Where responses of one path say different things they have different names, and then a request shares a response
 * only with those that are equal to it by every name. Two queries whose parts are equal here are equivalent by the
 * draft's 6; not always the other way round, which costs a miss. Pure functions, any thread.
 */
#ifndef ETAG_LIB_SEARCH_H
#define ETAG_LIB_SEARCH_H

#include "etagd/lib/digest.h"

#define SEARCH_NAME "search:"
#define SEARCH_SIZE 200 /* longest name and a NUL; what would be longer counts as not understood */

/* The name for what the field says; absent and empty are the same. Returns its length. */
size_t search_name(struct span field, char out[SEARCH_SIZE]);

/* Adds the part of the query that counts by this name to a digest, in a form that nothing else has. False when name
 * is none, memory is short or libcrypto fails: no variant may be made of d then. */
bool search_digest(struct digest *d, struct span name, struct span query, bool has_query);

#endif
