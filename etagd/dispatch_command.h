/* SPDX-License-Identifier: Apache-2.0 */
/* What the files with commands share. */
#ifndef ETAGD_DISPATCH_COMMAND_H
#define ETAGD_DISPATCH_COMMAND_H

#include "etagd/dispatch.h"

/* A command: writes its answer into r, or sets r->done to false and finishes it later. fd: the descriptor that
 * came along, or -1; set to -1 by who takes it over. */
void dispatch_xadd(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
void dispatch_xlen(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
void dispatch_xrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
void dispatch_xrevrange(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);

void dispatch_name(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
void dispatch_detected(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);

void dispatch_get(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);
void dispatch_version(struct dispatch *d, const struct proto_request *q, int *fd, struct reply *r);

/* A counted list of words at *at, which moves behind it; false when the count is wrong. */
bool dispatch_list(const struct proto_request *q, size_t *at, const struct span **list, size_t *n);

/* An argument in decimal. */
bool dispatch_number(struct span text, uint64_t *out);

#endif
