# SPDX-License-Identifier: Apache-2.0
"""From the reading of XADD's reply to the last of three nodes that forgets.

Each etagd notes when a record's effect was in its table (CLOCK_MONOTONIC, read by ETAG APPLIED id): from
then on no lookup finds the old tag. Every tenth invalidation is checked over HTTP: a page that all three
nodes answer early is rewritten, then asked for with its old tag until all three answer with the new one; a
304 to a request that was sent after the node's stamp would prove the stamp wrong, and there is no figure.
"""
import functools
import os
import random
import time

import cpu
import servers
import stats
from env.process import Failed, wait_for
from env.resp import Resp
from nodes import NODES, SITE, Nodes
from report import Figure

NAME = "invalidation"
TITLE = "XADD's reply to the last of three nodes that forgets"
COUNT, QUICK_COUNT = 1000, 100
MEAN_GAP = 0.020
CHECK_EVERY = 10
CONFIG = """\
ETagCacheStatus On
ProxyPass /app/ http://127.0.0.1:{port}/
<Location /app/>
ETagEarly On
</Location>
"""


class Page:
    """A page behind the three nodes, and one connection to each."""

    def __init__(self, nodes, backend):
        self.backend, self.version = backend, 0
        self.connections = [server.connect() for server in nodes.httpd]
        self.rewrite()

    def rewrite(self):
        """Other content, other tag: size and date change."""
        self.version += 1
        staged = self.backend.add("staged", b"x" * (1000 + self.version), 1_700_000_000 + self.version)
        os.rename(staged, self.backend.docs / "page.html")

    def learned(self):
        """The tag, once all three nodes answer it before the handler."""
        tag = self.connections[0].get("/app/page.html").etag

        def early(connection):
            got = connection.get("/app/page.html", {"If-None-Match": tag})
            return got.status == 304 and "; hit" in (got.header("Cache-Status") or "")

        for connection in self.connections:
            wait_for(lambda c=connection: early(c), "an early 304")
        return tag

    def forgotten(self, tag):
        """Asks in turn until no node answers 304. Per node: (sent, received, status) of each answer, in ns."""
        seen = [[] for _ in self.connections]
        waiting = set(range(NODES))
        while waiting:
            for node in list(waiting):
                sent = time.monotonic_ns()
                status = self.connections[node].get("/app/page.html", {"If-None-Match": tag}).status
                seen[node].append((sent, time.monotonic_ns(), status))
                if status != 304:
                    waiting.discard(node)
                elif len(seen[node]) > 20000:
                    raise Failed(f"node {node} goes on with the old tag")
        return seen


class Invalidations:
    def __init__(self, nodes, page):
        self.nodes, self.page = nodes, page
        self.redis = Resp(("127.0.0.1", nodes.redis.port))
        self.daemons = [daemon.client() for daemon in nodes.etagd]
        self.latencies, self.checked, self.unread = [], [], []

    def add(self, target):
        """One XADD; the time its reply was read, in ns, and the id."""
        log_id = self.redis.call("XADD", "{etag}:log", "*", "url", SITE + target)
        return time.monotonic_ns(), log_id

    def stamps(self, log_id):
        found = [daemon.call("ETAG", "APPLIED", log_id) for daemon in self.daemons]
        return found if all(found) else None

    def plain(self, number):
        self.unread.append(self.add(f"/app/other-{number}"))

    def over_http(self):
        """One with witnesses."""
        tag = self.page.learned()
        self.page.rewrite()
        read, log_id = self.add("/app/page.html")
        seen = self.page.forgotten(tag)
        stamps = wait_for(lambda: self.stamps(log_id), f"{log_id} to be applied")
        for stamp, answers in zip(stamps, seen):
            late = [a for a in answers if a[2] == 304 and a[0] > stamp]
            if late:
                raise Failed(f"{len(late)} answers of 304 to requests sent after the record was applied")
        self.latencies.append((max(stamps) - read) / 1e6)
        self.checked.append((max(answers[-1][1] for answers in seen) - read) / 1e6)

    def collect(self):
        """Stamps of those that were not looked at yet: each daemon keeps the last 4,096."""
        for read, log_id in self.unread:
            stamps = wait_for(lambda i=log_id: self.stamps(i), f"{log_id} to be applied")
            self.latencies.append((max(stamps) - read) / 1e6)
        self.unread = []

    def run(self, count):
        chance, due = random.Random(1), time.monotonic()
        for number in range(count):
            due += chance.expovariate(1 / MEAN_GAP)
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)  # the arrivals are what is being made
            else:
                due = time.monotonic()  # a check over HTTP took longer than the gap
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                self.over_http()
            else:
                self.plain(number)
            if len(self.unread) >= 1000:
                self.collect()
        self.collect()


def three_nodes(bench, config=""):
    backend = bench.start(servers.BenchHttpd(bench.own_folder("backend"), own=False))
    return Nodes(bench, True, config + CONFIG.format(port=backend.port), ("proxy", "proxy_http")), backend


def carry_out(bench, nodes, backend, count):
    """So many invalidations, after one that does not count; they, and what they took of the machine."""
    run = Invalidations(nodes, Page(nodes, backend))
    parts = [nodes.redis, *nodes.etagd]
    run.over_http()
    run.latencies.clear()
    run.checked.clear()
    before, began = [cpu.snapshot(p) for p in parts], time.monotonic()
    run.run(count)
    wall = time.monotonic() - began
    busy = sum(cpu.spent(b, cpu.snapshot(p)) for b, p in zip(before, parts)) / 1e9 / wall / len(bench.cpus)
    if busy > 0.3:
        raise Failed(f"Redis and the daemons took {busy:.0%} of the machine: no latency at a moderate load")
    return run, busy


def quantile(run, q, bar):
    return Figure(f"p{100 * q:g}", run.latencies, bar, "ms", functools.partial(stats.quantile, q=q), "invalidations")


def figures(bench, run, busy):
    p50, p99 = quantile(run, 0.5, ("<=", 1)), quantile(run, 0.99, ("<=", 10))
    p50.facts += [f"Poisson arrivals, mean gap {MEAN_GAP * 1000:.0f} ms;"
                  f" Redis and three etagd took {busy:.1%} of the machine",
                  f"{len(run.checked)} checked over HTTP, no 304 after the stamp; last new answer received after"
                  f" {bench.spread(run.checked)} ms"]
    p99.facts.append("negative: the tables knew before the reply to XADD was read")
    return [p50, p99]


def measure(bench):
    nodes, backend = three_nodes(bench)
    return figures(bench, *carry_out(bench, nodes, backend, bench.rounds(COUNT, QUICK_COUNT)))
