/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured field values, RFC 9651 4.2, parsed strictly: a field that is not wholly well-formed says nothing.
 * A field is its value as sent, several lines joined by ", ". Parameters are checked and passed over: no field
 * that is read here gives them a meaning. Time linear in the field's length; pure functions, any thread.
 */
#ifndef ETAG_LIB_STRUCTURED_H
#define ETAG_LIB_STRUCTURED_H

#include <stdint.h>

#include "etagd/lib/span.h"

enum structured_type {
    STRUCTURED_INTEGER,
    STRUCTURED_DECIMAL,
    STRUCTURED_STRING,
    STRUCTURED_TOKEN,
    STRUCTURED_BYTES,
    STRUCTURED_BOOLEAN,
    STRUCTURED_DATE,
    STRUCTURED_DISPLAY,
    STRUCTURED_INNER_LIST
};

struct structured {
    enum structured_type type;
    int64_t number;   /* of an Integer, a Date; 0 or 1 of a Boolean */
    struct span text; /* into the field. Of a String what is between its quotes, escapes included; of an inner list
                         what is between its parentheses, for structured_item; of others as they stand there */
};

enum structured_result {
    STRUCTURED_MALFORMED, /* the field is to be ignored */
    STRUCTURED_EMPTY,     /* well-formed, without a member: as if it were not there */
    STRUCTURED_ABSENT,    /* well-formed, without this key */
    STRUCTURED_FOUND
};

/* The member of a Dictionary with this key (3.2; of several the last). *out is set when FOUND. */
enum structured_result structured_member(struct span dictionary, struct span key, struct structured *out);

/* Takes the next member off a List (3.1). False at its end, and where it is malformed: *list is not empty then. */
bool structured_list(struct span *list, struct structured *out);

/* Takes the next item off the text of an inner list. False at its end. */
bool structured_item(struct span *inner, struct structured *out);

/* A String's text without escapes; out has room for text.n bytes. Returns the length. */
size_t structured_string(struct span text, char *out);

#endif
