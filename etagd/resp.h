/* SPDX-License-Identifier: Apache-2.0 */
/* Writes RESP2 replies into an evbuffer. Running out of memory leaves a reply short; the connection then
 * ends with the client's own protocol error. Event-loop thread. */
#ifndef ETAGD_RESP_H
#define ETAGD_RESP_H

#include "etagd/lib/span.h"

struct evbuffer;

void resp_status(struct evbuffer *out, const char *text);
/* "-word text": the text's control characters become spaces. */
void resp_error(struct evbuffer *out, const char *word, const char *text);
void resp_integer(struct evbuffer *out, long long n);
void resp_bulk(struct evbuffer *out, struct span text);
/* Moves all of text. */
void resp_bulk_buffer(struct evbuffer *out, struct evbuffer *text);
void resp_nil(struct evbuffer *out);
/* The header of an array; its elements follow. */
void resp_array(struct evbuffer *out, size_t elements);

#endif
