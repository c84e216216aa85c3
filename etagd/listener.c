/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "etagd/accounts.h"
#include "etagd/conf.h"

#define BACKLOG 511

static bool fail(struct conf_error *err, const char *path, const char *what, const char *remedy)
{
    snprintf(err->text, sizeof err->text, "Socket \"%s\": %s; %s", path, what, remedy);
    return false;
}

static bool fail_busy(struct conf_error *err, const char *path)
{
    snprintf(err->text, sizeof err->text,
             "another etagd serves %s; stop that one, or choose another path with --socket", path);
    return false;
}

/* The folder of a default path may not exist yet; only its last part is made, so that httpd's children can
 * enter it whatever our umask. */
static void make_folder(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;

    if (slash && slash != folder) {
        *slash = '\0';
        mode_t mask = umask(0022);
        mkdir(folder, 0755); /* the lock tells when it is still missing */
        umask(mask);
    }
    free(folder);
}

/* Two that start at one time are kept apart by the lock: unlike the socket it cannot be left behind. */
static int lock_path(const char *path, struct conf_error *err)
{
    char name[256];
    int fd;

    snprintf(name, sizeof name, "%s.lock", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        fail(err, name, strerror(errno),
             "make its folder exist and be writable for etagd, or choose another with --socket");
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            fail_busy(err, path);
        else
            fail(err, name, strerror(errno), "choose a file system that has locks with --socket");
        close(fd);
        return -1;
    }
    return fd;
}

/* Whether somebody listens: a lock file that was removed does not say so any more. A full queue is a sign of
 * life too. */
static bool somebody_listens(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool listens = fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;

    if (fd >= 0)
        close(fd);
    return listens;
}

static bool clear_path(const struct sockaddr_un *address, struct conf_error *err)
{
    const char *path = address->sun_path;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || fail(err, path, strerror(errno), "choose another path with --socket");
    if (!S_ISSOCK(st.st_mode))
        return fail(err, path, "something that is no socket is there",
                    "remove it, or choose another path with --socket");
    if (somebody_listens(address))
        return fail_busy(err, path);
    if (st.st_uid != geteuid())
        return fail(err, path, "a socket of another user is there", "remove it, or choose another path with --socket");
    return unlink(path) == 0 || fail(err, path, strerror(errno), "remove the old socket");
}

static bool set_group(const struct conf *conf, struct conf_error *err)
{
    gid_t group;

    if (!conf->socket_group)
        return true;
    if (!accounts_group(conf->socket_group, &group))
        return fail(err, conf->socket, "SocketGroup names no group of this system", "correct SocketGroup");
    return chown(conf->socket, (uid_t)-1, group) == 0 ||
           fail(err, conf->socket, strerror(errno), "start as a member of SocketGroup");
}

static bool bind_path(struct listener *l, const struct sockaddr_un *address, const struct conf *conf,
                      struct conf_error *err)
{
    struct stat st;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return fail(err, conf->socket, strerror(errno), "raise the limit of open files");
    /* Nobody may connect before mode and group are as configured. */
    mode_t mask = umask(0777);
    int rv = bind(l->fd, (const struct sockaddr *)address, sizeof *address);
    umask(mask);
    if (rv < 0 || lstat(conf->socket, &st) < 0)
        return fail(err, conf->socket, strerror(errno), "make its folder exist and be writable for etagd");
    l->device = st.st_dev;
    l->inode = st.st_ino;
    if (!set_group(conf, err))
        return false;
    if (chmod(conf->socket, conf->socket_mode) < 0 || listen(l->fd, BACKLOG) < 0)
        return fail(err, conf->socket, strerror(errno), "choose another path with --socket");
    return true;
}

bool listener_open(struct listener *l, const struct conf *conf, struct conf_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *l = (struct listener){.fd = -1, .lock_fd = -1};
    memcpy(address.sun_path, conf->socket, strlen(conf->socket)); /* conf_check has measured it */
    make_folder(conf->socket);
    l->lock_fd = lock_path(conf->socket, err);
    if (l->lock_fd >= 0 && clear_path(&address, err) && bind_path(l, &address, conf, err))
        return true;
    listener_close(l, conf);
    return false;
}

void listener_stop(struct listener *l, const struct conf *conf)
{
    struct stat st;

    if (l->fd < 0)
        return;
    /* Only what we made: somebody may have put something else there. */
    if (l->inode && lstat(conf->socket, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        unlink(conf->socket);
    close(l->fd);
    l->fd = -1;
}

/* The lock file stays: removing it would let two daemons hold locks on two files of one name. */
void listener_close(struct listener *l, const struct conf *conf)
{
    listener_stop(l, conf);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    l->lock_fd = -1;
}
