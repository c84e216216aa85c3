/* SPDX-License-Identifier: Apache-2.0 */
/* The directives. Each is described in docs/mod_etag.md. A line given twice in one section: the last counts. */
#include "mod_etag/directives.h"

#include <sys/un.h>

#include <apr_strings.h>
#include <http_core.h>

#include "mod_etag/mod_etag.h"
#include "mod_etag/values.h"
#include "mod_etag/version.h"

/* .htaccess belongs to whoever may write into a directory, and these directives decide what is answered
 * without asking the application. */
static const char *owner_only(cmd_parms *cmd)
{
    if (etag_server_of(cmd->server)->allow_override)
        return NULL;
    const char *error = ap_check_cmd_context(cmd, NOT_IN_HTACCESS);
    return error ? apr_pstrcat(cmd->pool, error,
                               ": set it in the server configuration, or say ETagAllowOverride On there", NULL)
                 : NULL;
}

/* --- per directory --- */

static const char *set_engine(cmd_parms *cmd, void *config, const char *arg)
{
    static const struct choice choices[] = {
        {"On", ETAG_ENGINE_ON}, {"Off", ETAG_ENGINE_OFF}, {"DetectionOnly", ETAG_ENGINE_DETECTION_ONLY}, {NULL, 0}};
    struct etag_dir *dir = config;

    dir->engine_set = 1;
    return value_choice(cmd, arg, choices, &dir->engine);
}

static const char *set_source(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    static const struct choice choices[] = {{"upstream", ETAG_SOURCE_UPSTREAM},
                                            {"digest", ETAG_SOURCE_DIGEST},
                                            {"version", ETAG_SOURCE_VERSION},
                                            {"generation", ETAG_SOURCE_GENERATION},
                                            {NULL, 0}};
    struct etag_dir *dir = config;
    unsigned char source[ETAG_SOURCES] = {0};
    const char *error = owner_only(cmd);
    int value;

    if (!error && argc == 0)
        error = "ETagSource: at least one of upstream, digest, version, generation is wanted";
    for (int i = 0; !error && i < argc; i++) {
        error = value_choice(cmd, argv[i], choices, &value);
        if (error)
            break;
        if (memchr(source, value, sizeof source))
            error = apr_psprintf(cmd->pool, "ETagSource: \"%s\" is named twice", argv[i]);
        else
            source[i] = (unsigned char)value;
    }
    if (error)
        return error;
    memcpy(dir->source, source, sizeof source);
    dir->source_set = 1;
    etag_dir_policy(dir);
    return NULL;
}

static const char *set_coded(cmd_parms *cmd, void *config, const char *arg)
{
    static const struct choice choices[] = {{"strong", 0}, {"weak", 1}, {NULL, 0}};
    struct etag_dir *dir = config;

    dir->coded_set = 1;
    return value_choice(cmd, arg, choices, &dir->coded_weak);
}

static const char *set_early(cmd_parms *cmd, void *config, int on)
{
    struct etag_dir *dir = config;

    dir->early = on;
    dir->early_set = 1;
    return owner_only(cmd);
}

static const char *set_ttl(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->ttl_set = 1;
    return error ? error
                 : value_duration(cmd, arg, "s", apr_time_from_sec(1), apr_time_from_sec(365 * 86400), &dir->ttl);
}

static const char *set_ignore_query(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    for (int i = 0; argc > 1 && i < argc && !error; i++)
        if (strcasecmp(argv[i], "No-Vary-Search") == 0)
            error = apr_psprintf(cmd->pool, "%s: \"%s\" stands alone or not at all", cmd->cmd->name, argv[i]);
    if (!error && argc == 1 && strcasecmp(argv[0], "No-Vary-Search") == 0)
        dir->ignore_query = (struct etag_name_list){.kind = ETAG_NAMES_LEARN};
    else if (!error)
        error = value_name_list(cmd, argc, argv, NAME_PARAMETER, &dir->ignore_query);
    dir->ignore_query_set = 1;
    etag_dir_policy(dir);
    return error;
}

static const char *set_vary(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = value_names(cmd, argc, argv, NAME_VARY, &dir->vary);

    dir->vary_set = 1;
    etag_dir_policy(dir);
    return error;
}

static const char *set_ignore_cookies(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->ignore_cookies_set = 1;
    return error ? error : value_name_list(cmd, argc, argv, NAME_COOKIE, &dir->ignore_cookies);
}

static const char *set_credentials(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->credentials_set = 1;
    return error ? error : value_names(cmd, argc, argv, NAME_HEADER, &dir->credentials);
}

static const char *set_salt(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;

    (void)cmd;
    dir->salt = strcasecmp(arg, "None") == 0 ? "" : arg; /* httpd takes no empty argument */
    dir->salt_set = 1;
    etag_dir_policy(dir);
    return NULL;
}

static const char *set_last_modified(cmd_parms *cmd, void *config, const char *arg)
{
    static const struct choice choices[] = {{"Agree", ETAG_LAST_MODIFIED_AGREE},
                                            {"Off", ETAG_LAST_MODIFIED_OFF},
                                            {"Pass", ETAG_LAST_MODIFIED_PASS},
                                            {NULL, 0}};
    struct etag_dir *dir = config;

    dir->last_modified_set = 1;
    return value_choice(cmd, arg, choices, &dir->last_modified);
}

/* What follows "expr=", or NULL. */
static const char *expression_of(const char *arg)
{
    return strncasecmp(arg, "expr=", 5) == 0 ? arg + 5 : NULL;
}

#ifdef AP_EXPR_FLAG_RESTRICTED_FILE_FUNC
#define RESTRICTED (AP_EXPR_FLAG_RESTRICTED | AP_EXPR_FLAG_RESTRICTED_FILE_FUNC)
#else
#define RESTRICTED AP_EXPR_FLAG_RESTRICTED
#endif

static const char *parse_expression(cmd_parms *cmd, const char *text, ap_expr_info_t **out)
{
    const char *error = NULL;
    unsigned flags = AP_EXPR_FLAG_STRING_RESULT;

    /* Who writes .htaccess must not read files of the server through an expression. */
    if (ap_check_cmd_context(cmd, NOT_IN_HTACCESS))
        flags |= RESTRICTED;
    ap_expr_info_t *parsed = ap_expr_parse_cmd(cmd, text, flags, &error, NULL);

    if (error)
        return apr_psprintf(cmd->pool, "%s: cannot parse the expression \"%s\": %s", cmd->cmd->name, text, error);
    *out = parsed;
    return NULL;
}

static const char *set_groups(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd), *expression = argc ? expression_of(argv[0]) : NULL;

    if (error)
        return error;
    dir->groups_set = 1;
    dir->groups = NULL;
    dir->groups_expr = NULL;
    if (!expression)
        return value_names(cmd, argc, argv, NAME_GROUP, &dir->groups);
    if (argc > 1)
        return "ETagGroups: an expression stands alone; quote it where it holds spaces: \"expr=...\"";
    return parse_expression(cmd, expression, &dir->groups_expr);
}

static const char *set_group_header(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    if (error)
        return error;
    dir->group_headers_set = 1;
    dir->group_headers_strip = argc > 1 && strcasecmp(argv[argc - 1], "strip") == 0;
    return value_names(cmd, argc - dir->group_headers_strip, argv, NAME_HEADER, &dir->group_headers);
}

static const char *set_version(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd), *expression = expression_of(arg), *fault = NULL;
    bool header = strncasecmp(arg, "header:", 7) == 0;

    if (error)
        return error;
    if (!expression && (!header || !arg[7] || *ap_scan_http_token(arg + 7)))
        return apr_psprintf(cmd->pool, "ETagVersion: \"%s\" is neither header:NAME nor expr=EXPRESSION", arg);
    dir->version_set = 1;
    dir->version_expr = NULL;
    dir->version_header = header ? arg + 7 : NULL;
    dir->version_text = arg;
    etag_dir_policy(dir);
    if (!expression)
        return NULL;
    expression = version_expression(cmd->pool, expression, &fault);
    return expression ? parse_expression(cmd, expression, &dir->version_expr)
                      : apr_psprintf(cmd->pool, "ETagVersion: %s", fault);
}

static const char *set_buffer_limit(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->buffer_limit_set = 1;
    return error ? error : value_size(cmd, arg, APR_INT64_C(1) << 30, &dir->buffer_limit);
}

static const char *set_buffer_time(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->buffer_time_set = 1;
    return error ? error : value_duration(cmd, arg, "ms", 0, apr_time_from_sec(60), &dir->buffer_time);
}

static const char *set_inline_limit(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_dir *dir = config;
    const char *error = owner_only(cmd);

    dir->inline_limit_set = 1;
    return error ? error : value_size(cmd, arg, APR_INT64_C(1) << 40, &dir->inline_limit);
}

/* "ext2, ext4, ...": for people. */
static const char *trust_names(apr_pool_t *p)
{
    const char *list = "", *name;

    for (size_t i = 0; (name = file_trust_name(i)); i++)
        list = apr_pstrcat(p, list, ", ", name, NULL);
    return list;
}

static const char *set_trust_fs(cmd_parms *cmd, void *config, int argc, char *const argv[])
{
    struct etag_dir *dir = config;
    struct file_trust trust = {.mode = FILE_TRUST_AUTO};

    if (argc == 0)
        return "ETagTrustFS: at least one of Auto, All, None or file systems' names is wanted";
    for (int i = 0; i < argc; i++) {
        const bool all = strcasecmp(argv[i], "All") == 0, none = strcasecmp(argv[i], "None") == 0;
        const uint32_t type = file_trust_type(span_str(argv[i]));

        if ((all || none || strcasecmp(argv[i], "Auto") == 0) && argc > 1)
            return apr_psprintf(cmd->pool, "ETagTrustFS: \"%s\" stands alone or not at all", argv[i]);
        if (all || none)
            trust.mode = all ? FILE_TRUST_ALL : FILE_TRUST_NONE;
        else if (!type && strcasecmp(argv[i], "Auto") != 0)
            return apr_psprintf(cmd->pool, "ETagTrustFS: \"%s\" is none of: Auto, All, None%s", argv[i],
                                trust_names(cmd->pool));
        trust.types |= type;
    }
    dir->trust_fs = trust;
    dir->trust_fs_set = 1;
    return NULL;
}

static const char *set_cache_status(cmd_parms *cmd, void *config, int on)
{
    struct etag_dir *dir = config;

    (void)cmd;
    dir->cache_status = on;
    dir->cache_status_set = 1;
    return NULL;
}

/* --- per server --- */

static struct etag_server *server_of(cmd_parms *cmd)
{
    return ap_get_module_config(cmd->server->module_config, &etag_module);
}

static const char *set_daemon(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *path = error ? NULL : ap_server_root_relative(cmd->pool, arg);
    const size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    (void)config;
    if (error)
        return error;
    if (!*arg || !path)
        return apr_psprintf(cmd->pool, "ETagDaemon: \"%s\" is not a path", arg);
    if (strlen(path) > room)
        return apr_psprintf(
            cmd->pool, "ETagDaemon: %s is %d bytes long; the path of a socket has room for %d: choose a shorter one",
            path, (int)strlen(path), (int)room);
    server_of(cmd)->daemon = path;
    server_of(cmd)->daemon_set = 1;
    return NULL;
}

static const char *set_timeout(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    server_of(cmd)->timeout_set = 1;
    return error ? error : value_duration(cmd, arg, "ms", 1000, apr_time_from_sec(5), &server_of(cmd)->timeout);
}

static const char *set_allow_override(cmd_parms *cmd, void *config, int on)
{
    const char *error = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)config;
    server_of(cmd)->allow_override = on;
    server_of(cmd)->allow_override_set = 1;
    return error;
}

static const char *set_secret_file(cmd_parms *cmd, void *config, const char *arg)
{
    const char *error = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    (void)config;
    server_of(cmd)->secrets_set = 1;
    return error ? error : value_secrets(cmd, arg, &server_of(cmd)->secrets);
}

static const char *set_base_url(cmd_parms *cmd, void *config, const char *arg)
{
    struct etag_server *server = server_of(cmd);
    const char *error = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    (void)config;
    server->base_url_set = 1;
    return error ? error : value_base_url(cmd, arg, &server->base_scheme, &server->base_host, &server->base_port);
}

/* In .htaccess only what FileInfo covers, and of that owner_only refuses the decisions of trust. */
#define ANYWHERE (RSRC_CONF | ACCESS_CONF)

const command_rec etag_commands[] = {
    AP_INIT_TAKE1("ETagEngine", set_engine, NULL, ANYWHERE, "On, Off or DetectionOnly (default Off)"),
    AP_INIT_TAKE1("ETagDaemon", set_daemon, NULL, RSRC_CONF, "path of etagd's socket"),
    AP_INIT_TAKE1("ETagTimeout", set_timeout, NULL, RSRC_CONF, "longest wait for etagd per request (default 20ms)"),
    AP_INIT_TAKE_ARGV("ETagSource", set_source, NULL, OR_FILEINFO,
                      "upstream, digest, version, generation; the first that applies"),
    AP_INIT_TAKE1("ETagSecretFile", set_secret_file, NULL, RSRC_CONF, "file of secrets that sign tags, one a line"),
    AP_INIT_TAKE1("ETagCoded", set_coded, NULL, OR_FILEINFO,
                  "strong or weak tags of compressed bodies (default strong)"),
    AP_INIT_FLAG("ETagEarly", set_early, NULL, OR_FILEINFO, "answer learned tags before the handler (default Off)"),
    AP_INIT_TAKE1("ETagTTL", set_ttl, NULL, OR_FILEINFO, "longest life of a learned tag (default 1d)"),
    AP_INIT_TAKE1("ETagBaseURL", set_base_url, NULL, RSRC_CONF, "the site's one URL, where it has many names"),
    AP_INIT_TAKE_ARGV("ETagIgnoreQuery", set_ignore_query, NULL, OR_FILEINFO,
                      "query parameters that do not count, All, None or No-Vary-Search"),
    AP_INIT_TAKE_ARGV("ETagVary", set_vary, NULL, OR_FILEINFO,
                      "request headers and cookie:NAMEs that select a variant"),
    AP_INIT_TAKE_ARGV("ETagIgnoreCookies", set_ignore_cookies, NULL, OR_FILEINFO,
                      "cookies that do not count, All or None"),
    AP_INIT_TAKE_ARGV("ETagCredentials", set_credentials, NULL, OR_FILEINFO,
                      "request headers that identify a user, or None"),
    AP_INIT_TAKE1("ETagSalt", set_salt, NULL, OR_FILEINFO, "text mixed into every tag"),
    AP_INIT_FLAG("ETagAllowOverride", set_allow_override, NULL, RSRC_CONF,
                 "allow every directive in .htaccess (default Off)"),
    AP_INIT_TAKE1("ETagLastModified", set_last_modified, NULL, OR_FILEINFO, "Agree, Off or Pass (default Agree)"),
    AP_INIT_TAKE_ARGV("ETagGroups", set_groups, NULL, OR_FILEINFO, "groups of every response here: names or expr=..."),
    AP_INIT_TAKE_ARGV("ETagGroupHeader", set_group_header, NULL, OR_FILEINFO,
                      "response headers that name groups [strip]"),
    AP_INIT_TAKE1("ETagVersion", set_version, NULL, OR_FILEINFO,
                  "header:NAME or expr=... (default header:ETag-Version)"),
    AP_INIT_TAKE1("ETagBufferLimit", set_buffer_limit, NULL, OR_FILEINFO,
                  "longest generated body held back (default 1M)"),
    AP_INIT_TAKE1("ETagBufferTime", set_buffer_time, NULL, OR_FILEINFO,
                  "longest time a body is held back (default 200ms)"),
    AP_INIT_TAKE1("ETagInlineLimit", set_inline_limit, NULL, OR_FILEINFO,
                  "larger files are hashed by etagd (default 8M)"),
    AP_INIT_TAKE_ARGV("ETagTrustFS", set_trust_fs, NULL, ANYWHERE,
                      "file systems whose stat is trusted: Auto, All, None or names (default Auto)"),
    AP_INIT_FLAG("ETagCacheStatus", set_cache_status, NULL, OR_FILEINFO, "send Cache-Status (default Off)"),
    {NULL}};
