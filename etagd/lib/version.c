/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/lib/version.h"

static bool is_name_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("._:/@+-", c) != NULL;
}

bool version_is_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_char(name.p[i]))
            return false;
    return name.n > 0 && name.n <= VERSION_NAME_MAX;
}

static bool is_value(struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~')
            return false;
    return value.n > 0 && value.n <= VERSION_VALUE_MAX && value.p[0] != ' ' && value.p[value.n - 1] != ' ';
}

bool version_read(struct span arg, struct span *name, struct span *value)
{
    const char *space = arg.n ? memchr(arg.p, ' ', arg.n) : NULL;
    size_t n = space ? (size_t)(space - arg.p) : arg.n;

    if (!space || !version_is_name(span_of(arg.p, n)) || !is_value(span_of(space + 1, arg.n - n - 1)))
        return false;
    *name = span_of(arg.p, n);
    *value = span_of(space + 1, arg.n - n - 1);
    return true;
}

struct span version_key(char text[VERSION_KEY_SIZE], struct span name)
{
    text[0] = '=';
    memcpy(text + 1, name.p, name.n);
    return span_of(text, 1 + name.n);
}

bool version_of_key(struct span key, struct span *name)
{
    if (key.n < 2 || key.p[0] != '=' || !version_is_name(span_of(key.p + 1, key.n - 1)))
        return false;
    *name = span_of(key.p + 1, key.n - 1);
    return true;
}
