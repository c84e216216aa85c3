/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual hosts that carry one name on different addresses. A Host field need not say the port, so their
 * pages have one key: what tells them apart has to be in the variant.
 */
#ifndef MOD_ETAG_SAME_NAME_H
#define MOD_ETAG_SAME_NAME_H

#include <stdbool.h>

#include <httpd.h>

/* post_config: fills told_apart_by (config.h) of each virtual host that has a name, or a wildcard that may
 * mean a name, of one on other addresses. say: logs the names that cost something, since nodes with other
 * addresses or document roots then share no pages; http on 80 beside https on 443 is no such case. */
void same_name_post_config(apr_pool_t *p, server_rec *main_server, bool say);

#endif
