/* SPDX-License-Identifier: Apache-2.0 */
/* The reader with a fault planted: the stress and single-step programs must then end with violations. */
#include "tests/stress/table_planted.h"

#include "etagd/lib/table.c"
