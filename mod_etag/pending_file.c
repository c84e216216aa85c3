/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/pending_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <http_config.h>
#include <http_log.h>

APLOG_USE_MODULE(etag);

#define NAME "mod_etag.unsent"

static const char mark[] = "invalidations wait\n";
static int file = -1;

static apr_status_t close_file(void *unused)
{
    (void)unused;
    close(file); /* this process's: children of the old configuration keep theirs */
    file = -1;
    return APR_SUCCESS;
}

bool pending_file_open(apr_pool_t *p, server_rec *s)
{
    const char *path = ap_runtime_dir_relative(p, NAME);
    struct stat st;

    file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (file < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, s,
                     "mod_etag: cannot open %s in DefaultRuntimeDir: what requests invalidate while etagd is away is "
                     "lost if httpd stops before etagd is back",
                     path ? path : NAME);
        return false;
    }
    apr_pool_cleanup_register(p, NULL, close_file, apr_pool_cleanup_null);
    return fstat(file, &st) == 0 && st.st_size > 0;
}

bool pending_file_mark(void)
{
    return file < 0 || write(file, mark, sizeof mark - 1) > 0;
}

void pending_file_clear(void)
{
    /* A mark that stays only makes the next start forget too much. */
    if (file >= 0 && ftruncate(file, 0) != 0)
        return;
}
