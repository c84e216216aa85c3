/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named versions. What the log has told is kept here and stands in the table, under a key of its own, where the
 * module reads it; a record that the table has lost is put back when somebody asks for it. What empties the table
 * (a new epoch, records that were missed, "all") makes every version unknown until it is told again.
 */
#include <stdlib.h>

#include "etagd/clock.h"
#include "etagd/lib/version.h"
#include "etagd/log.h"
#include "etagd/store_state.h"

#define WARN_MS 10000u /* between lines about versions in doubt; INFO counts them */

/* True as of now: no record that tells another value has been applied. */
static bool insert(struct store *s, struct span name, struct span value)
{
    struct entry entry = {.kind = ENTRY_VERSION_VALUE, .last_modified = ENTRY_UNDATED, .tag = value};
    uint8_t encoded[ENTRY_SIZE];
    char key[VERSION_KEY_SIZE];
    struct writer_put put = {
        .key = version_key(key, name),
        .seq = writer_seq(s->writer),
        .value = span_of((const char *)encoded, entry_encode(encoded, sizeof encoded, &entry)),
    };

    return put.value.n && store_insert(s, &put) == WRITER_OK;
}

/* Whether a line may be written now. */
static bool may_warn(struct store *s)
{
    uint64_t now = clock_mono_ms();

    if (s->version_warned_ms && now - s->version_warned_ms < WARN_MS)
        return false;
    s->version_warned_ms = now;
    return true;
}

static void doubt(struct store *s, struct span name, struct span value)
{
    s->counts.versions_doubted++;
    if (may_warn(s))
        log_warn(
            "version %.*s: \"%.*s\" was told before, or is below the present number: unknown until it is told a value "
            "that was not",
            (int)name.n, name.p, (int)value.n, value.p);
}

static void refuse(struct store *s, struct span name)
{
    s->counts.versions_refused++;
    if (may_warn(s))
        log_warn("version %.*s: there are too many names of versions, it stays unknown", (int)name.n, name.p);
}

static void tell(struct store *s, struct span name, struct span value, struct log_id id)
{
    char key[VERSION_KEY_SIZE];

    s->counts.versions_told++;
    switch (versions_tell(s->versions, name, value, id)) {
    case VERSIONS_SAME:
        return;
    case VERSIONS_NEW:
        if (insert(s, name, value))
            return;
        break;
    case VERSIONS_DOUBT:
        doubt(s, name, value);
        break;
    case VERSIONS_FULL:
        refuse(s, name);
        break;
    }
    writer_remove(s->writer, version_key(key, name));
}

void store_versions_told(struct store *s, struct log_id id)
{
    struct span name, value;

    for (size_t i = 0; i < s->effect.ntold; i++)
        if (version_read(s->effect.told[i], &name, &value))
            tell(s, name, value, id);
}

void store_versions_forget(struct store *s)
{
    versions_clear(s->versions);
}

bool store_version_restore(struct store *s, struct span name)
{
    struct version v;

    return versions_find(s->versions, name, &v) && !v.doubtful && store_has_lease(s) && insert(s, v.name, v.value);
}

bool store_version(const struct store *s, struct span name,
                   void (*line)(void *arg, const char *name, struct span value), void *arg)
{
    struct version v;
    char id[LOG_ID_TEXT];

    if (!versions_find(s->versions, name, &v))
        return false;
    log_id_format(v.told, id);
    line(arg, "state", span_str(v.doubtful ? "in doubt" : store_has_lease(s) ? "known" : "no lease"));
    line(arg, v.doubtful ? "before" : "value", v.value);
    line(arg, "told", span_str(id));
    return true;
}
