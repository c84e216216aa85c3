/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/hash.h"

#include <pthread.h>

/* h2 workers and MPM threads come and go: the key's destructor frees the context with the thread. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int have_key;

static void free_context(void *context)
{
    digest_free(context);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, free_context) == 0;
}

struct digest *hash_thread(void)
{
    pthread_once(&once, make_key);
    if (!have_key)
        return NULL;
    struct digest *d = pthread_getspecific(key);
    if (!d) {
        d = digest_new();
        if (d && pthread_setspecific(key, d) != 0) {
            digest_free(d);
            d = NULL;
        }
    }
    return d;
}
