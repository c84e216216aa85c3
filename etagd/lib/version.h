/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named versions: what a producer (a trigger, a deploy script, a job) says the present version of something is.
 *
 *   XADD {etag}:log '*' version 'Patient 8123'
 *
 * name: 1 to 128 of A-Z a-z 0-9 . _ : / @ + -; then one space; value: 1 to 200 visible ASCII characters and spaces,
 * none at its ends. Nothing is trimmed or repaired: what does not read like this is no version.
 *
 * In the table a version lies under "=" and its name (ENTRY_VERSION_VALUE): no URL's key begins like that. Pure
 * functions, any thread.
 */
#ifndef ETAG_LIB_VERSION_H
#define ETAG_LIB_VERSION_H

#include "etagd/lib/span.h"

#define VERSION_NAME_MAX 128
#define VERSION_VALUE_MAX 200
#define VERSION_KEY_SIZE (1 + VERSION_NAME_MAX)

bool version_is_name(struct span name);

/* The argument of the operation. False, and nothing written, when it is none. */
bool version_read(struct span arg, struct span *name, struct span *value);

/* The key of a name that version_is_name accepts; points into text. */
struct span version_key(char text[VERSION_KEY_SIZE], struct span name);

/* Whether a key is a version's, and of which. */
bool version_of_key(struct span key, struct span *name);

#endif
