/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etagd's configuration: "Name value" lines, "#" comments, double quotes around values with spaces.
 * One table in conf.c, {name, parser, offset, default, help}, drives the parser, --print-config and
 * the check that docs/etagd.md describes every option. A parser never exits: it returns file:line and
 * a message. Built before the daemon starts; read-only afterwards (reload builds a new one).
 */
#ifndef ETAGD_CONF_H
#define ETAGD_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct tls;

struct conf {
    char *socket;          /* Socket: path of the RESP socket */
    unsigned socket_mode;  /* SocketMode, octal; default 0660 */
    char *socket_group;    /* SocketGroup; NULL: unchanged. Default for root: that of the httpd account */
    char *allow_users;     /* AllowUsers: names or ids, space separated; default: the httpd account; NULL: own user and root */
    char *node;            /* NodeName; default: host name */
    char *redis;           /* Redis: URL; NULL: embedded store */
    char *redis_user;      /* RedisUser; NULL: the URL's, else default */
    char *redis_password_file; /* RedisPasswordFile: its first line; must not be readable by others */
    char *sentinel_user;   /* SentinelUser; NULL: default */
    char *sentinel_password_file; /* SentinelPasswordFile; as RedisPasswordFile */
    char *tls_ca_file;     /* TLSCAFile: who signs the certificates of Redis and Sentinels; NULL: the system's CAs */
    char *tls_certificate_file; /* TLSCertificateFile: ours; NULL: none */
    char *tls_key_file;    /* TLSKeyFile: its key; must not be readable by others */
    char *tls_server_name; /* TLSServerName: what all servers' certificates name; NULL: the host connected to */
    struct tls *tls;       /* loaded by conf_check; NULL: the URL does not want TLS */
    unsigned wait_replicas; /* WaitReplicas: at least so many confirm a renewal; default 0 */
    char *key_prefix;      /* KeyPrefix; default "etag" */
    uint64_t lease_ms;     /* Lease; default 2s, 500ms to TABLE_LEASE_MAX_MS */
    uint64_t horizon_ms;   /* Horizon: how long the log keeps records; default 48h */
    uint64_t log_max;      /* LogMaxLength: records kept in the log; default 1000000 */
    uint64_t tag_ttl_ms;   /* TagTTL: default life of learned tags; default 24h, at most Horizon/2 */
    uint64_t table_bytes;  /* TableSize; default 64M */
    unsigned max_clients;  /* MaxClients; default 1024 */
    unsigned hash_threads; /* HashThreads; default 2 */
    uint64_t hash_queue;   /* HashQueue: files waiting; default 256 */
    char *state_dir;       /* StateDir: marker of unsent invalidations, file digests; NULL: beside the socket */
    char *digest_file;     /* DigestFile: state file of file digests, "none"; NULL: in state_dir */
    char *log_file;        /* LogFile; NULL: stderr */
    char *log_level;       /* LogLevel: error, warn, info, debug */
    char **origins;        /* where each option was set, in the order of conf.c's table; NULL: a default */
};

struct conf_error {
    char text[512]; /* "file:line: what, and what to do" */
};

/* Defaults for this user: an ordinary user's socket is under $XDG_RUNTIME_DIR/etagd. */
struct conf *conf_new(struct conf_error *err);
bool conf_read(struct conf *c, const char *file, struct conf_error *err);
/* One option from the command line; origin names it in messages. */
bool conf_set(struct conf *c, const char *name, const char *value, const char *origin, struct conf_error *err);
/* Cross-checks after everything was read, files included; loads what TLS needs. */
bool conf_check(struct conf *c, struct conf_error *err);
void conf_print(const struct conf *c, FILE *out); /* every option; secrets are files, so none is shown */
void conf_free(struct conf *c);

/* Path of a state file named after the socket, in StateDir or beside the socket. False: longer than size. */
bool conf_state_file(const struct conf *c, const char *suffix, char *out, size_t size);
/* Path of the state file of file digests. False: none is wanted, or the path is longer than size. */
bool conf_digest_file(const struct conf *c, char *out, size_t size);

/* Reload: takes over LogFile, LogLevel and, where TLS is spoken already, all that is said of TLS with the files'
 * contents of now. Logs the names of the options that differ in fresh but need a restart. */
void conf_reload(struct conf *c, struct conf *fresh);

#endif
