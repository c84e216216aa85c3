/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives and their merge. Every member is tri-state (set or not), so that a section that does
 * not mention a directive inherits it; never written after configuration.
 */
#ifndef MOD_ETAG_CONFIG_H
#define MOD_ETAG_CONFIG_H

#include <httpd.h>
#include <http_config.h>
#include <ap_expr.h>
#include <apr_tables.h>

#include "etagd/lib/file_mount.h"
#include "etagd/lib/span.h"

enum etag_engine { ETAG_ENGINE_OFF, ETAG_ENGINE_ON, ETAG_ENGINE_DETECTION_ONLY };
enum etag_source { ETAG_SOURCE_UPSTREAM = 1, ETAG_SOURCE_DIGEST, ETAG_SOURCE_VERSION, ETAG_SOURCE_GENERATION };
enum etag_last_modified { ETAG_LAST_MODIFIED_AGREE, ETAG_LAST_MODIFIED_OFF, ETAG_LAST_MODIFIED_PASS };
enum etag_names { ETAG_NAMES_NONE, ETAG_NAMES_LIST, ETAG_NAMES_ALL, ETAG_NAMES_LEARN };

#define ETAG_SOURCES 4

/* None, All, or a list of names (in order of configuration); of query parameters also: those that responses name. */
struct etag_name_list {
    enum etag_names kind;
    apr_array_header_t *names; /* of struct span; NULL unless ETAG_NAMES_LIST */
};

/* Per directory. *_set says whether the directive was given here or inherited; a member that was not holds its default. */
struct etag_dir {
    int engine, engine_set;               /* ETagEngine; default Off */
    unsigned char source[ETAG_SOURCES];   /* ETagSource, in order, 0 ends; default upstream digest */
    int source_set;
    int coded_weak, coded_set;            /* ETagCoded strong|weak; default strong */
    int early, early_set;                 /* ETagEarly; default Off */
    apr_interval_time_t ttl; int ttl_set; /* ETagTTL; default 1d */
    struct etag_name_list ignore_query; int ignore_query_set;     /* ETagIgnoreQuery; default None */
    apr_array_header_t *vary; int vary_set;                       /* ETagVary: of const char *, lower case; "cookie:NAME" */
    struct etag_name_list ignore_cookies; int ignore_cookies_set; /* ETagIgnoreCookies; default None */
    apr_array_header_t *credentials; int credentials_set;         /* ETagCredentials; default X-Api-Key X-Auth-Token */
    const char *salt; int salt_set;                               /* ETagSalt; default "" */
    int last_modified, last_modified_set;                         /* ETagLastModified; default Agree */
    apr_array_header_t *groups; int groups_set;                   /* ETagGroups: of const char * */
    ap_expr_info_t *groups_expr;
    apr_array_header_t *group_headers; int group_headers_set;     /* ETagGroupHeader: of const char * */
    int group_headers_strip;
    ap_expr_info_t *version_expr; const char *version_header, *version_text; int version_set; /* ETagVersion; default header:ETag-Version */
    apr_off_t buffer_limit; int buffer_limit_set;                 /* ETagBufferLimit; default 1 MiB */
    apr_interval_time_t buffer_time; int buffer_time_set;         /* ETagBufferTime; default 200 ms */
    apr_off_t inline_limit; int inline_limit_set;                 /* ETagInlineLimit; default 8 MiB */
    struct file_trust trust_fs; int trust_fs_set;                 /* ETagTrustFS; default Auto */
    int cache_status, cache_status_set;                           /* ETagCacheStatus; default Off */
    /* 12 bytes of SHA-256 over ETagVary, ETagIgnoreQuery, ETagSource, ETagVersion and ETagSalt, made whenever one of
     * them is set or merged: folded into the variant of every learned record (with ETagBaseURL). */
    unsigned char policy[12]; int policy_known;
};

/* Per virtual host; the directives marked (server) are taken from the main server. */
struct etag_server {
    const char *daemon; int daemon_set;       /* ETagDaemon (server); default PROTO_DEFAULT_SOCKET */
    apr_interval_time_t timeout; int timeout_set; /* ETagTimeout (server); default 20 ms */
    const char *base_scheme, *base_host; unsigned base_port; int base_url_set; /* ETagBaseURL (virtual host) */
    apr_array_header_t *secrets; int secrets_set; /* ETagSecretFile (virtual host): of struct span, first signs */
    int allow_override, allow_override_set;   /* ETagAllowOverride (server); default Off */
    /* Not NULL: another virtual host has a name of this one (same_name.h); folded into the variant of every
     * learned record (without ETagBaseURL, which is the administrator's word). Made once, at the end. */
    const char *told_apart_by;
};

extern const command_rec etag_commands[];

void *etag_dir_create(apr_pool_t *p, char *where);
void *etag_dir_merge(apr_pool_t *p, void *base, void *add);
void *etag_server_create(apr_pool_t *p, server_rec *s);
void *etag_server_merge(apr_pool_t *p, void *base, void *add);

/* Configuration in force for r, with defaults resolved (never NULL). */
const struct etag_dir *etag_dir_of(request_rec *r);
const struct etag_server *etag_server_of(server_rec *s);

/* Whether ETagEngine is On somewhere in the configuration just read. */
bool etag_engine_configured(void);

/* Whether some section of the configuration, .htaccess aside, has this directive with this first argument, in any case.
 * Until the end of post_config only. */
bool etag_configured(const char *directive, const char *word);

/* Warnings at start about settings that work against the engine (Header unset ETag and the like). */
void etag_config_warn(apr_pool_t *p, server_rec *main_server);

#endif
