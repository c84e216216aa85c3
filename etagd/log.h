/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one line per event on stderr or a file, "<n>" priority prefixes when stderr is the
 * journal. A line says what happened, to what, and what to do. Any thread.
 */
#ifndef ETAGD_LOG_H
#define ETAGD_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

bool log_level_parse(const char *text, enum log_level *out);
/* file NULL: stderr. Also reopens (SIGHUP). False and errno when the file cannot be opened. */
bool log_open(const char *file, enum log_level level);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
