/* SPDX-License-Identifier: Apache-2.0 */
/* A URL as a person types it; and lines host, path, query, ignored parameter as a request brings them. */
#include "etagd/lib/key.h"
#include "tests/fuzz/target.h"

static void check_key(const struct key *key, enum key_error e)
{
    struct span rest;

    PROMISE(key->text[key->n] == '\0' && key->n <= KEY_MAX);
    if (e) {
        PROMISE(key->n == 0);
        return;
    }
    PROMISE(key->scheme == 7 || key->scheme == 8);
    for (size_t i = 0; i < key->n; i++)
        PROMISE(key->text[i] > ' ' && key->text[i] <= '~' && !strchr("{}#", key->text[i]));
    rest = span_of(key->text + key->scheme, key->n - key->scheme);
    PROMISE(memchr(rest.p, '/', rest.n) != NULL && rest.p[0] != '/');
}

FUZZ_TARGET(keys)
{
    struct span rest = fuzz_span(data, size), ignored;
    struct key_parts parts = {.scheme = SPAN_LITERAL("https"), .port = (unsigned)size % 70000, .has_query = true};
    struct key key, again;
    enum key_error e = key_from_url(&key, rest);

    check_key(&key, e);
    if (e == KEY_OK) {
        PROMISE(key_from_url(&again, span_of(key.text, key.n)) == KEY_OK);
        PROMISE(again.n == key.n && again.scheme == key.scheme && memcmp(again.text, key.text, key.n) == 0);
    }
    parts.host = fuzz_line(&rest);
    parts.path = fuzz_line(&rest);
    parts.query = fuzz_line(&rest);
    ignored = fuzz_line(&rest);
    parts.ignore = &ignored;
    parts.nignore = 1;
    e = key_build(&key, &parts);
    check_key(&key, e);
    if (e == KEY_OK)
        PROMISE(key_from_url(&again, span_of(key.text, key.n)) == KEY_OK && again.n == key.n);
    return 0;
}
