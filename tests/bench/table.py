# SPDX-License-Identifier: Apache-2.0
"""A lookup in the shared table, and what an entry takes: tests/bench/table_lookup, run several times."""
import re
import subprocess

from env import machine
from env.process import Failed
from report import Figure

NAME = "table"
TITLE = "The shared table"
ROUNDS, QUICK_ROUNDS = 7, 2
ENTRIES, QUICK_ENTRIES = 10_000_000, 1_000_000
LOOKUP = re.compile(r"^(\d+) entries, ([\w ,.]+?) +p50 +(\d+) +p99 +(\d+)(?: +mean +([\d.]+) ns)?$")
MEMORY = re.compile(r"^(\d+) bytes, (\d+) of (\d+) entries held: ([\d.]+) bytes each; a put takes (\d+) ns$")


def run(entries):
    """Lines of one run. "not all as expected" does not match any pattern and is found missing."""
    done = subprocess.run([machine.BUILD / "tests" / "bench" / "table_lookup", str(entries)], text=True, capture_output=True,
                          timeout=600)
    if done.returncode:
        raise Failed(f"table_lookup ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.splitlines()


def lookups():
    """{(entries, what): (p50, p99, mean or None)} of one run."""
    found = [m.groups() for m in map(LOOKUP.match, run(0)) if m]
    return {(int(n), what): (int(p50), int(p99), float(mean) if mean else None) for n, what, p50, p99, mean in found}


def memory(entries):
    found = [m.groups() for m in map(MEMORY.match, run(entries)) if m]
    size, held, asked, each, put = found[0]
    if held != asked:
        raise Failed(f"only {held} of {asked} entries were held")
    return Figure(f"memory per entry, {int(held):,} entries", [float(each)], ("<=", 160), "bytes",
                  facts=[f"{int(size):,} bytes in all; a put takes {put} ns"])


def measure(bench):
    rounds = [lookups() for _ in range(bench.rounds(ROUNDS, QUICK_ROUNDS))]

    def each(entries, what, part):
        return [r[entries, what][part] for r in rounds]

    warm = Figure("lookup, warm (10,000 entries), median", each(10_000, "hit, uniform", 0), ("<=", 150), "ns",
                  facts=[f"p99 {bench.spread(each(10_000, 'hit, uniform', 1))} ns; identification of the key included"])
    zipf = Figure("lookup, 1,000,000 entries, Zipf 0.99, mean", each(1_000_000, "hit, Zipf 0.99", 2), ("<=", 350), "ns",
                  facts=[f"{what}: p50 {bench.spread(each(1_000_000, what, 0))} ns" for what in
                         ("hit, Zipf 0.99", "hit, uniform", "miss", "prefetched, uniform", "cells marked, Zipf 0.99",
                          "cells cleaned, Zipf 0.99")])
    return [warm, zipf, memory(bench.rounds(ENTRIES, QUICK_ENTRIES))]
