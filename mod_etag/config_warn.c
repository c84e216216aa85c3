/* SPDX-License-Identifier: Apache-2.0 */
/* What works against the engine, said once at start with file and line. Nothing here is an error: whoever
 * wrote the directive may have meant it for another place of the configuration. */
#include "mod_etag/config.h"

#include <ap_mmn.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_log.h>
#include <util_cfgtree.h>

#include "mod_etag/mod_etag.h"

APLOG_USE_MODULE(etag);

struct pitfall {
    const char *directive;
    const char *first, *second; /* words that follow each other, in any case; second NULL: none */
    const char *consequence;
};

static const struct pitfall pitfalls[] = {
    {"Header", "unset", "ETag", "takes every tag off the response: remove it where ETagEngine is On"},
    {"Header", "set", "ETag",
     "replaces the tag behind the engine's back, so that no 304 can be given for it: remove it"},
    {"Header", "edit", "ETag",
     "changes the tag behind the engine's back, so that no 304 can be given for it: remove it"},
    {"Header", "edit*", "ETag",
     "changes the tag behind the engine's back, so that no 304 can be given for it: remove it"},
    {"Header", "append", "ETag", "spoils the tag: remove it"},
    {"Header", "add", "ETag", "sends a second tag: remove it"},
    {"RequestHeader", "unset", "If-None-Match", "takes the client's tag away before it is compared: remove it"},
    {"RequestHeader", "edit", "If-None-Match", "is not needed: suffixes such as -gzip are understood; remove it"},
    {"DeflateAlterEtag", "Remove", NULL, "takes the tag off every compressed response: use AddSuffix, the default"},
    {"DeflateAlterEtag", "NoChange", NULL, "gives compressed and plain bodies one tag: use AddSuffix, the default"},
    {"BrotliAlterETag", "Remove", NULL, "takes the tag off every compressed response: use AddSuffix, the default"},
    {"BrotliAlterETag", "NoChange", NULL, "gives compressed and plain bodies one tag: use AddSuffix, the default"},
};

static bool has_words(apr_pool_t *p, const char *args, const char *first, const char *second)
{
    const char *before = "";

    while (args && *args) {
        const char *word = ap_getword_conf(p, &args);
        if (second ? strcasecmp(before, first) == 0 && strcasecmp(word, second) == 0 : strcasecmp(word, first) == 0)
            return true;
        before = word;
    }
    return false;
}

static void warn_about(apr_pool_t *p, server_rec *s, const ap_directive_t *d)
{
    for (size_t i = 0; i < sizeof pitfalls / sizeof *pitfalls; i++) {
        const struct pitfall *pit = &pitfalls[i];
        if (strcasecmp(d->directive, pit->directive) == 0 && has_words(p, d->args, pit->first, pit->second)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "mod_etag: %s:%d: \"%s %s\" %s", d->filename, d->line_num,
                         d->directive, d->args, pit->consequence);
            return;
        }
    }
}

static bool begins_with_word(const char *args, const char *word)
{
    size_t n = strlen(word);

    args += *args == '"';
    return strncasecmp(args, word, n) == 0 && strcspn(args + n, "\" \t") == 0;
}

static bool says(const ap_directive_t *d, const char *directive, const char *word)
{
    for (; d; d = d->next)
        if ((strcasecmp(d->directive, directive) == 0 && d->args && begins_with_word(d->args, word)) ||
            says(d->first_child, directive, word))
            return true;
    return false;
}

bool etag_configured(const char *directive, const char *word)
{
    return says(ap_conftree, directive, word);
}

static void walk(apr_pool_t *p, server_rec *s, const ap_directive_t *d)
{
    for (; d; d = d->next) {
        warn_about(p, s, d);
        walk(p, s, d->first_child);
    }
}

static void warn_about_modules(server_rec *s)
{
    ap_version_t v;

    if (ap_find_linked_module("mod_file_cache.c"))
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "mod_etag: mod_file_cache is loaded: it serves bytes that no longer need to be those of the file, "
            "so its files carry the tag of what is on disk; do not use CacheFile and MMapFile with ETagEngine On");
    ap_get_server_revision(&v);
    if (v.major == 2 && v.minor == 4 && v.patch < 66 && ap_find_linked_module("mod_http2.c") &&
        ap_find_linked_module("mod_cache.c"))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "mod_etag: httpd %d.%d.%d answers 304 wrongly when mod_http2 and mod_cache work together "
                     "(PR 69580): update to 2.4.66 or later, or unload one of them",
                     v.major, v.minor, v.patch);
}

bool etag_engine_configured(void)
{
    return etag_configured("ETagEngine", "On") || etag_configured("ETagEngine", "DetectionOnly");
}

void etag_config_warn(apr_pool_t *p, server_rec *main_server)
{
    apr_pool_t *words;

    if (!etag_engine_configured())
        return;
    apr_pool_create(&words, p);
    walk(words, main_server, ap_conftree);
    apr_pool_destroy(words);
    warn_about_modules(main_server);
}
