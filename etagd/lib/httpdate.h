/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP-date, RFC 9110 5.6.7: IMF-fixdate and the two obsolete forms. Pure, any thread.
 */
#ifndef ETAG_LIB_HTTPDATE_H
#define ETAG_LIB_HTTPDATE_H

#include <stdint.h>

#include "etagd/lib/span.h"

/* Parses a whole field value. True and *out = seconds since 1970 (UTC), or false when it is not one
 * HTTP-date (two joined lines of the field are not). now resolves the century of the RFC 850 form:
 * a date more than 50 years ahead lies in the past century. */
bool httpdate_parse(struct span s, int64_t now, int64_t *out);

/* Room for an IMF-fixdate and its NUL. */
#define HTTPDATE_SIZE 30

/* IMF-fixdate of a time between years 1 and 9999, else the empty string. */
void httpdate_format(int64_t t, char out[HTTPDATE_SIZE]);

#endif
