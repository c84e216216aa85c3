/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/coders.h"

#include <apr_shm.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "etagd/lib/coding.h"
#include "mod_etag/request.h"

#define SLOTS 256u /* a site has a few types in a few places; who shares a slot takes turns */

/* Hash of filter and type, its lowest bit replaced by the answer; 0: never used. */
static _Atomic uint64_t own[SLOTS];
static _Atomic uint64_t *seen = own;

void coders_post_config(apr_pool_t *p)
{
    apr_shm_t *shm;

    seen = own;
    if (apr_shm_create(&shm, sizeof own, NULL, p) == APR_SUCCESS)
        seen = memset(apr_shm_baseaddr_get(shm), 0, sizeof own);
}

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    while (n--)
        h = (h ^ *p++) * UINT64_C(0x100000001b3); /* FNV-1a */
    return h;
}

static uint64_t identify(const ap_filter_rec_t *coder, const char *type)
{
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), &coder, sizeof coder);

    return mix(h, type, strcspn(type, "; \t"));
}

static _Atomic uint64_t *slot_of(uint64_t id)
{
    return &seen[(id >> 32) % SLOTS];
}

const ap_filter_rec_t *coders_find(const ap_filter_t *f)
{
    for (; f && f->frec->ftype < AP_FTYPE_PROTOCOL; f = f->next)
        if (request_coding_of_filter(f->frec->name) != CODING_IDENTITY && strncasecmp(f->frec->name, "BYTYPE:", 7) == 0)
            return f->frec;
    return NULL;
}

void coders_saw(const ap_filter_rec_t *coder, const char *type, bool vary)
{
    if (!coder || !type)
        return;
    uint64_t id = identify(coder, type), value = (id & ~UINT64_C(1)) | vary;
    /* Almost always there already: nothing is written then, and no cache line goes to and fro. */
    if (atomic_load_explicit(slot_of(id), memory_order_relaxed) != value)
        atomic_store_explicit(slot_of(id), value, memory_order_relaxed);
}

bool coders_vary(const ap_filter_rec_t *coder, const char *type)
{
    if (!coder || !type)
        return false;
    uint64_t id = identify(coder, type);
    return atomic_load_explicit(slot_of(id), memory_order_relaxed) == (id | 1);
}
