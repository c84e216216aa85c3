/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an If-Match or If-None-Match field names (RFC 9110 13.1.1, 13.1.2). A field is its value as sent, lines
 * joined by ", "; NULL, the field is absent, names nothing that is asked for here. Pure functions, any thread.
 */
#ifndef MOD_ETAG_FIELD_H
#define MOD_ETAG_FIELD_H

#include <stdbool.h>

/* The field is there, is no "*" and has no well-formed member: false whatever the current tag is. */
bool field_names_nothing(const char *field);

/* One of the tags has the form of those we issue, a coding's suffix aside. */
bool field_names_ours(const char *field);

/* One of them stands for a generation (ETagSource generation). */
bool field_names_generation(const char *field);

/* One of them was made from a version (ETagSource version). */
bool field_names_version(const char *field);

#endif
