/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups as the configuration names them: by name or by decimal id. Start-up only. */
#ifndef ETAGD_ACCOUNTS_H
#define ETAGD_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ACCOUNTS_MAX 32 /* users of one list */

/* An id needs no entry in the system's files; a name does. */
bool accounts_user(const char *text, uid_t *out);
bool accounts_group(const char *text, gid_t *out);

/* Words separated by white space or commas; NULL is the empty list. False: wrong holds the word that is no
 * user, or that is one too many. */
bool accounts_users(const char *words, uid_t ids[ACCOUNTS_MAX], size_t *n, char wrong[64]);

#endif
