# SPDX-License-Identifier: Apache-2.0
"""Every condition of RFC 9110 13, alone and combined, on every method, kind of resource, server and state of etagd:
the answers against an oracle written from the RFC (matrix/oracle.py, cases/*.json). A sample, and the oracle itself;
everything is in test_matrix_whole.py. ETAG_SEED repeats a sample."""
import random

import pytest
from matrix import apps, cases, judge, oracle
from matrix.proof import ALL, FRONTS, SAMPLE, SEED, everything, prove
from matrix.site import resources


def test_cases_are_many_and_unique():
    """Unique by method, fields and state of the resource."""
    states = {r.state for r in resources()}
    unique = {(c.method, c.fields, s) for c in ALL for s in states}
    assert len(unique) == len(ALL) * len(states) and len(ALL) > 600
    assert {c.method for c in ALL} == set(apps.METHODS)
    for fields in range(1, 4):
        assert sum(c.named.count(": ") == fields for c in ALL) > 200


@pytest.mark.parametrize("front", FRONTS)
def test_sample(new_matrix, front):
    up, mpm, h2 = front
    site = new_matrix(up, mpm, agreed="named" if front == (True, "event", False) else not up)
    pairs = random.Random(f"{SEED} {front}").sample(everything(site), SAMPLE)
    assert prove(site, pairs, h2, SEED) or not up


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


def test_judge_finds_each_fault(new_matrix):
    """Answers that were right, spoilt in one place each."""
    site = new_matrix()
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
