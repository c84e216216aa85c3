/* SPDX-License-Identifier: Apache-2.0 */
#include "etagd/tls.h"

#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls {
    SSL_CTX *context;
    char *server_name;
};

/* ---- files ---- */

static bool wrong(const char *option, const char *what, const char **wrong_option, char *why, size_t size)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    *wrong_option = option;
    snprintf(why, size, "%s%s%s%s", what, reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
    ERR_clear_error();
    return false;
}

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool load_key(SSL_CTX *context, const char *file, const char **option, char *why, size_t size)
{
    bool encrypted = false;

    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(context, &encrypted);
    const bool loaded = SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    if (loaded)
        return true;
    if (encrypted)
        return wrong("TLSKeyFile",
                     "it is encrypted, and nobody is there to ask for the passphrase: store it decrypted "
                     "(openssl pkey -in FILE -out NEW) where only etagd can read it",
                     option, why, size);
    return wrong("TLSKeyFile", "holds no key in PEM form, or another one than that of TLSCertificateFile", option, why,
                 size);
}

static bool load(SSL_CTX *context, const struct tls_files *files, const char **option, char *why, size_t size)
{
    if (files->ca ? SSL_CTX_load_verify_locations(context, files->ca, NULL) != 1
                  : SSL_CTX_set_default_verify_paths(context) != 1)
        return wrong("TLSCAFile", "holds no certificates in PEM form", option, why, size);
    if (!files->certificate)
        return true;
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return wrong("TLSCertificateFile", "holds no usable certificate in PEM form", option, why, size);
    return load_key(context, files->key, option, why, size);
}

struct tls *tls_new(const struct tls_files *files, const char **option, char *why, size_t size)
{
    struct tls *t = calloc(1, sizeof *t);
    SSL_CTX *context = t ? SSL_CTX_new(TLS_client_method()) : NULL;

    ERR_clear_error();
    *option = "TLSCAFile";
    snprintf(why, size, "out of memory");
    if (!context)
        goto fail;
    t->context = context;
    t->server_name = files->server_name ? strdup(files->server_name) : NULL;
    if (files->server_name && !t->server_name)
        goto fail;
    if (SSL_CTX_get_min_proto_version(context) < TLS1_2_VERSION) /* the system's settings may ask for more */
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (load(context, files, option, why, size))
        return t;
fail:
    tls_free(t);
    return NULL;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    free(t->server_name);
    free(t);
}

void tls_swap(struct tls *t, struct tls *fresh)
{
    struct tls was = *t;

    *t = *fresh;
    *fresh = was;
}

/* ---- connections ---- */

static bool is_address(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool expect(SSL *ssl, const char *name)
{
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1; /* addresses are not sent (RFC 6066, 3) */
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct ssl_st *tls_session(const struct tls *t, const char *host)
{
    SSL *ssl = SSL_new(t->context);

    if (ssl && !expect(ssl, t->server_name ? t->server_name : host)) {
        SSL_free(ssl);
        ssl = NULL;
    }
    ERR_clear_error();
    return ssl;
}

/* ---- for people ---- */

static const char *about_certificate(long verdict)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "connect to a name (or address) that stands in it, or name with TLSServerName what stands in all of "
               "them";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "renew it on the server";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "check the clocks";
    default:
        return "name the CA that has signed it with TLSCAFile";
    }
}

static const struct {
    int reason;
    const char *text;
} reasons[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "what answers there does not speak TLS: connect to Redis' tls-port, or write redis:// "
                                 "(sentinel://) for a connection that everybody can read"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the server speaks nothing newer than TLS 1.1: it has to speak TLS 1.2 or 1.3"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the server does not speak TLS 1.2 or 1.3: see its tls-protocols"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
     "the server wants a certificate of ours: name it with TLSCertificateFile"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the server refuses: it may want a certificate (TLSCertificateFile), or "
                                          "allow no cipher that OpenSSL has"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the server does not know who has signed TLSCertificateFile: see its "
                                   "tls-ca-cert-file"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "TLSCertificateFile has expired: renew it, then reload etagd"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the server refuses TLSCertificateFile: its log says why"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the server refuses TLSCertificateFile: its log says why"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "TLSCertificateFile is revoked: renew it, then reload etagd"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the server refuses TLSCertificateFile: is it one for clients?"},
};

static void explain_error(unsigned long error, char *out, size_t size)
{
    const char *known = ERR_reason_error_string(error);

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (ERR_GET_REASON(error) == reasons[i].reason) {
            snprintf(out, size, "%s", reasons[i].text);
            return;
        }
    snprintf(out, size, "TLS: %s", known ? known : "protocol error");
}

bool tls_explain(struct bufferevent *bev, char *out, size_t size)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    unsigned long error, first = 0;
    long verdict;

    if (!ssl)
        return false;
    while ((error = bufferevent_get_openssl_error(bev))) /* the newest comes first, the oldest is the cause */
        if (ERR_GET_LIB(error) == ERR_LIB_SSL)
            first = error;
    if (!first)
        return false;
    verdict = SSL_get_verify_result(ssl);
    if (ERR_GET_REASON(first) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        snprintf(out, size, "the server closed the connection%s",
                 SSL_is_init_finished(ssl) ? "" : " during the TLS handshake");
    else if (ERR_GET_REASON(first) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(out, size, "the server's certificate: %s: %s", X509_verify_cert_error_string(verdict),
                 about_certificate(verdict));
    else
        explain_error(first, out, size);
    return true;
}
