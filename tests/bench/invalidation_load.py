# SPDX-License-Identifier: Apache-2.0
"""invalidation.py's measurement, ten times as many, while the three nodes serve at 30 % of what they can.

Capacity is what h2load gets from the three at once when nobody holds it back, on this machine, which it shares
with them; then it is paced. The load is an early 304 of a page that stays: httpd, table and etagd are at work
as on a site in steady state.
"""
import math
import re
import subprocess

import invalidation
from env import machine
from env.process import Failed, wait_for
from nodes import NODES

NAME = "invalidation-load"
TITLE = "XADD's reply to the last of three nodes that forgets, while they serve at 30 % of capacity"
COUNT, QUICK_COUNT = 10_000, 100
PART = 0.3
CONNECTIONS = 4  # of each node
CAPACITY_SECONDS = 5
LONGER = 1.4  # than the gaps alone: checks over HTTP take their time
# Room for connections that are kept alive beside those of the measurement, and no child that comes or goes.
THREADS = "ServerLimit 1\nStartServers 1\nThreadsPerChild 32\nMaxRequestWorkers 32\nMaxSpareThreads 32\n"
TARGET = "/app/stays.html"


class Load:
    """h2load on each node for so many seconds; rate: requests a second from all of them, None: as many as they can."""

    def __init__(self, nodes, tag, seconds, rate=None):
        self.running = [self._begin(server, tag, seconds, rate) for server in nodes.httpd]

    @staticmethod
    def _begin(server, tag, seconds, rate):
        command = [machine.program("h2load"), "--h1", "-c", str(CONNECTIONS), "-t", "1", "-D", str(seconds),
                   "-H", f"If-None-Match: {tag}"]
        if rate:
            command += ["--rps", str(max(1, round(rate / NODES / CONNECTIONS)))]
        return subprocess.Popen([*command, server.url(TARGET)], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def goes_on(self):
        return all(p.poll() is None for p in self.running)

    def finish(self):
        """Requests answered per second by all nodes."""
        return sum(self._rate(p.communicate()[0]) for p in self.running)

    @staticmethod
    def _rate(text):
        rate = re.search(r"^finished in [\d.]+s, ([\d.]+) req/s", text, re.MULTILINE)
        answers = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text, re.MULTILINE)
        if not rate or not answers or answers.group(1, 3, 4) != ("0", "0", "0"):
            raise Failed(f"a load of 304 was expected:\n{text}")
        return float(rate.group(1))


def learned(nodes):
    """The tag of the page that stays, once every node answers it before the handler."""
    tag = nodes.httpd[0].get(TARGET).etag
    for server in nodes.httpd:
        wait_for(lambda s=server: "; hit" in (s.get(TARGET, {"If-None-Match": tag}).header("Cache-Status") or ""),
                 "an early 304")
    return tag


def measure(bench):
    nodes, backend = invalidation.three_nodes(bench, THREADS)
    backend.add("stays.html", bench.content(10 << 10))
    tag = learned(nodes)
    capacity = Load(nodes, tag, CAPACITY_SECONDS).finish()
    count = bench.rounds(COUNT, QUICK_COUNT)
    load = Load(nodes, tag, math.ceil(count * invalidation.MEAN_GAP * LONGER) + 3, capacity * PART)
    run, busy = invalidation.carry_out(bench, nodes, backend, count)
    if not load.goes_on():
        raise Failed("the load was over before the invalidations were")
    rate = load.finish()
    p50, p99 = invalidation.figures(bench, run, busy)
    p50.facts.append(f"capacity {capacity:,.0f} early 304s a second from three nodes; load {rate:,.0f} a second,"
                     f" {rate / capacity:.0%}")
    return [p50, p99, invalidation.quantile(run, 0.999, None)]
