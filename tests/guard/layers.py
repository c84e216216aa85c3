# SPDX-License-Identifier: Apache-2.0
"""Includes point one way: mod_etag -> etagd/lib <- etagd, and downwards inside the daemon."""
import re

# Lowest first; groups side by side in one tier do not know each other. A file belongs to the group that
# lists its name without suffix ("store_*" stands for all of store's parts). shared is coherence's side
# towards Redis.
TIERS = [
    {"base": "accounts conf conf_* log clock log_id notify fields redis_url tls resp lua"},
    {"redis": "redis redis_* resolver script witness witnesses sentinel sentinel_* cluster cluster_* routes"},
    {"writer": "writer writer_*", "coherence": "coherence positions effect hosts entry_text name_judge versions",
     "embedded": "embedded", "unsent": "unsent", "digests": "digests digest_file"},
    {"shared": "shared shared_* follower follower_* fetch"},
    {"store": "store store_*", "hasher": "hasher"},
    {"dispatch": "dispatch dispatch_* info"},
    {"server": "server connection listener"},
    {"daemon": "daemon"},
    {"main": "main options"},
]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
HTTPD = re.compile(r"^(httpd|http_\w+|ap_\w+|apr_?\w*|util_\w+|mod_\w+|scoreboard|mpm_common)\.h$")
HIREDIS_ALLOWED = {"etagd/redis.c", "etagd/lib/client.c", "etagd/lib/proto.c"}


def group_of(path):
    """(tier, group) of a file of the daemon, None when no tier lists it."""
    stem = re.sub(r"\.[ch]$", "", path.split("/")[-1])
    for exact in (True, False):  # a whole name goes before a pattern
        for number, tier in enumerate(TIERS):
            for group, members in tier.items():
                for m in members.split():
                    if stem == m or (not exact and m.endswith("*") and stem.startswith(m[:-1])):
                        return number, group
    return None


def area(path):
    for prefix in ("mod_etag/", "etagd/lib/", "etagd/", "tests/"):
        if path.startswith(prefix):
            return prefix.rstrip("/")
    return None


def own_include(path, target):
    """Complaint about a quoted include, or None."""
    here, there = area(path), area(target)
    if there is None:
        return f"{path}: \"{target}\" does not name its layer (write \"etagd/lib/key.h\")"
    allowed = {"mod_etag": ("mod_etag", "etagd/lib"), "etagd/lib": ("etagd/lib",), "etagd": ("etagd", "etagd/lib")}
    if there not in allowed[here]:
        return f"{path}: {here} may not include {target}"
    if here == there == "etagd":
        mine, other = group_of(path), group_of(target)
        if other and mine and other != mine and other[0] >= mine[0]:
            return f"{path}: {mine[1]} may not include {target}, which is {other[1]}'s: use a callback"
    return None


def system_include(path, target):
    if HTTPD.match(target) and area(path) != "mod_etag":
        return f"{path}: httpd and APR headers only under mod_etag/: <{target}>"
    if target.startswith("event2/") and area(path) != "etagd":
        return f"{path}: the event loop is the daemon's: <{target}>"
    if target.startswith("hiredis/") and path not in HIREDIS_ALLOWED and area(path) != "mod_etag":
        return f"{path}: hiredis only in {', '.join(sorted(HIREDIS_ALLOWED))}: <{target}>"
    return None


def check(tree):
    files = [p for p in tree.paths("etagd/*.[ch]", "mod_etag/*.[ch]")]
    if not files:
        return ["no C sources found"]
    found = []
    for path in files:
        if area(path) == "etagd" and group_of(path) is None:
            found.append(f"{path}: belongs to no tier of tests/guard/layers.py")
        for quote, target in INCLUDE.findall(tree.text(path)):
            found.append((own_include if quote == '"' else system_include)(path, target))
    return [f for f in found if f]


def plant(tree):
    return tree.plant("etagd/store_planted.c", '#include "etagd/server.h"\n')
