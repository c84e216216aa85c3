# SPDX-License-Identifier: Apache-2.0
"""A node comes back after it missed 100,000 invalidations.

A gate between it and Redis is shut as in a partition; the records are appended; once its lease has run out the gate
is opened, which ends its connections. From then on until its lease is renewed: that proves that every record is in
its table (coherence.h, rule 4), and so do the stamp of the last one and the look-ups that follow. One page was
learned before and named by no record, another is named by the last one.
"""
import time

from env.gate import Gate
from env.node import VARIANT, Node, Watch
from env.process import Failed, wait_for
from env.redis import Redis
from env.resp import Resp, RespError, encode
from nodes import SITE
from report import Figure

NAME = "catch-up"
TITLE = "A node that missed 100,000 invalidations"
MISSED = 100_000
ROUNDS, QUICK_ROUNDS = 9, 2
LONG_SECONDS, LONG_ROUNDS, QUICK_LONG_ROUNDS = 12, 4, 1
PIECE = 10_000  # records of one pipeline
KEPT = 16


def append(redis, first, last):
    """That many records, the last one about a page; its id."""
    with Resp(redis.socket) as c:
        for start in range(0, MISSED, PIECE):
            urls = [f"{SITE}/products/{first + n}" for n in range(start, start + PIECE)]
            if start + PIECE == MISSED:
                urls[-1] = last
            c.send_raw(b"".join(encode("XADD", "{etag}:log", "*", "url", url) for url in urls))
            replies = [c.read() for _ in urls]
            if any(isinstance(r, RespError) for r in replies):
                raise Failed(f"an XADD was refused: {replies}")
    return replies[-1]


class Away:
    """One node, and its way to Redis."""

    def __init__(self, bench):
        self.redis = bench.start(Redis(bench.own_folder("redis")))
        self.gate = Gate(self.redis.port)
        self.node = Node(bench.etagd(redis=f"redis://127.0.0.1:{self.gate.port}/0", node="away")).wait_lease()
        self.added = 0

    def lapsed(self):
        return int(self.node.info("Lease")["left_ms"]) == 0

    def learn(self):
        """Keys of pages that no record will name, and of one that will be named."""
        keys = [f"https://{SITE}/{name}-{self.added}" for name in ("named", *(f"kept-{n}" for n in range(KEPT)))]
        for key in keys:
            if self.node.put(key, '"v1"') != "OK" or not self.node.look(key).startswith("HIT"):
                raise Failed(f"{key} was not taken")
        return keys[0], keys[1:]

    def round(self, seconds=0):
        """Seconds from the opening of the gate to the renewed lease; it was shut for at least so many."""
        named, kept = self.learn()
        self.gate.close()
        closed = time.monotonic()
        last = append(self.redis, self.added, named.removeprefix("https://"))
        self.added += MISSED
        wait_for(lambda: self.lapsed() and time.monotonic() - closed >= seconds, "the lease to run out", seconds + 10)
        with Watch(self.node.socket, *(f"{key}#{VARIANT}" for key in kept)) as watch:
            opened = time.monotonic()
            self.gate.open()
            took = watch.until("HIT") - opened
        if took < 0:
            raise Failed("a node without lease believes its table")
        self.check(last, opened + took, named)
        return took

    def check(self, last, renewed, named):
        stamp = self.node.call("ETAG", "APPLIED", last)
        if not stamp or stamp / 1e9 > renewed:
            raise Failed("the lease was renewed before the last record was in the table")
        if self.node.look(named).startswith("HIT"):
            raise Failed("what the last record names is still believed")


def measure(bench):
    away = Away(bench)
    took = [away.round() for _ in range(bench.rounds(ROUNDS, QUICK_ROUNDS))]
    longer = [away.round(LONG_SECONDS) for _ in range(bench.rounds(LONG_ROUNDS, QUICK_LONG_ROUNDS))]
    away.gate.end()
    return [Figure("from the way open to lease and table", took, ("<=", 2), "s",
                   facts=["the way was shut until the lease had run out"]),
            Figure(f"the same after {LONG_SECONDS} s, with the pause of up to 2 s between attempts to connect", longer,
                   unit="s")]
