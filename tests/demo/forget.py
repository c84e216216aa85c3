# SPDX-License-Identifier: Apache-2.0
"""One redis-cli, kept open, and how long each node goes on believing a tag after its command."""
import subprocess
import threading
import time
from dataclasses import dataclass

from env import machine


class RedisCli:
    """The real redis-cli, reading commands as somebody would type them."""

    def __init__(self, redis):
        self.proc = subprocess.Popen([machine.program("redis-cli"), "-p", str(redis.port)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1)

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
    answer: str          # redis-cli's
    answered_us: float   # from the command's sending to redis-cli's answer
    after_us: list       # from the command's sending to each node's first 200 for the old tag
    bodies: list
    tags: list


class Watch(threading.Thread):
    """Asks one node again and again whether the old tag is still good, until it is not."""

    def __init__(self, server, target, tag, deadline):
        super().__init__(daemon=True)
        self.connection = server.connect()
        self.target, self.tag, self.deadline = target, tag, deadline
        self.asked = threading.Event()
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


def forget(cli, servers, target, tag, command):
    """Types command while every node is being asked; None for a node that never forgot."""
    answer, begun, done, watches = watch(servers, target, tag, lambda: cli.type(command))
    return Forgotten(answer, (done - begun) * 1e6, [w.at and (w.at - begun) * 1e6 for w in watches],
                     [w.response and w.response.body for w in watches], [w.response and w.response.etag for w in watches])
