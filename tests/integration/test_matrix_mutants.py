# SPDX-License-Identifier: Apache-2.0
"""Modules with one rule of RFC 9110 13.2.2 dropped: the matrix must fail for each."""
import random

import pytest
from matrix.proof import SAMPLE, SEED, everything, judged
from mutants import mutants


def survives(new_matrix, factory, mutant, seed):
    """None, or how many cases a mutant has passed."""
    site = new_matrix(module=mutants.build(mutant, factory))
    pairs = everything(site)
    random.Random(seed).shuffle(pairs)
    for at in range(0, len(pairs), SAMPLE):
        wrong, _ = judged(site, pairs[at:at + SAMPLE])
        if wrong:
            print(f"killed: {mutant['rule']} (after {at + SAMPLE} cases: {wrong[0].splitlines()[0]})")
            return None
    return len(pairs)


def must_fail(new_matrix, work, chosen, seed):
    passed = survives(new_matrix, work, chosen, seed)
    if passed:
        pytest.fail(f"survived {passed} cases: {chosen['rule']}", pytrace=False)


def test_mutants_can_be_made():
    """Each is one change of the sources as they are now."""
    listed = mutants.table()
    assert len(listed) >= 12 and len({m["rule"] for m in listed}) == len(listed)
    for mutant in listed:
        assert mutants.source(mutant).read_text().count(mutant["old"]) == 1, mutant["rule"]


@pytest.mark.parametrize("which", [0, 1])
def test_two_mutants(new_matrix, work, which):
    must_fail(new_matrix, work, random.Random(SEED).sample(mutants.table(), 2)[which], SEED)


@pytest.mark.long
@pytest.mark.parametrize("mutant", mutants.table(), ids=lambda m: m["rule"])
def test_every_mutant(new_matrix, work, mutant):
    must_fail(new_matrix, work, mutant, SEED)
