# SPDX-License-Identifier: Apache-2.0
"""How many nodes one Redis carries: 50 etagd, and beside them simulated nodes, more and more of them.

A simulated node is etagd's own follower without the rest (followers.c): the same three connections, the same reads of
the log, the same renewals. Records come at random, two a second on average, each of which Redis hands to every node.
Delivery is counted from before the XADD is sent until a follower has the record, or until it is in a real node's
table. Everything shares this machine: what it shows is a lower bound.
"""
import random
import subprocess
import time

import cpu
import stats
from env import machine
from env.process import Failed, wait_for
from env.redis import Redis
from env.resp import Resp
from nodes import SITE
from report import Figure

NAME = "many-nodes"
TITLE = "Nodes of one Redis: 50 etagd, and simulated ones beside them"
REAL, QUICK_REAL = 50, 5
SIMULATED, QUICK_SIMULATED = (0, 500, 1000, 2000), (0, 100)
IN_ONE = 500  # simulated nodes of one process, for the sake of its descriptors
SECONDS, QUICK_SECONDS = 40, 5
MEAN_GAP = 0.5
SMALL = "TableSize 4M\nHashThreads 1\n"


class Simulated:
    """Some simulated nodes, each with a lease."""

    def __init__(self, redis, count, number):
        self.proc = subprocess.Popen([machine.BUILD / "tests" / "bench" / "followers", redis.url, str(count), f"sim-{number}"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self):
        if self.proc.stdout.readline() != "ready\n":
            raise Failed("the simulated nodes ended before they had a lease")

    def report(self):
        """(renewals, leases lost, [(milliseconds, records)]) since the last report."""
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        words = self.proc.stdout.readline().split()
        pairs = [word.split(":") for word in words[4:]]
        return int(words[1]), int(words[3]), [(int(us) / 1000, int(n)) for us, n in pairs]

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait(30)
        self.proc.stdout.close()


def weighted_quantile(pairs, q):
    """The least value that this part of all does not exceed; pairs: (value, how often)."""
    pairs = sorted(pairs)
    left = q * sum(n for _, n in pairs)
    for value, n in pairs:
        left -= n
        if left <= 0:
            return value
    raise Failed("nothing was delivered")


class Cluster:
    def __init__(self, bench, real):
        self.bench = bench
        self.redis = bench.start(Redis(bench.own_folder("redis")))
        self.real = [bench.etagd(redis=self.redis, node=f"node{n}", config=SMALL) for n in range(real)]
        self.daemons = [daemon.client() for daemon in self.real]
        self.simulated, self.number = [], 0
        for daemon in self.real:
            daemon.wait_info("left_ms", lambda left: int(left) > 0)

    def grow(self, count):
        """Up to so many simulated nodes."""
        have = sum(n for _, n in self.simulated)
        started = []
        while have < count:
            more = min(IN_ONE, count - have)
            started.append((Simulated(self.redis, more, len(self.simulated) + len(started)), more))
            have += more
        for group, _ in started:
            group.ready()
        self.simulated += started

    def stop(self):
        for group, _ in self.simulated:
            group.stop()

    def renewals(self):
        return sum(int(daemon.info("Lease")["renewals"]) for daemon in self.daemons)

    def append(self, seconds):
        """Records for so long: [(sent in ns, id)]."""
        chance, until, sent = random.Random(1), time.monotonic() + seconds, []
        with Resp(("127.0.0.1", self.redis.port)) as c:
            while time.monotonic() < until:
                time.sleep(chance.expovariate(1 / MEAN_GAP))  # the arrivals are what is being made
                self.number += 1
                now = time.monotonic_ns()
                record = ("url", f"{SITE}/products/{self.number}", "x-sent", now)
                sent.append((now, c.call("XADD", "{etag}:log", "*", *record)))
        return sent

    def applied(self, log_id):
        stamps = [daemon.call("ETAG", "APPLIED", log_id) for daemon in self.daemons]
        return stamps if all(stamps) else None

    def in_tables(self, sent):
        """Milliseconds of each record and real node."""
        return [(stamp - at) / 1e6 for at, log_id in sent
                for stamp in wait_for(lambda i=log_id: self.applied(i), f"{log_id} to be applied", 30)]

    def measure(self, seconds):
        """One figure for as many nodes as there are now."""
        for group, _ in self.simulated:
            group.report()
        renewals, busy, began = self.renewals(), cpu.snapshot(self.redis), time.monotonic()
        sent = self.append(seconds)
        wall = time.monotonic() - began
        busy = cpu.spent(busy, cpu.snapshot(self.redis)) / 1e9 / wall
        renewals = self.renewals() - renewals
        real = self.in_tables(sent)
        reports = [group.report() for group, _ in self.simulated]
        return self.figure(real, reports, (renewals + sum(r[0] for r in reports)) / wall, busy, len(sent))

    def figure(self, real, reports, renewals, busy, records):
        count = sum(n for _, n in self.simulated)
        delivered, lost = [pair for r in reports for pair in r[2]], sum(r[1] for r in reports)
        if sum(n for _, n in delivered) != records * count:
            raise Failed(f"{records} records did not reach each of {count} simulated nodes")
        figure = Figure(f"{len(self.real)} etagd and {count:,} simulated: p99 of delivery to etagd's tables",
                        [stats.quantile(real, 0.99)], unit="ms",
                        facts=[f"median {stats.median(real):.2f} ms; {records} records"])
        if count:
            figure.facts.append("to simulated nodes: " + ", ".join(f"{name} {weighted_quantile(delivered, q):.2f} ms" for name, q in
                                                                   (("median", 0.5), ("p99", 0.99))) +
                                f"; {lost} of their leases ran out")
        figure.facts.append(f"{renewals:,.0f} renewals a second; Redis took {busy:.0%} of one processor")
        return figure


def measure(bench):
    cluster = Cluster(bench, bench.rounds(REAL, QUICK_REAL))
    figures = []
    try:
        for count in bench.rounds(SIMULATED, QUICK_SIMULATED):
            cluster.grow(count)
            figures.append(cluster.measure(bench.rounds(SECONDS, QUICK_SECONDS)))
    finally:
        cluster.stop()
    return figures
