/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's two clocks. Leases live on CLOCK_BOOTTIME, which goes on while the machine sleeps, so
 * that a resumed node finds its lease over; distances are measured on CLOCK_MONOTONIC. Wall clocks
 * take no part in any decision about freshness. Any thread.
 */
#ifndef ETAGD_CLOCK_H
#define ETAGD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_boot_ms(void)
{
    return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

static inline uint64_t clock_mono_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

#endif
