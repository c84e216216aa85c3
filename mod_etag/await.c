/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_etag/await.h"

#include <poll.h>

#include <apr_optional_hooks.h>
#include <apr_portable.h>
#include <http_core.h>
#include <mod_proxy.h>

#include "mod_etag/mod_etag.h"

#define BACKEND_KEY "mod_etag backend"
#define NAP apr_time_from_msec(1)

static bool readable(int fd, apr_time_t until)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;

    do {
        apr_interval_time_t left = until - apr_time_now();
        n = poll(&p, 1, left > 0 ? (int)apr_time_as_msec(left + 999) : 0);
    } while (n < 0 && errno == EINTR);
    return n != 0; /* an error too is for the reader to see */
}

/* Called for each connection mod_proxy_http tries; the last is the one that answers. */
static int note_backend(request_rec *r, request_rec *backend)
{
    if (etag_request(r))
        apr_pool_userdata_setn(backend->connection, BACKEND_KEY, NULL, r->pool);
    return OK;
}

void await_register_hooks(void)
{
    APR_OPTIONAL_HOOK(proxy, create_req, note_backend, NULL, NULL, APR_HOOK_MIDDLE);
}

bool await_backend(request_rec *r, apr_time_t until)
{
    void *connection = NULL;
    apr_socket_t *socket;
    apr_os_sock_t fd;

    apr_pool_userdata_get(&connection, BACKEND_KEY, r->pool);
    socket = connection ? ap_get_conn_socket(connection) : NULL;
    if (!socket || apr_os_sock_get(&fd, socket) != APR_SUCCESS)
        return true;
    return readable(fd, until);
}

bool await_bucket(const apr_bucket *b, apr_time_t until)
{
    apr_os_file_t fd;

    if (APR_BUCKET_IS_PIPE(b) && apr_os_file_get(&fd, b->data) == APR_SUCCESS)
        return readable(fd, until);
    /* mod_cgi's own buckets read two pipes behind a poll set that nobody else can see. */
    if (apr_time_now() >= until)
        return false;
    apr_sleep(NAP);
    return true;
}
