# SPDX-License-Identifier: Apache-2.0
"""CPU time of a server and of all its children, in nanoseconds as the scheduler counts it.

/proc/PID/stat counts ticks of 10 ms, too coarse for short rounds. A thread's schedstat is exact while it
sleeps, as a server's threads do between two rounds.
"""
import os
from pathlib import Path


def available():
    return os.path.exists("/proc/self/task/self/schedstat") or os.path.exists("/proc/self/schedstat")


def tree(pid):
    """pid and its descendants now."""
    found = [pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
    return found


def snapshot(server):
    """Run time of each thread: {(pid, tid): ns}."""
    times = {}
    for pid in tree(server.pid):
        for tid in os.listdir(f"/proc/{pid}/task"):
            times[pid, tid] = int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[0])
    return times


class ThreadEnded(Exception):
    """A thread took its time with it."""


def spent(before, after):
    """Nanoseconds between two snapshots. A thread that ended in between would be missing from the sum."""
    gone = before.keys() - after.keys()
    if gone:
        raise ThreadEnded(f"{len(gone)} threads of the server ended during a round")
    return sum(ns - before.get(thread, 0) for thread, ns in after.items())
