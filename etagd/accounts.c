/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The highest id means "none" to the kernel. */
static bool parse_id(const char *text, unsigned *out)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || errno || n >= UINT32_MAX)
        return false;
    *out = (unsigned)n;
    return true;
}

bool accounts_user(const char *text, uid_t *out)
{
    const struct passwd *p = getpwnam(text);

    if (p)
        *out = p->pw_uid;
    return p || parse_id(text, out);
}

bool accounts_group(const char *text, gid_t *out)
{
    const struct group *g = getgrnam(text);

    if (g)
        *out = g->gr_gid;
    return g || parse_id(text, out);
}

bool accounts_users(const char *words, uid_t ids[ACCOUNTS_MAX], size_t *n, char wrong[64])
{
    static const char between[] = " \t,";
    char word[64];

    *n = 0;
    for (words = words ? words : ""; *(words += strspn(words, between)); words += strcspn(words, between)) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(words, between), words);
        if (*n == ACCOUNTS_MAX || strcspn(words, between) >= sizeof word || !accounts_user(word, &ids[*n])) {
            memcpy(wrong, word, sizeof word);
            return false;
        }
        ++*n;
    }
    return true;
}
