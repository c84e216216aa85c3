/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's notification protocol (sd_notify(3)), without its library: one datagram to the
 * socket that NOTIFY_SOCKET names. Nothing happens where there is none. Event-loop thread.
 */
#ifndef ETAGD_NOTIFY_H
#define ETAGD_NOTIFY_H

#include <stdint.h>

/* state: lines such as "READY=1\nSTATUS=...". */
void notify_send(const char *state);

/* RELOADING=1 with the time the protocol wants beside it. */
void notify_reloading(void);

/* Half of WATCHDOG_USEC in ms when the watchdog was asked for this process, else 0. */
uint64_t notify_watchdog_ms(void);

#endif
