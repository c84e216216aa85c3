# SPDX-License-Identifier: Apache-2.0
"""CPU time of a server and of all its children, in nanoseconds as the scheduler counts it; of a whole machine.

/proc/PID/stat counts ticks of 10 ms, too coarse for short rounds. A thread's schedstat is exact while it
sleeps, as a server's threads do between two rounds.
"""
import os
import time
from pathlib import Path

from env.process import wait_for


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


def wait_seconds(seconds):
    """For time to pass while something is watched."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until, "time to pass", seconds + 5)


def machine_busy(seconds=1.0):
    """The part of the machine, 0 to 1, that is taken while we do nothing; stolen time counts."""

    def ticks():
        user, nice, system, idle, iowait, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        return user + nice + system + sum(rest), idle + iowait

    before = ticks()
    wait_seconds(seconds)
    busy, idle = (b - a for a, b in zip(before, ticks()))
    return busy / max(1, busy + idle)
