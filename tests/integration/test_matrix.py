# SPDX-License-Identifier: Apache-2.0
"""Every condition of RFC 9110 13, alone and combined, on every method, kind of resource, server and state of etagd:
the answers against an oracle written from the RFC (matrix/oracle.py, cases/*.json). ETAG_SEED repeats a sample."""
import os
import random
import time

import pytest
from env.php import Php
from matrix import apps, cases, judge, oracle
from matrix.site import Site, resources
from mutants import mutants

ALL = cases.cases()
SAMPLE = 3000
SHOWN = 8
SEED = int(os.environ.get("ETAG_SEED", random.randrange(10 ** 9)))
# etagd up, MPM, HTTP/2
FRONTS = [pytest.param((up, mpm, h2), id=f"{mpm}-{'h2' if h2 else 'http1'}-{'up' if up else 'down'}")
          for mpm, h2 in (("event", False), ("event", True), ("prefork", False)) for up in (True, False)]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def new_site(servers, new_httpd, new_etagd, backend):
    def make(up=True, mpm="event", **how):
        etagd = new_etagd()
        if up:
            etagd.start()
        site = Site(new_httpd, servers(Php).start(), backend, etagd, mpm, **how)
        if not up:
            site.httpd.expect_log("working without etagd")
        return site

    return make


def reading_first(pairs):
    """Writes make pages forgotten, and what is learned is to be asked for as well."""
    return sorted(pairs, key=lambda p: p[1].method not in ("GET", "HEAD"))


def judged(site, pairs, h2=False):
    """Sends the cases: (what is wrong, early answers)."""
    wrong, hits, performed, before = [], 0, 0, site.backend.count()
    for r, case, lines, now, got in site.ask(reading_first(pairs), h2):
        found = judge.faults(r, case, lines, now, got)
        hits += (got.one("Cache-Status") or "").endswith('mod_etag; hit; detail="304 learned"')
        performed += r.server == "proxy" and case.method in WRITES and got.one("X-Seen") is not None
        if found:
            wrong.append(judge.describe(r, case, lines, found, got))
    arrived = sum(q.method in WRITES for q in site.backend.requests[before:])
    if arrived != performed:
        wrong.append(f"{arrived} writes reached the backend, {performed} of them were answered by it")
    return wrong, hits


def prove(site, pairs, h2, seed=None):
    wrong, hits = judged(site, pairs, h2)
    print(f"{len(pairs)} cases, {hits} early answers, seed {seed}")
    if wrong:
        pytest.fail(f"seed {seed}: {len(wrong)} of {len(pairs)} answers are wrong:\n" + "\n".join(wrong[:SHOWN]),
                    pytrace=False)
    return hits


def everything(site):
    return [(r, c) for r in site.resources for c in ALL]


# --- the matrix ---

def test_cases_are_many_and_unique():
    """Unique by method, fields and state of the resource."""
    states = {r.state for r in resources()}
    unique = {(c.method, c.fields, s) for c in ALL for s in states}
    assert len(unique) == len(ALL) * len(states) and len(ALL) > 600
    assert {c.method for c in ALL} == set(apps.METHODS)
    for fields in range(1, 4):
        assert sum(c.named.count(": ") == fields for c in ALL) > 200


@pytest.mark.parametrize("front", FRONTS)
def test_sample(new_site, front):
    up, mpm, h2 = front
    site = new_site(up, mpm, agreed="named" if front == (True, "event", False) else not up)
    pairs = random.Random(f"{SEED} {front}").sample(everything(site), SAMPLE)
    assert prove(site, pairs, h2, SEED) or not up


@pytest.mark.long
@pytest.mark.parametrize("front", FRONTS)
def test_everything(new_site, front):
    up, mpm, h2 = front
    site = new_site(up, mpm, agreed="named" if up else True)
    prove(site, everything(site), h2)


# --- DetectionOnly ---

def comparable(r, got):
    """An answer without its time, and without what depends on how fast a page comes, on a random hash (Allow), or on
    which request is a connection's first (Upgrade)."""
    unlike = {"date", "allow", "upgrade", "connection"}
    if r.server != "file":
        unlike |= {"content-length", "transfer-encoding"}
    allowed = sorted((got.one("Allow") or "").split(","))
    return got.status, {n: v for n, v in got.fields.items() if n not in unlike}, allowed, got.body


def prove_unchanged(new_site, choose):
    """Answers to the same requests as stock httpd gives them, also where they name our tags."""
    ours, stock, detecting = (new_site(engine=e) for e in ("On", None, "DetectionOnly"))
    differing = []
    for whose in (ours, stock):
        # An hour ago: core takes the second of the request for the date of what has none.
        pairs, now = choose(everything(whose)), int(time.time()) - 3600
        for one, other in zip(stock.ask(pairs, now=now), detecting.ask(pairs, now=now)):
            if comparable(one[0], one[-1]) != comparable(other[0], other[-1]):
                differing.append(judge.describe(*one[:3], [f"stock: {one[-1]!r}"], other[-1]))
    if differing:
        pytest.fail(f"seed {SEED}: {len(differing)} answers differ:\n" + "\n".join(differing[:SHOWN]), pytrace=False)


def test_detection_only_changes_nothing(new_site):
    prove_unchanged(new_site, lambda pairs: random.Random(SEED).sample(pairs, SAMPLE // 2))


@pytest.mark.long
def test_detection_only_changes_nothing_at_all(new_site):
    prove_unchanged(new_site, lambda pairs: pairs)


# --- the oracle by hand, and on what it must not accept ---

DAY = 86400
STRONG = oracle.Representation(True, '"a"', 10 * DAY, 100)
WEAK = oracle.Representation(True, 'W/"a"', 10 * DAY, 100)
GONE = oracle.Representation(False)
SAME, OLDER, NEWER = (cases.imf(n * DAY) for n in (10, 9, 11))
BY_HAND = [
    ("GET", STRONG, {"If-Match": '"a"'}, "perform"), ("GET", WEAK, {"If-Match": 'W/"a"'}, 412),
    ("PUT", GONE, {"If-Match": "*"}, 412), ("PUT", GONE, {"If-None-Match": "*"}, "perform"),
    ("PUT", STRONG, {"If-None-Match": "*"}, 412), ("GET", WEAK, {"If-None-Match": '"a"'}, 304),
    ("HEAD", STRONG, {"If-None-Match": '"x", W/"a"'}, 304), ("GET", STRONG, {"If-None-Match": '"x,"a"'}, "perform"),
    ("GET", STRONG, {"If-None-Match": '"x"', "If-Modified-Since": SAME}, "perform"),
    ("GET", STRONG, {"If-Match": '"a"', "If-Unmodified-Since": OLDER}, "perform"),
    ("GET", STRONG, {"If-Unmodified-Since": OLDER, "If-None-Match": '"a"'}, 412),
    ("GET", STRONG, {"If-Modified-Since": SAME}, 304), ("GET", STRONG, {"If-Modified-Since": NEWER}, 304),
    ("PUT", STRONG, {"If-Modified-Since": SAME}, "perform"), ("GET", STRONG, {"If-Modified-Since": OLDER}, "perform"),
    ("GET", STRONG, {"If-Modified-Since": cases.imf(30 * DAY)}, "perform"),
    ("GET", STRONG, {"Range": "bytes=0-4", "If-Range": '"a"'}, 206), ("GET", WEAK, {"Range": "bytes=0-4"}, 206),
    ("GET", WEAK, {"Range": "bytes=0-4", "If-Range": 'W/"a"'}, "perform"),
    ("GET", STRONG, {"Range": "bytes=100-"}, 416),
    ("GET", STRONG, {"Range": "bytes=0-4", "If-Range": SAME}, 206), ("HEAD", STRONG, {"Range": "bytes=0-4"}, "perform"),
    ("GET", STRONG, {"Range": "bytes=0-4", "If-Range": '"x"', "If-None-Match": '"a"'}, 304),
    ("OPTIONS", STRONG, {"If-Match": '"x"'}, "perform"), ("PUT", STRONG, {"If-Match": "abc"}, 412),
]


@pytest.mark.parametrize("method, rep, fields, what", BY_HAND)
def test_oracle(method, rep, fields, what):
    assert oracle.decide(method, list(fields.items()), rep, 20 * DAY).what == what


def test_judge_finds_each_fault(new_site):
    """Answers that were right, spoilt in one place each."""
    site = new_site()
    get = next(c for c in ALL if c.method == "GET" and c.named == "If-None-Match: match")
    file = site.resources[0]
    for spoil in ({"etag": None}, {"etag": ['"x"']}, {"vary": None}, {"cache-control": ["no-store"]},
                  {"content-location": None}, {"content-type": ["text/plain"]}, {"content-length": ["0"]},
                  {"last-modified": [cases.imf(DAY)]}, {"access-control-allow-origin": None}, {"date": None}):
        (r, case, lines, now, got), = site.ask([(file, get)])
        assert got.status == 304 and not judge.faults(r, case, lines, now, got)
        for name, value in spoil.items():
            got.fields.pop(name, None)
            if value:
                got.fields[name] = value
        assert judge.faults(r, case, lines, now, got), spoil
    (r, case, lines, now, got), = site.ask([(file, get)])
    got.body = b"x"
    assert judge.faults(r, case, lines, now, got)


# --- modules with one rule dropped: the matrix must fail for each ---

def survives(new_site, factory, mutant, seed):
    """None, or how many cases a mutant has passed."""
    site = new_site(module=mutants.build(mutant, factory))
    pairs = everything(site)
    random.Random(seed).shuffle(pairs)
    for at in range(0, len(pairs), SAMPLE):
        wrong, _ = judged(site, pairs[at:at + SAMPLE])
        if wrong:
            print(f"killed: {mutant['rule']} (after {at + SAMPLE} cases: {wrong[0].splitlines()[0]})")
            return None
    return len(pairs)


def must_fail(new_site, work, chosen, seed):
    passed = survives(new_site, work, chosen, seed)
    if passed:
        pytest.fail(f"survived {passed} cases: {chosen['rule']}", pytrace=False)


def test_mutants_can_be_made():
    """Each is one change of the sources as they are now."""
    listed = mutants.table()
    assert len(listed) >= 12 and len({m["rule"] for m in listed}) == len(listed)
    for mutant in listed:
        assert mutants.source(mutant).read_text().count(mutant["old"]) == 1, mutant["rule"]


@pytest.mark.parametrize("which", [0, 1])
def test_two_mutants(new_site, work, which):
    must_fail(new_site, work, random.Random(SEED).sample(mutants.table(), 2)[which], SEED)


@pytest.mark.long
@pytest.mark.parametrize("mutant", mutants.table(), ids=lambda m: m["rule"])
def test_every_mutant(new_site, work, mutant):
    must_fail(new_site, work, mutant, SEED)
