/* SPDX-License-Identifier: Apache-2.0 */
/* The scopes of a record as a set, and what the store asks of it. For the tests of scope.c. */
#ifndef TESTS_UNIT_SCOPE_SET_H
#define TESTS_UNIT_SCOPE_SET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "etagd/lib/scope.h"

struct set {
    size_t n;
    struct {
        char text[SCOPE_TEXT + 1];
        size_t n;
    } scope[SCOPE_MAX + 1];
};

static inline void collect(void *arg, struct span text)
{
    struct set *set = arg;

    assert_true(set->n < SCOPE_MAX);
    assert_true(text.n > 1 && text.n <= SCOPE_TEXT);
    memcpy(set->scope[set->n].text, text.p, text.n);
    set->scope[set->n].text[text.n] = '\0';
    set->scope[set->n++].n = text.n;
}

static inline bool set_has(const struct set *set, const char *text)
{
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->scope[i].text, text) == 0)
            return true;
    return false;
}

static inline void scopes_of(struct span key, const struct span *tags, size_t ntags, const struct span *groups,
                             size_t ngroups, struct set *set)
{
    size_t n;

    set->n = 0;
    n = scope_each_of_key(key, tags, ntags, groups, ngroups, collect, set);
    assert_int_equal(n, set->n);
}

/* What the store does with an operation. */
static inline bool kills(const struct scope *op, const struct set *record)
{
    if (op->kind == SCOPE_ALL)
        return true;
    return op->kind == SCOPE_ONE && (set_has(record, op->text) || (op->any_tag && set_has(record, "T*")));
}

#endif
