/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/proto.h"

/* A cursor over the unread bytes. */
struct reader {
    const char *p, *end;
};

enum line_result { LINE_MORE, LINE_OK, LINE_BAD };

/* A length line: marker, decimal digits, CR LF. Seven digits hold every limit of ours; a longer number
 * can only be beyond them. */
static enum line_result read_length(struct reader *r, char marker, size_t *out)
{
    const char *p = r->p;
    size_t n = 0, digits = 0;

    if (p == r->end)
        return LINE_MORE;
    if (*p++ != marker)
        return LINE_BAD;
    for (; p < r->end && *p >= '0' && *p <= '9'; p++) {
        if (++digits > 7)
            return LINE_BAD;
        n = n * 10 + (size_t)(*p - '0');
    }
    if (p == r->end)
        return LINE_MORE;
    if (!digits || *p++ != '\r')
        return LINE_BAD;
    if (p == r->end)
        return LINE_MORE;
    if (*p++ != '\n')
        return LINE_BAD;
    r->p = p;
    *out = n;
    return LINE_OK;
}

/* Whether a request of which at bytes were read may go on with a bulk string of n bytes. at may itself be
 * past the limit: nothing is subtracted from it before it was compared. */
static bool fits(size_t n, size_t at)
{
    return at <= PROTO_MAX_REQUEST && n + 2 <= PROTO_MAX_REQUEST - at;
}

long proto_parse(struct span buf, struct proto_request *out, const char **why)
{
    struct reader r = {buf.p, buf.p + buf.n};
    size_t argc, n;
    enum line_result result = read_length(&r, '*', &argc);

    if (result == LINE_MORE)
        return 0;
    if (result == LINE_BAD || argc == 0 || argc > PROTO_MAX_ARGS) {
        *why = "expected an array of 1 to 1024 bulk strings";
        return -1;
    }
    for (out->argc = 0; out->argc < argc; out->argc++) {
        result = read_length(&r, '$', &n);
        if (result == LINE_BAD || (result == LINE_OK && n > PROTO_MAX_BULK)) {
            *why = "expected a bulk string of at most 65536 bytes";
            return -1;
        }
        if (result == LINE_OK && !fits(n, (size_t)(r.p - buf.p))) {
            *why = "the request is longer than 262144 bytes";
            return -1;
        }
        if (result == LINE_MORE || (size_t)(r.end - r.p) < n + 2)
            return 0;
        if (r.p[n] != '\r' || r.p[n + 1] != '\n') {
            *why = "a bulk string does not end where its length says";
            return -1;
        }
        out->argv[out->argc] = span_of(r.p, n);
        r.p += n + 2;
    }
    return r.p - buf.p;
}
