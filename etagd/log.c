/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 2048

static const struct {
    const char *name;
    int priority; /* of syslog, for the journal */
} levels[] = {{"error", 3}, {"warn", 4}, {"info", 6}, {"debug", 7}};

static struct {
    pthread_mutex_t lock;
    int fd;
    enum log_level level;
    bool journal; /* stderr is the journal: it stamps the lines itself */
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .level = LOG_LEVEL_INFO};

bool log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_open(const char *file, enum log_level level)
{
    int fd = STDERR_FILENO;

    if (file) {
        fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
        if (fd < 0)
            return false;
    }
    pthread_mutex_lock(&sink.lock);
    int old = sink.fd;
    sink.fd = fd;
    sink.level = level;
    sink.journal = !file && getenv("JOURNAL_STREAM") != NULL;
    pthread_mutex_unlock(&sink.lock);
    if (old != STDERR_FILENO)
        close(old);
    return true;
}

/* A line is one line: what comes from outside cannot forge another. */
static void clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE];
    size_t n = 0;
    va_list args;

    pthread_mutex_lock(&sink.lock);
    if (level > sink.level) {
        pthread_mutex_unlock(&sink.lock);
        return;
    }
    if (sink.journal) {
        n = (size_t)snprintf(line, sizeof line, "<%d>", levels[level].priority);
    } else {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
        n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ [%ld] %s: ", now.tv_nsec / 1000000, (long)getpid(),
                              levels[level].name);
    }
    va_start(args, format);
    vsnprintf(line + n, sizeof line - n - 1, format, args);
    va_end(args);
    clean(line);
    n = strlen(line);
    line[n++] = '\n';
    /* A log that cannot be written must not stop the daemon. */
    if (write(sink.fd, line, n) < 0 && errno == EINTR)
        (void)!write(sink.fd, line, n);
    pthread_mutex_unlock(&sink.lock);
}
