# SPDX-License-Identifier: Apache-2.0
"""Cases sent to a site, and judged. ETAG_SEED repeats a sample."""
import os
import random

import pytest

from . import cases, judge

ALL = cases.cases()
SAMPLE = 3000
SHOWN = 8
SEED = int(os.environ.get("ETAG_SEED", random.randrange(10 ** 9)))
# etagd up, MPM, HTTP/2
FRONTS = [pytest.param((up, mpm, h2), id=f"{mpm}-{'h2' if h2 else 'http1'}-{'up' if up else 'down'}")
          for mpm, h2 in (("event", False), ("event", True), ("prefork", False)) for up in (True, False)]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


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
