# SPDX-License-Identifier: Apache-2.0
"""One redis-cli, kept open, and how long each node goes on believing a tag after its command."""
import subprocess
import threading
import time
from dataclasses import dataclass

from env import machine
from env.process import wait_for


class RedisCli:
    """The real redis-cli, reading commands as somebody would type them."""

    def __init__(self, redis):
        self.proc = subprocess.Popen([machine.program("redis-cli"), "-p", str(redis.port)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1)
        self.type("PING")  # it connects with its first command

    def type(self, line):
        """Sends one line; returns the first line of the answer."""
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        return self.proc.stdout.readline().strip()

    def close(self):
        self.proc.stdin.close()
        self.proc.wait(10)


@dataclass
class Forgotten:
    """Times in microseconds from the command's sending; None for never."""

    answered: float  # redis-cli's answer
    tables: list     # each etagd's own stamp: the record is in its table, the tag is dead
    seen: list       # the first 200 for the old tag that a client saw, per node
    bodies: list
    tags: list


class Watch(threading.Thread):
    """Asks one node every few milliseconds whether the old tag is still good, until it is not."""

    PAUSE = 0.002  # without one, three of these would keep a small machine from doing anything else

    def __init__(self, server, target, tag, deadline):
        super().__init__(daemon=True)
        self.connection = server.connect()
        self.target, self.tag, self.deadline = target, tag, deadline
        self.asked, self.pause = threading.Event(), threading.Event()
        self.at = self.response = None

    def run(self):
        with self.connection as c:
            while time.monotonic() < self.deadline:
                response = c.get(self.target, {"If-None-Match": self.tag})
                now = time.monotonic()
                if response.status != 304:
                    self.at, self.response = now, response
                    self.asked.set()
                    return
                self.asked.set()
                self.pause.wait(self.PAUSE)


def watch(servers, target, tag, act, timeout=10.0):
    """Starts watching, then act(); (what act returned, when it began, when it returned, watches)."""
    watches = [Watch(s, target, tag, time.monotonic() + timeout) for s in servers]
    for w in watches:
        w.start()
    for w in watches:
        w.asked.wait(timeout)
    begun = time.monotonic()
    got = act()
    done = time.monotonic()
    for w in watches:
        w.join(timeout + 5)
    return got, begun, done, watches


def applied(etagd, identity, begun):
    """When a node's table had the record of the log, by its own clock, which is ours too."""
    stamp = wait_for(lambda: etagd.call("ETAG", "APPLIED", identity), f"{etagd.folder} to apply {identity}")
    return stamp / 1e3 - begun * 1e6


def forget(cli, cluster, target, tag, command):
    """Types command while every node is being asked."""
    identity, begun, done, watches = watch(cluster.ours, target, tag, lambda: cli.type(command))
    return Forgotten((done - begun) * 1e6, [applied(n.etagd, identity, begun) for n in cluster.nodes],
                     [w.at and (w.at - begun) * 1e6 for w in watches],
                     [w.response and w.response.body for w in watches], [w.response and w.response.etag for w in watches])
