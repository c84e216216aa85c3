/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/hash.h"

#include <pthread.h>
#include <stdlib.h>

struct contexts {
    struct digest *momentary, *spare; /* NULL: not made yet, lent out */
};

/* h2 workers and MPM threads come and go: the key's destructor frees the contexts with the thread. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int have_key;

static void free_contexts(void *contexts)
{
    struct contexts *c = contexts;

    digest_free(c->momentary);
    digest_free(c->spare);
    free(c);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, free_contexts) == 0;
}

static struct contexts *of_thread(void)
{
    pthread_once(&once, make_key);
    if (!have_key)
        return NULL;
    struct contexts *c = pthread_getspecific(key);
    if (!c) {
        c = calloc(1, sizeof *c);
        if (c && pthread_setspecific(key, c) != 0) {
            free(c);
            c = NULL;
        }
    }
    return c;
}

struct digest *hash_thread(void)
{
    struct contexts *c = of_thread();

    if (c && !c->momentary)
        c->momentary = digest_new();
    return c ? c->momentary : NULL;
}

static apr_status_t give_back(void *digest)
{
    struct contexts *c = of_thread();

    if (c && !c->spare)
        c->spare = digest;
    else
        digest_free(digest);
    return APR_SUCCESS;
}

struct digest *hash_lend(apr_pool_t *p)
{
    struct contexts *c = of_thread();
    struct digest *d = c && c->spare ? c->spare : digest_new();

    if (c)
        c->spare = NULL;
    if (d)
        apr_pool_cleanup_register(p, d, give_back, apr_pool_cleanup_null);
    return d;
}
