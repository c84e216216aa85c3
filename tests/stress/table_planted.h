/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults for the table's reader, by -DPLANT_..., to show that the programs that attack it notice. This goes before
 * etagd/lib/table.c in a translation unit of its own; nothing of it is in the product's.
 */
#ifndef ETAG_TESTS_STRESS_TABLE_PLANTED_H
#define ETAG_TESTS_STRESS_TABLE_PLANTED_H

#include "etagd/lib/table_word.h"

#if defined(PLANT_WINDOW) /* an overwritten record is taken for whole */
#define table_intact(slot, words, reserved) ((void)(slot), (void)(words), (void)(reserved), true)
#endif
#if defined(PLANT_CHECKSUM) /* every checksum is right */
static uint32_t stored_checksum(const void *copy)
{
    uint32_t stored;
    memcpy(&stored, copy, sizeof stored);
    return stored;
}
#define table_checksum(copy, bytes, seed) ((void)(bytes), (void)(seed), stored_checksum(copy))
#endif
#if defined(PLANT_LEASE) /* the lease is looked at last */
#define table_unguard(word, salt, value) ((void)(word), table_read(&t->header->lease_ms, (salt), (value)))
#endif
#if defined(PLANT_NO_LEASE) /* there is always a lease */
#define table_unguard(word, salt, value) ((void)(word), (void)(salt), *(value) = table_now_ms() + 1000, true)
#endif
#if defined(PLANT_CELLS) /* invalidation of scopes is not noticed */
#define table_scope_last(cells, scope, last) ((void)(cells), (void)(scope), *(last) = 0, true)
#endif

#endif
