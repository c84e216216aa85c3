# SPDX-License-Identifier: Apache-2.0
"""Random faults, and a judge of everything that was served meanwhile (env/history.py)."""
import pytest

from env.history import History
from env.node import two_nodes


def play(redis, new_etagd, seed, seconds, faults=None):
    history = History(two_nodes(redis, new_etagd), redis, seed)
    history.run(seconds, faults)
    history.finish()
    served = history.judge()
    told = f"seed {seed}: {history.counts}, {len(served)} answers, faults {history.faults}"
    print(told)
    assert not history.crashed, history.crashed
    assert not history.violations, (told, history.violations[:5])
    counts = history.counts
    # Seconds go by while Redis or a node stands still, but the run must have been one.
    assert min(len(served), counts["put"], counts["acknowledged"]) > seconds / 4, told


@pytest.mark.parametrize("seed", [1])
def test_nothing_stale_beyond_the_lease(redis, new_etagd, seed):
    play(redis, new_etagd, seed, 25)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_nothing_stale_beyond_the_lease_long(redis, new_etagd, seed):
    play(redis, new_etagd, seed, 120)


@pytest.mark.long
@pytest.mark.parametrize("fault", History.ALL, ids=lambda f: f.__name__)
def test_one_fault_again_and_again(redis, new_etagd, fault):
    play(redis, new_etagd, 100, 40, [fault])
