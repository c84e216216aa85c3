/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request_rec to what the library decides on: key, variant, conditionals, policy. The only
 * reader of r->headers_in for these purposes.
 */
#ifndef MOD_ETAG_REQUEST_H
#define MOD_ETAG_REQUEST_H

#include <httpd.h>
#include <util_filter.h>

#include "etagd/lib/key.h"
#include "etagd/lib/precondition.h"
#include "mod_etag/config.h"

/* Values as sent; NULL: absent. */
struct etag_conditionals {
    const char *if_match, *if_none_match, *if_modified_since, *if_unmodified_since;
    const char *range; /* while it is hidden with them */
};

/* The first request of r's internal-redirect chain: its URL is the client's. */
const request_rec *request_first(const request_rec *r);

/* Path and query as the client sent them, percent-encoded, the absolute form's authority taken off. */
struct request_target {
    struct span path, query; /* point into the request */
    bool has_query;
};

struct request_target request_target(const request_rec *r);

/* The canonical key, under the virtual host's ETagBaseURL where there is one. False when the request has
 * none: its Host is no ServerName or ServerAlias of the virtual host, its port is not one we listen on,
 * or the URL does not parse. Also keeps what request_variant needs to know from before the handler. */
bool request_key(request_rec *r, const struct etag_dir *dir, struct key *out);

/* The key under which a file's date is named: without query, and one for all spellings of the path, since core
 * serves the same file for them. False when the request has none, or the file is not where the URL says (rewriting,
 * FallbackResource, path info): otherwise strangers could make as many keys as they like. */
bool request_file_key(request_rec *r, struct key *out);

/* The variant for these names (lower case, sorted, ","): 16 characters of base64url over the values the
 * request has for each name, the selected resource (handler, final uri and args, filename below the
 * document root, proxied URL, as they were when request_key was first called) and the policy digest.
 * Never NULL: without a digest it is a text that no other request has. In r->pool. */
const char *request_variant(request_rec *r, const struct etag_dir *dir, const char *names);

/* Names that select the variant of this response: Vary of both header tables, ETagVary and known ("": none), lower case,
 * sorted, without duplicates and without accept-encoding (codings are told apart by suffix; but those of a
 * body that arrived coded are not). NULL when Vary holds "*" or a malformed name: never stored. In r->pool. */
const char *request_names(request_rec *r, const struct etag_dir *dir, const char *known);

/* Whether the request carries credentials that the key does not hold (DESIGN rule: Authorization,
 * Proxy-Authorization, r->user, client certificate, cookies not ignored, ETagCredentials). Headers named
 * in names are held by the variant. */
bool request_has_credentials(request_rec *r, const struct etag_dir *dir, const char *names);

/* RFC 10008: asks for a result of the request's content. */
bool request_is_query(const request_rec *r);

/* What may change the resource: neither safe (RFC 9110 9.2.1, and QUERY, RFC 10008) nor CONNECT. An unknown
 * method may. */
bool request_is_unsafe(const request_rec *r);

/* A request with content may be answered from that content, which no key holds: never learned, never early. */
bool request_has_content(request_rec *r);

/* GET or HEAD without request content, no Cache-Control: no-cache and no Pragma: no-cache. */
bool request_may_be_early(request_rec *r);

/* Takes If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since out of headers_in, and Range, which
 * is looked at after them; and puts them back. */
void request_hide_conditionals(request_rec *r, struct etag_conditionals *saved);
void request_restore_conditionals(request_rec *r, const struct etag_conditionals *saved);
/* Range, hidden with them: once the conditions have been judged, or where none of them could fail. Otherwise the
 * whole is sent. */
void request_restore_range(request_rec *r, struct etag_conditionals *saved);
void request_read_conditionals(request_rec *r, struct etag_conditionals *out);

/* Fills the library's view of the request from saved conditionals and headers_in. */
void request_precondition(request_rec *r, const struct etag_conditionals *c, struct precondition_request *out);

/* The coding this request would most likely be answered with: the first of br, gzip whose filter is in
 * r->output_filters and that Accept-Encoding admits. */
enum coding request_coding(request_rec *r);

/* What a filter of this name does; mod_filter calls one that was added by type "BYTYPE:NAME". */
enum coding request_coding_of_filter(const char *name);

/* Whether all content filters from f on are such as leave the content alone, or code it and say so. Any
 * other would change what the tag was made from. */
bool request_filters_known(const ap_filter_t *f);

/* Takes the output filters of this name off the request. */
void request_remove_filter(request_rec *r, const char *name);

/* Merged value of a field (lines joined by ", "), NULL when absent. In r->pool. */
const char *request_lines(request_rec *r, const apr_table_t *fields, const char *name);

/* Merged value of a header of the response from headers_out and err_headers_out (lines joined by ", "),
 * NULL when absent. In r->pool. */
const char *request_response_header(request_rec *r, const char *name);

/* Kinds of content whose first byte must not wait, whatever their length, and which may have no end. */
bool request_streams(const request_rec *r);

/* Whether core's default handler will serve r's file, as far as can be told before it runs: regular
 * file, no path info, handler unset or the content type, no module that serves files its own way. */
bool request_is_file(request_rec *r);

/* Whether r's handler redirects internally, perhaps to a resource that wants other authorization: r is not the
 * request that will be answered. */
bool request_redirects(const request_rec *r);

/* SetEnv no-etag: the request is none of ours. */
bool request_opted_out(const request_rec *r);

#endif
