/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/digest_cache.h"

#include <pthread.h>

#include "etagd/lib/client.h"
#include "mod_etag/hash.h"

#define WAYS 4
#define SETS 256
#define HANDOVERS 64
#define HANDOVER_EVERY INT64_C(5000000000) /* nanoseconds */

struct remembered {
    struct digest_cache_id id;
    uint8_t digest[DIGEST_SIZE];
    uint64_t published;
    uint64_t used; /* 0: empty */
};

static struct {
    pthread_mutex_t lock;
    uint64_t clock;
    struct remembered sets[SETS][WAYS];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t lock;
    struct {
        struct digest_cache_id id;
        int64_t at;
    } recent[HANDOVERS];
    size_t next;
} handovers = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool same(const struct digest_cache_id *a, const struct digest_cache_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool digest_cache_id(struct span identity, struct digest_cache_id *out)
{
    struct digest *d = hash_thread();
    uint8_t sum[DIGEST_SIZE];

    if (!d || !digest_begin(d) || !digest_update(d, identity.p, identity.n) || !digest_final(d, sum))
        return false;
    memcpy(out->bytes, sum, sizeof out->bytes);
    return true;
}

/* --- digests --- */

bool digest_cache_get(const struct digest_cache_id *id, uint8_t out[DIGEST_SIZE], uint64_t *published)
{
    struct remembered *set = cache.sets[id->bytes[0] % SETS];
    bool found = false;

    pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < WAYS && !found; i++) {
        if (!set[i].used || !same(&set[i].id, id))
            continue;
        memcpy(out, set[i].digest, DIGEST_SIZE);
        *published = set[i].published;
        set[i].used = ++cache.clock;
        found = true;
    }
    pthread_mutex_unlock(&cache.lock);
    return found;
}

void digest_cache_put(const struct digest_cache_id *id, const uint8_t digest[DIGEST_SIZE], uint64_t published)
{
    struct remembered *set = cache.sets[id->bytes[0] % SETS], *place = set;

    pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].used && same(&set[i].id, id)) {
            place = &set[i];
            break;
        }
        if (set[i].used < place->used)
            place = &set[i];
    }
    place->id = *id;
    memcpy(place->digest, digest, DIGEST_SIZE);
    place->published = published;
    place->used = ++cache.clock;
    pthread_mutex_unlock(&cache.lock);
}

/* --- files passed to etagd --- */

bool digest_handover_due(const struct digest_cache_id *id)
{
    const int64_t now = client_now();
    bool due = true;

    pthread_mutex_lock(&handovers.lock);
    for (size_t i = 0; i < HANDOVERS && due; i++)
        due = !(handovers.recent[i].at && now - handovers.recent[i].at < HANDOVER_EVERY &&
                same(&handovers.recent[i].id, id));
    if (due) {
        handovers.recent[handovers.next].id = *id;
        handovers.recent[handovers.next].at = now;
        handovers.next = (handovers.next + 1) % HANDOVERS;
    }
    pthread_mutex_unlock(&handovers.lock);
    return due;
}
