/* SPDX-License-Identifier: Apache-2.0 */
/* What conf.c and conf_check.c share. */
#ifndef ETAGD_CONF_PRIVATE_H
#define ETAGD_CONF_PRIVATE_H

#include "etagd/conf.h"

/* Writes the message; always false. */
bool conf_fail(struct conf_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same about an option: before the message stand where it was set, its name and, of text, its value. */
bool conf_fault(const struct conf *c, const char *name, struct conf_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
