/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mark on disk that invalidations wait, for the case that httpd ends before they were handed over: memory
 * alone would forget them. It says that something waits, not what: then everything is forgotten. The file is
 * mod_etag.unsent in httpd's runtime directory, opened by the parent and inherited by its children. It
 * outlives every process, but not the loss of the directory (a reboot, where that is on tmpfs).
 */
#ifndef MOD_ETAG_PENDING_FILE_H
#define MOD_ETAG_PENDING_FILE_H

#include <stdbool.h>

#include <httpd.h>

/* post_config, in the parent, before privileges are given up. True when a mark was found. A file that
 * cannot be opened is said once; the functions below then do nothing. */
bool pending_file_open(apr_pool_t *p, server_rec *s);

/* The caller serializes these two over all children (shared.c's mutex). A mark that cannot be set is
 * false, with errno. */
bool pending_file_mark(void);
void pending_file_clear(void);

#endif
