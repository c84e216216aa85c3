/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preconditions, case by case: what people get wrong. One row is one request about one kind of
 * representation; its Accept-Encoding is gzip.
 */
#ifndef TESTS_UNIT_PRECONDITION_CASES_H
#define TESTS_UNIT_PRECONDITION_CASES_H

#include "etagd/lib/precondition.h"

#define OURS "dAAAAAAAAAAAAAAAAAAAAAA"
#define NOW INT64_C(1767225600) /* Thu, 01 Jan 2026 00:00:00 GMT */
#define MODIFIED INT64_C(1767139200)
#define DATE_BEFORE "Tue, 30 Dec 2025 00:00:00 GMT"
#define DATE_MODIFIED "Wed, 31 Dec 2025 00:00:00 GMT"
#define DATE_AFTER "Wed, 31 Dec 2025 12:00:00 GMT"
#define DATE_NOW "Thu, 01 Jan 2026 00:00:00 GMT"
#define DATE_FUTURE "Fri, 02 Jan 2026 00:00:00 GMT"

enum hand_rep { GONE, STRONG, WEAK, UNDATED, DATED, PLAIN, MINE, MINE_GZIP, NAMED, WITHHELD };

#define TAG(text, is_weak)                                                                                             \
    {                                                                                                                  \
        {text, sizeof(text) - 1}, is_weak                                                                              \
    }

static const struct precondition_representation hand_reps[] = {
    [GONE] = {.exists = false, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_DATED, MODIFIED}},
    [STRONG] = {.exists = true, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_DATED, MODIFIED}},
    [WEAK] = {.exists = true, .tagged = true, .tag = TAG("s1", true), .modified = {PRECONDITION_DATED, MODIFIED}},
    [UNDATED] = {.exists = true, .tagged = true, .tag = TAG("s1", false)},
    [DATED] = {.exists = true, .modified = {PRECONDITION_DATED, MODIFIED}},
    [PLAIN] = {.exists = true},
    [MINE] = {.exists = true, .tagged = true, .tag = TAG(OURS, false), .coded_variants = true},
    [MINE_GZIP] =
        {.exists = true, .tagged = true, .tag = TAG(OURS, false), .coded_variants = true, .coding = CODING_GZIP},
    [NAMED] = {.exists = true, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_NAMED, MODIFIED}},
    [WITHHELD] = {.exists = true, .tagged = true, .tag = TAG("s1", false), .modified = {PRECONDITION_WITHHELD, 0}},
};

static const struct {
    const char *why;
    enum precondition_method method;
    enum hand_rep rep;
    const char *if_match, *if_unmodified_since, *if_none_match, *if_modified_since;
    enum precondition_result result;
} hand[] = {
    {"nothing asked", PRECONDITION_GET, STRONG, NULL, NULL, NULL, NULL, PRECONDITION_PROCEED},
    {"the plain 304", PRECONDITION_GET, STRONG, NULL, NULL, "\"s1\"", NULL, PRECONDITION_NOT_MODIFIED},
    {"weak comparison", PRECONDITION_GET, WEAK, NULL, NULL, "\"s1\"", NULL, PRECONDITION_NOT_MODIFIED},
    {"weak comparison", PRECONDITION_GET, STRONG, NULL, NULL, "W/\"s1\"", NULL, PRECONDITION_NOT_MODIFIED},
    {"case matters", PRECONDITION_GET, STRONG, NULL, NULL, "\"S1\"", NULL, PRECONDITION_PROCEED},
    {"unquoted", PRECONDITION_GET, STRONG, NULL, NULL, "s1", NULL, PRECONDITION_PROCEED},
    {"malformed before good", PRECONDITION_GET, STRONG, NULL, NULL, "abc, \"s1\"", NULL, PRECONDITION_NOT_MODIFIED},
    {"a tag with a comma", PRECONDITION_GET, STRONG, NULL, NULL, "\"a,s1\", \"b\"", NULL, PRECONDITION_PROCEED},
    {"If-Modified-Since is ignored beside If-None-Match, old date", PRECONDITION_GET, STRONG, NULL, NULL, "\"s1\"",
     DATE_BEFORE, PRECONDITION_NOT_MODIFIED},
    {"and new date", PRECONDITION_GET, STRONG, NULL, NULL, "\"x\"", DATE_AFTER, PRECONDITION_PROCEED},
    {"also when nothing in If-None-Match is a tag", PRECONDITION_GET, STRONG, NULL, NULL, "abc", DATE_AFTER,
     PRECONDITION_PROCEED},
    {"If-None-Match: * on what exists", PRECONDITION_GET, PLAIN, NULL, NULL, "*", NULL, PRECONDITION_NOT_MODIFIED},
    {"and on what does not", PRECONDITION_GET, GONE, NULL, NULL, "*", NULL, PRECONDITION_PROCEED},
    {"creation guarded", PRECONDITION_UNSAFE, STRONG, NULL, NULL, "*", NULL, PRECONDITION_FAILED},
    {"creation allowed", PRECONDITION_UNSAFE, GONE, NULL, NULL, "*", NULL, PRECONDITION_PROCEED},
    {"*x guards nothing and is refused", PRECONDITION_UNSAFE, GONE, NULL, NULL, "*x", NULL, PRECONDITION_FAILED},
    {"a QUERY is told as a GET is (RFC 10008 A.5)", PRECONDITION_QUERY, STRONG, NULL, NULL, "\"s1\"", NULL,
     PRECONDITION_NOT_MODIFIED},
    {"by date as well", PRECONDITION_QUERY, DATED, NULL, NULL, NULL, DATE_MODIFIED, PRECONDITION_NOT_MODIFIED},
    {"of no tag it asks nothing", PRECONDITION_QUERY, STRONG, NULL, NULL, "abc", NULL, PRECONDITION_PROCEED},
    {"any other safe method gets 412", PRECONDITION_SAFE, STRONG, NULL, NULL, "\"s1\"", NULL,
     PRECONDITION_FAILED},
    {"OPTIONS looks at nothing", PRECONDITION_IGNORE, STRONG, "\"x\"", DATE_BEFORE, "\"s1\"", DATE_AFTER,
     PRECONDITION_PROCEED},
    {"unchanged", PRECONDITION_GET, DATED, NULL, NULL, NULL, DATE_MODIFIED, PRECONDITION_NOT_MODIFIED},
    {"changed", PRECONDITION_GET, DATED, NULL, NULL, NULL, DATE_BEFORE, PRECONDITION_PROCEED},
    {"the present second is not the future", PRECONDITION_GET, DATED, NULL, NULL, NULL, DATE_NOW,
     PRECONDITION_NOT_MODIFIED},
    {"a date from the future", PRECONDITION_GET, DATED, NULL, NULL, NULL, DATE_FUTURE, PRECONDITION_PROCEED},
    {"no date of ours", PRECONDITION_GET, UNDATED, NULL, NULL, NULL, DATE_AFTER, PRECONDITION_PROCEED},
    {"two lines", PRECONDITION_GET, DATED, NULL, NULL, NULL, DATE_AFTER ", " DATE_AFTER, PRECONDITION_PROCEED},
    {"If-Modified-Since is for GET and HEAD", PRECONDITION_UNSAFE, DATED, NULL, NULL, NULL, DATE_AFTER,
     PRECONDITION_PROCEED},
    {"the write with the right tag", PRECONDITION_UNSAFE, STRONG, "\"s1\"", NULL, NULL, NULL, PRECONDITION_PROCEED},
    {"with a stale one", PRECONDITION_UNSAFE, STRONG, "\"s0\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"a weak one never writes", PRECONDITION_UNSAFE, STRONG, "W/\"s1\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"nor against a weak one", PRECONDITION_UNSAFE, WEAK, "\"s1\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"nor both", PRECONDITION_UNSAFE, WEAK, "W/\"s1\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"a weak member hides no strong one", PRECONDITION_UNSAFE, STRONG, "W/\"zz\", \"s1\"", NULL, NULL, NULL,
     PRECONDITION_PROCEED},
    {"If-Match without a tag in it", PRECONDITION_UNSAFE, STRONG, "s1", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"empty If-Match", PRECONDITION_UNSAFE, STRONG, "", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"If-Match: *", PRECONDITION_UNSAFE, PLAIN, "*", NULL, NULL, NULL, PRECONDITION_PROCEED},
    {"If-Match: * on nothing", PRECONDITION_UNSAFE, GONE, "*", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"a tag of what is gone", PRECONDITION_UNSAFE, GONE, "\"s1\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"no tag to compare with", PRECONDITION_UNSAFE, DATED, "\"s1\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"If-Unmodified-Since is ignored beside If-Match", PRECONDITION_UNSAFE, STRONG, "\"s1\"", DATE_BEFORE, NULL, NULL,
     PRECONDITION_PROCEED},
    {"and cannot save it", PRECONDITION_UNSAFE, STRONG, "\"s0\"", DATE_AFTER, NULL, NULL, PRECONDITION_FAILED},
    {"written since", PRECONDITION_UNSAFE, DATED, NULL, DATE_BEFORE, NULL, NULL, PRECONDITION_FAILED},
    {"not written since", PRECONDITION_UNSAFE, DATED, NULL, DATE_MODIFIED, NULL, NULL, PRECONDITION_PROCEED},
    {"a future date is compared", PRECONDITION_UNSAFE, DATED, NULL, DATE_FUTURE, NULL, NULL, PRECONDITION_PROCEED},
    {"no valid date is no condition", PRECONDITION_UNSAFE, DATED, NULL, "0", NULL, NULL, PRECONDITION_PROCEED},
    {"If-Match decides before If-None-Match", PRECONDITION_GET, STRONG, "\"s0\"", NULL, "\"s1\"", NULL,
     PRECONDITION_FAILED},
    {"both hold", PRECONDITION_GET, STRONG, "\"s1\"", NULL, "\"s1\"", NULL, PRECONDITION_NOT_MODIFIED},
    {"If-Unmodified-Since decides before If-None-Match", PRECONDITION_GET, STRONG, NULL, DATE_BEFORE, "\"s1\"", NULL,
     PRECONDITION_FAILED},
    {"and before If-Modified-Since", PRECONDITION_GET, DATED, NULL, DATE_BEFORE, NULL, DATE_AFTER, PRECONDITION_FAILED},
    {"who received gzip can write", PRECONDITION_UNSAFE, MINE, "\"" OURS "-gzip\"", NULL, NULL, NULL,
     PRECONDITION_PROCEED},
    {"gzip of another tag cannot", PRECONDITION_UNSAFE, MINE, "\"dBAAAAAAAAAAAAAAAAAAAAA-gzip\"", NULL, NULL, NULL,
     PRECONDITION_FAILED},
    {"nor a weakened one", PRECONDITION_UNSAFE, MINE, "W/\"" OURS "-gzip\"", NULL, NULL, NULL, PRECONDITION_FAILED},
    {"an application's suffix is part of its tag", PRECONDITION_UNSAFE, STRONG, "\"s1-gzip\"", NULL, NULL, NULL,
     PRECONDITION_FAILED},
    {"the same coding again", PRECONDITION_GET, MINE_GZIP, NULL, NULL, "\"" OURS "-gzip\"", NULL,
     PRECONDITION_NOT_MODIFIED},
    {"a coding this request does not admit", PRECONDITION_GET, MINE_GZIP, NULL, NULL, "\"" OURS "-br\"", NULL,
     PRECONDITION_PROCEED},
    {"the date given to this content", PRECONDITION_GET, NAMED, NULL, NULL, NULL, DATE_MODIFIED,
     PRECONDITION_NOT_MODIFIED},
    {"an earlier one: older content, or none of ours", PRECONDITION_GET, NAMED, NULL, NULL, NULL, DATE_BEFORE,
     PRECONDITION_PROCEED},
    {"a later one may be of content that a node still had", PRECONDITION_GET, NAMED, NULL, NULL, NULL, DATE_AFTER,
     PRECONDITION_PROCEED},
    {"a write with the date given", PRECONDITION_UNSAFE, NAMED, NULL, DATE_MODIFIED, NULL, NULL, PRECONDITION_PROCEED},
    {"with an earlier one", PRECONDITION_UNSAFE, NAMED, NULL, DATE_BEFORE, NULL, NULL, PRECONDITION_FAILED},
    {"with a later one: doubt is refused", PRECONDITION_UNSAFE, NAMED, NULL, DATE_AFTER, NULL, NULL,
     PRECONDITION_FAILED},
    {"a later one on GET: the whole", PRECONDITION_GET, NAMED, NULL, DATE_AFTER, NULL, NULL, PRECONDITION_PROCEED},
    {"an earlier one on GET", PRECONDITION_GET, NAMED, NULL, DATE_BEFORE, NULL, NULL, PRECONDITION_FAILED},
    {"doubt does not hide If-None-Match", PRECONDITION_GET, NAMED, NULL, DATE_AFTER, "\"s1\"", NULL,
     PRECONDITION_NOT_MODIFIED},
    {"a tag needs no date", PRECONDITION_GET, WITHHELD, NULL, NULL, "\"s1\"", DATE_BEFORE, PRECONDITION_NOT_MODIFIED},
    {"a date not known now confirms nothing", PRECONDITION_GET, WITHHELD, NULL, NULL, NULL, DATE_MODIFIED,
     PRECONDITION_PROCEED},
    {"and permits no write", PRECONDITION_UNSAFE, WITHHELD, NULL, DATE_MODIFIED, NULL, NULL, PRECONDITION_FAILED},
    {"but for a tag that does", PRECONDITION_UNSAFE, WITHHELD, "\"s1\"", DATE_MODIFIED, NULL, NULL,
     PRECONDITION_PROCEED},
    {"a write is stopped by any coding", PRECONDITION_UNSAFE, MINE_GZIP, NULL, NULL, "\"" OURS "-br\"", NULL,
     PRECONDITION_FAILED},
};

#endif
