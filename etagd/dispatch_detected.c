/* SPDX-License-Identifier: Apache-2.0 */
/* ETAG DETECTED. */
#include "etagd/dispatch_command.h"

#include "etagd/resp.h"

static bool counter_of(struct span name, size_t *which)
{
    static const char *const names[DETECTION_COUNT] = {
#define NAME(name, help) [name] = #name,
        DETECTION_COUNTERS(NAME)
#undef NAME
    };

    for (size_t i = 0; i < DETECTION_COUNT; i++)
        if (span_eq(name, span_str(names[i]))) {
            *which = i;
            return true;
        }
    return false;
}

void dispatch_detected(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r)
{
    uint64_t sum[DETECTION_COUNT] = {0}, n;
    size_t which;

    (void)fd;
    for (size_t i = 2; i < q->argc; i += 2) {
        if (i + 1 == q->argc || !counter_of(q->argv[i], &which) || !dispatch_number(q->argv[i + 1], &n)) {
            resp_error(r->out, "ERR", "expected pairs of counter and number");
            return;
        }
        sum[which] += n;
    }
    for (size_t i = 0; i < DETECTION_COUNT; i++)
        d->detected[i] += sum[i];
    resp_status(r->out, "OK");
}
