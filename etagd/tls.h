/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS towards Redis and Sentinels, as the options TLSCAFile, TLSCertificateFile, TLSKeyFile and TLSServerName say:
 * version 1.2 or newer, and a server whose certificate is not signed by a CA named there, not valid today, or not
 * issued for the host connected to (RFC 9525) is never spoken to. The files are read when it is made, and not again.
 * One thread at a time.
 */
#ifndef ETAGD_TLS_H
#define ETAGD_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct bufferevent;
struct ssl_st;
struct tls;

struct tls_files {
    const char *ca; /* NULL: the system's */
    const char *certificate, *key; /* both or none; certificates of its issuers may follow the first */
    const char *server_name; /* in place of each host's own; NULL: none */
};

/* NULL and *option (which of them is wrong), why (what, and what to do about it). */
struct tls *tls_new(const struct tls_files *files, const char **option, char *why, size_t size);
void tls_free(struct tls *t);

/* What t says from now on is what fresh says, and the other way round. Connections that are up stay as they are. */
void tls_swap(struct tls *t, struct tls *fresh);

/* For one connection to that host, a name or an address; the caller's. NULL: out of memory. */
struct ssl_st *tls_session(const struct tls *t, const char *host);

/* For people: why this connection broke, and what to do about it. False: for no reason that TLS knows of. */
bool tls_explain(struct bufferevent *bev, char *out, size_t size);

#endif
