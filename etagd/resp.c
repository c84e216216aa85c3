/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/resp.h"

#include <event2/buffer.h>
#include <stdio.h>

void resp_status(struct evbuffer *out, const char *text)
{
    evbuffer_add_printf(out, "+%s\r\n", text);
}

void resp_error(struct evbuffer *out, const char *word, const char *text)
{
    char line[1024];

    snprintf(line, sizeof line, "-%s %s", word, text);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    evbuffer_add_printf(out, "%s\r\n", line);
}

void resp_integer(struct evbuffer *out, long long n)
{
    evbuffer_add_printf(out, ":%lld\r\n", n);
}

void resp_bulk(struct evbuffer *out, struct span text)
{
    evbuffer_add_printf(out, "$%zu\r\n", text.n);
    if (text.n)
        evbuffer_add(out, text.p, text.n);
    evbuffer_add(out, "\r\n", 2);
}

void resp_bulk_buffer(struct evbuffer *out, struct evbuffer *text)
{
    evbuffer_add_printf(out, "$%zu\r\n", evbuffer_get_length(text));
    evbuffer_add_buffer(out, text);
    evbuffer_add(out, "\r\n", 2);
}

void resp_nil(struct evbuffer *out)
{
    evbuffer_add(out, "$-1\r\n", 5);
}

void resp_array(struct evbuffer *out, size_t elements)
{
    evbuffer_add_printf(out, "*%zu\r\n", elements);
}
