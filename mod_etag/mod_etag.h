/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the module share: the module record and the context of a request.
 *
 * Order of a request (evidence: docs/design.md): insert_filter adds ETAG_IN (before expires, deflate,
 * brotli, headers, cache), ETAG_FIN (last before cache) and, for unsafe methods, ETAG_WRITE; then our
 * handler hook, which runs before every other handler but mod_cache's, decides early; then the real
 * handler; then the filters.
 */
#ifndef MOD_ETAG_H
#define MOD_ETAG_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>

#include "etagd/lib/digest.h"
#include "etagd/lib/precondition.h"
#include "etagd/lib/table.h"
#include "mod_etag/config.h"
#include "mod_etag/control.h"
#include "mod_etag/request.h"

/* The one symbol that httpd looks for; everything else is hidden. */
extern module AP_MODULE_DECLARE_DATA etag_module __attribute__((visibility("default")));

#define ETAG_IN_NAME "ETAG_IN"
#define ETAG_FIN_NAME "ETAG_FIN"
#define ETAG_WRITE_NAME "ETAG_WRITE"

struct detection;
struct labels;
struct node_hold;

/* The tag of the representation being answered. */
struct etag_tag {
    bool known;
    enum entry_kind kind;
    bool weak;
    uint8_t base[DIGEST_BASE_SIZE]; /* unsigned; for ENTRY_UPSTREAM unused */
    const char *opaque;             /* without quotes, signed, in r->pool */
};

/* For which requests a tag stands that is not made from bytes (selection.h). */
struct etag_selection {
    const char *names;   /* that select the variant */
    const char *variant; /* of the request */
};

/* What the tag of a generation was made for (generation.h). */
struct etag_generation {
    const char *key;     /* of the name, NULL: the tag is none of a generation */
    struct etag_selection selection;
    uint64_t life_ms;    /* of the name: nothing may be learned for longer */
};

/* A version that was known before the handler ran (version.h). */
struct etag_version {
    const char *text;    /* NULL: none, or unknown */
    bool evaluating, unknown; /* while the expression is evaluated */
    bool based;          /* the tag was made from text and base, for selection */
    uint8_t base[DIGEST_BASE_SIZE];
    struct etag_selection selection;
};

/* One per request_rec of a main request, in r->request_config; an internal redirect gets a new one.
 * One thread at a time, lives in r->pool. */
struct etag_request {
    const struct etag_dir *dir;    /* of the final per_dir_config */
    struct node_hold *hold;        /* this request's reference to the table; NULL: none */
    struct table_snapshot snapshot; /* taken before the handler ran */
    int64_t budget_ns;             /* left of ETagTimeout for talking to etagd */
    struct detection *detection;   /* with the engine DetectionOnly; NULL: it is On */

    bool keyed;                    /* key is usable: the virtual host names the request's host */
    struct key key;
    const uint8_t *selected;       /* DIGEST_SIZE bytes over the selected resource, before the handler ran */
    const char *names;             /* names that selected variant, "" for none, NULL: not known */
    const char *variant;           /* of names, NULL: not computed */

    bool content;                  /* the request has content: its response is never learned */
    bool file;                     /* core's default handler will serve a regular file */
    bool hidden;                   /* conditionals are taken out of headers_in */
    bool opened;                   /* sealed tags in them are replaced (seal.h) */
    bool judges;                   /* they were: the handler has judged none of them */
    bool core_waits;               /* r->no_local_copy was set, so that core does not judge them before ETAG_IN */
    struct etag_conditionals saved; /* as the client sent them */

    bool complete;                 /* the whole body of a 200 passed ETAG_IN without an error bucket */
    bool own_tag;                  /* the handler had sent an ETag, which ours replaced */
    bool learn;                    /* to be published at the end, when complete */
    struct etag_tag tag;
    struct precondition_date modified; /* of a file (modified.h) */
    bool part;                     /* a Range that came with the preconditions may be honoured */
    const ap_filter_rec_t *coder;  /* a filter that codes by type is in the chain (coders.h) */
    struct etag_generation generation;
    struct etag_version version;
    bool coded;                    /* a filter behind ETAG_IN codes whatever passes (SetOutputFilter) */
    enum coding coding;            /* what a filter by type, or that one, codes a 200 of this request with */
    const char *coded_in;          /* Content-Encoding the body arrived with, NULL: identity */
    struct entity_tag matched;     /* on a 304: what the client sent */
    enum coding matched_coding;
    struct labels *tags, *groups;  /* what the response is invalidated by; NULL until its headers are final */
    struct control control;        /* what it lets us do with it; with tags */
    char capsule[CAPSULE_MAX];
    size_t capsule_n;
};

/* The context of r, made on first use; NULL for subrequests, in a forward proxy, for what an internal redirect turned
 * into a GET, and where the engine is off. */
struct etag_request *etag_request(request_rec *r);

/* Sets the notes etag-status and etag-why for the access log; with the engine On, the environment variables of these
 * names as well. Constant text. */
void etag_verdict(request_rec *r, const char *status, const char *why);

#endif
