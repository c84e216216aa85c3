# SPDX-License-Identifier: Apache-2.0
"""DetectionOnly changes nothing: the matrix once more, against stock httpd."""
import random
import time

import pytest
from matrix import judge
from matrix.proof import SAMPLE, SEED, SHOWN, everything


def comparable(r, got):
    """An answer without its time, and without what depends on how fast a page comes, on a random hash (Allow), or on
    which request is a connection's first (Upgrade)."""
    unlike = {"date", "allow", "upgrade", "connection"}
    if r.server != "file":
        unlike |= {"content-length", "transfer-encoding"}
    allowed = sorted((got.one("Allow") or "").split(","))
    return got.status, {n: v for n, v in got.fields.items() if n not in unlike}, allowed, got.body


def prove_unchanged(new_matrix, choose):
    """Answers to the same requests as stock httpd gives them, also where they name our tags."""
    ours, stock, detecting = (new_matrix(engine=e) for e in ("On", None, "DetectionOnly"))
    differing = []
    for whose in (ours, stock):
        # An hour ago: core takes the second of the request for the date of what has none.
        pairs, now = choose(everything(whose)), int(time.time()) - 3600
        for one, other in zip(stock.ask(pairs, now=now), detecting.ask(pairs, now=now)):
            if comparable(one[0], one[-1]) != comparable(other[0], other[-1]):
                differing.append(judge.describe(*one[:3], [f"stock: {one[-1]!r}"], other[-1]))
    if differing:
        pytest.fail(f"seed {SEED}: {len(differing)} answers differ:\n" + "\n".join(differing[:SHOWN]), pytrace=False)


def test_detection_only_changes_nothing(new_matrix):
    prove_unchanged(new_matrix, lambda pairs: random.Random(SEED).sample(pairs, SAMPLE // 2))


@pytest.mark.long
def test_detection_only_changes_nothing_at_all(new_matrix):
    prove_unchanged(new_matrix, lambda pairs: pairs)
