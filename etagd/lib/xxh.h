/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xxHash, inlined. It is told to read by memcpy: its own way with GCC (0.8.3, without may_alias) breaks C's aliasing
 * rules, so that GCC 14 hashes structures before their members are written. The code is the same where it was right.
 */
#ifndef ETAGD_LIB_XXH_H
#define ETAGD_LIB_XXH_H

#define XXH_FORCE_MEMORY_ACCESS 0
#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
