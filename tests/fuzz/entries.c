/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as an entry and as a capsule: what is read back is what was read. */
#include "etagd/lib/entry.h"
#include "tests/fuzz/target.h"

static void check_entry(struct span bytes)
{
    struct entry e;
    uint8_t buf[ENTRY_SIZE];

    if (!entry_decode(bytes, &e))
        return;
    PROMISE(bytes.n <= ENTRY_SIZE && e.tag.p >= bytes.p && e.tag.p + e.tag.n == bytes.p + bytes.n);
    PROMISE(entry_encode(buf, sizeof(buf), &e) == bytes.n && memcmp(buf, bytes.p, bytes.n) == 0);
}

static void check_capsule(struct span bytes)
{
    char buf[CAPSULE_MAX];
    struct span rest = bytes, name, value;
    size_t used = 0;

    while (capsule_next(&rest, &name, &value)) {
        PROMISE(name.n > 0 && !memchr(name.p, '\n', name.n) && (!value.n || !memchr(value.p, '\n', value.n)));
        if (!capsule_add(buf, &used, name, value)) {
            PROMISE(used + name.n + value.n + 3 > CAPSULE_MAX);
            return;
        }
    }
    PROMISE(used == bytes.n - rest.n && memcmp(buf, bytes.p, used) == 0);
}

FUZZ_TARGET(entries)
{
    if (size == 0)
        return 0;
    check_entry(fuzz_span(data, size));
    check_capsule(fuzz_span(data, size));
    return 0;
}
