/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "etagd/conf.h"

#define BACKLOG 511

static bool fail(struct conf_error *err, const char *path, const char *what, const char *remedy)
{
    snprintf(err->text, sizeof err->text, "Socket \"%s\": %s; %s", path, what, remedy);
    return false;
}

/* The folder of a default path may not exist yet; only its last part is made. */
static void make_folder(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;

    if (slash && slash != folder) {
        *slash = '\0';
        mkdir(folder, 0755); /* bind tells when it is still missing */
    }
    free(folder);
}

/* The lock, not the socket, says who lives here: it cannot be left behind. */
static int lock_path(const char *path, struct conf_error *err)
{
    char name[256];
    int fd;

    snprintf(name, sizeof name, "%s.lock", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fail(err, name, strerror(errno), "create its folder, writable for etagd, or choose another with --socket");
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        fail(err, path, "another etagd serves it", "stop that one, or choose another path with --socket");
        close(fd);
        return -1;
    }
    return fd;
}

static bool clear_path(const char *path, struct conf_error *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || fail(err, path, strerror(errno), "choose another path with --socket");
    if (!S_ISSOCK(st.st_mode))
        return fail(err, path, "something that is no socket is there", "remove it, or choose another path with --socket");
    return unlink(path) == 0 || fail(err, path, strerror(errno), "remove the old socket");
}

static bool set_group(const struct conf *conf, struct conf_error *err)
{
    const struct group *g = conf->socket_group ? getgrnam(conf->socket_group) : NULL;

    if (!conf->socket_group)
        return true;
    if (!g)
        return fail(err, conf->socket, "SocketGroup names no group of this system", "correct SocketGroup");
    return chown(conf->socket, (uid_t)-1, g->gr_gid) == 0 ||
           fail(err, conf->socket, strerror(errno), "start as a member of SocketGroup");
}

static bool bind_path(struct listener *l, const struct conf *conf, struct conf_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, conf->socket, strlen(conf->socket)); /* conf_check has measured it */
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return fail(err, conf->socket, strerror(errno), "raise the limit of open files");
    /* Nobody may connect before mode and group are as configured. */
    mode_t mask = umask(0777);
    int rv = bind(l->fd, (struct sockaddr *)&address, sizeof address);
    umask(mask);
    if (rv < 0)
        return fail(err, conf->socket, strerror(errno), "make its folder exist and be writable for etagd");
    if (!set_group(conf, err))
        return false;
    if (chmod(conf->socket, conf->socket_mode) < 0 || listen(l->fd, BACKLOG) < 0)
        return fail(err, conf->socket, strerror(errno), "choose another path with --socket");
    return true;
}

bool listener_open(struct listener *l, const struct conf *conf, struct conf_error *err)
{
    l->fd = l->lock_fd = -1;
    make_folder(conf->socket);
    l->lock_fd = lock_path(conf->socket, err);
    if (l->lock_fd >= 0 && clear_path(conf->socket, err) && bind_path(l, conf, err))
        return true;
    if (l->fd >= 0)
        close(l->fd);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    l->fd = l->lock_fd = -1;
    return false;
}

/* The lock file stays: removing it would let two daemons hold locks on two files of one name. */
void listener_close(struct listener *l, const struct conf *conf)
{
    if (l->fd >= 0) {
        unlink(conf->socket);
        close(l->fd);
    }
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    l->fd = l->lock_fd = -1;
}
