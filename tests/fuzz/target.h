/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target: a function that takes any bytes and aborts when a promise of the library is broken.
 * replay.c calls all of them. For libFuzzer, one at a time:
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ_LIBFUZZER -I. tests/fuzz/keys.c \
 *         etagd/lib/{entity_tag,coding,httpdate,precondition,digest,key,scope,entry,structured,search}.c -lcrypto -o keys
 *   (digests.c: -D_GNU_SOURCE, etagd/digest_file.c etagd/lib/file_{identity,mount}.c)
 *   ./keys tests/fuzz/corpus/keys
 */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "etagd/lib/span.h"

#ifdef FUZZ_LIBFUZZER
#define FUZZ_TARGET(name) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#else
#define FUZZ_TARGET(name) int fuzz_##name(const uint8_t *data, size_t size)
int fuzz_tags(const uint8_t *data, size_t size);
int fuzz_keys(const uint8_t *data, size_t size);
int fuzz_scopes(const uint8_t *data, size_t size);
int fuzz_entries(const uint8_t *data, size_t size);
int fuzz_digests(const uint8_t *data, size_t size);
int fuzz_fields(const uint8_t *data, size_t size);
#endif

/* Unlike assert, it stays where NDEBUG is defined. */
#define PROMISE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline struct span fuzz_span(const uint8_t *data, size_t size)
{
    return span_of((const char *)data, size);
}

/* Cuts a line off the front; all of it when there is no line feed. */
static inline struct span fuzz_line(struct span *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct span line = end ? span_of(rest->p, (size_t)(end - rest->p)) : *rest;

    *rest = end ? span_of(end + 1, rest->n - line.n - 1) : span_of(rest->p + rest->n, 0);
    return line;
}

#endif
