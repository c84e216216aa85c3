/* SPDX-License-Identifier: Apache-2.0 */
/* Lines operation and argument; the argument is then a record's key, tag and group as well. */
#include "etagd/lib/key.h"
#include "etagd/lib/scope.h"
#include "tests/fuzz/target.h"

struct search {
    const struct scope *scope;
    size_t calls;
    bool met;
};

static void look(void *arg, struct span text)
{
    struct search *s = arg;

    s->calls++;
    PROMISE(text.n > 1 && text.n <= SCOPE_TEXT && strchr("HPUTG", text.p[0]));
    s->met = s->met || span_eq(text, span_of(s->scope->text, s->scope->n)) ||
             (s->scope->any_tag && span_eq(text, SPAN_LITERAL("T*")));
}

static void check_scope(const struct scope *s)
{
    PROMISE(s->n < SCOPE_TEXT && s->text[s->n] == '\0');
    PROMISE((s->kind == SCOPE_ONE) == (s->n > 1));
    PROMISE(s->kind == SCOPE_ONE || !s->any_tag);
    PROMISE(s->settle_ms == 0 || s->kind == SCOPE_SETTLE);
    PROMISE(s->kind != SCOPE_VERSION || !s->widened);
}

/* An operation always reaches the record it names itself. */
static void check_reaches_itself(const char *op, struct span arg, struct span key)
{
    struct scope s;
    struct search search = {.scope = &s};

    scope_from_operation(span_str(op), arg, &s);
    check_scope(&s);
    PROMISE(scope_each_of_key(key, &arg, 1, &arg, 1, look, &search) == search.calls && search.calls <= SCOPE_MAX);
    PROMISE(search.calls > 0 && (s.kind == SCOPE_ALL || search.met));
}

FUZZ_TARGET(scopes)
{
    struct span rest = fuzz_span(data, size), op = fuzz_line(&rest), arg = rest;
    struct scope s;
    struct search search = {.scope = &s};
    struct key key;

    scope_from_operation(op, arg, &s);
    check_scope(&s);
    PROMISE(scope_each_of_key(arg, &op, 1, &arg, 1, look, &search) == search.calls && search.calls <= SCOPE_MAX);
    check_reaches_itself("tag", arg, SPAN_LITERAL("h/"));
    if (key_from_url(&key, arg) == KEY_OK) {
        check_reaches_itself("url", arg, span_of(key.text, key.n));
        check_reaches_itself("prefix", arg, span_of(key.text, key.n));
        check_reaches_itself("host", arg, span_of(key.text, key.n));
        check_reaches_itself("url", span_of(key.text + key.scheme, key.n - key.scheme), arg);
    }
    return 0;
}
