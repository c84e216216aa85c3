/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/witness.h"

#include <stdio.h>
#include <string.h>

void witness_wait_add(struct witness_wait **list, struct witness_wait *wait, uint64_t round)
{
    if (wait->round == 0) {
        wait->next = *list;
        *list = wait;
    }
    wait->round = round;
}

struct witness_wait *witness_wait_take(struct witness_wait **list, uint64_t round)
{
    struct witness_wait *wait;

    while (*list && (*list)->round > round)
        list = &(*list)->next;
    wait = *list;
    if (wait) {
        *list = wait->next;
        wait->round = 0;
    }
    return wait;
}

void witness_address(const struct redis_address *at, char *out, size_t size)
{
    snprintf(out, size, strchr(at->host, ':') ? "[%.200s]:%u" : "%.200s:%u", at->host, at->port);
}

bool witness_same_address(const struct redis_address *a, const struct redis_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}
