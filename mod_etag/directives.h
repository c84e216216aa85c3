/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c and directives.c share. */
#ifndef MOD_ETAG_DIRECTIVES_H
#define MOD_ETAG_DIRECTIVES_H

#include "mod_etag/config.h"

/* Computes dir->policy from ETagSource, ETagIgnoreQuery, ETagVary and ETagSalt: after each of them was set, and
 * by merging. policy_known stays 0 when libcrypto gives no digest. */
void etag_dir_policy(struct etag_dir *dir);

#endif
