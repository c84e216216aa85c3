/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which origin CLOCK_BOOTTIME has (time_namespaces(7)). A lease is a moment on that clock: it means
 * something only to those who read the same one. Any thread.
 */
#ifndef ETAG_LIB_TIME_NAMESPACE_H
#define ETAG_LIB_TIME_NAMESPACE_H

#include <stddef.h>
#include <unistd.h>

#define TIME_NAMESPACE_SIZE 64
#define TIME_NAMESPACE_OWN "/proc/self/ns/time"
#define TIME_NAMESPACE_OF_CHILDREN "/proc/self/ns/time_for_children"

/* The kernel's text for the namespace behind one of these links, such as time:[4026531834]. Empty where
 * it cannot be read: no /proc, or a kernel that has one clock for all. */
static inline void time_namespace(const char *link, char out[TIME_NAMESPACE_SIZE])
{
    const ssize_t n = readlink(link, out, TIME_NAMESPACE_SIZE - 1);

    out[n > 0 ? n : 0] = '\0';
}

#endif
