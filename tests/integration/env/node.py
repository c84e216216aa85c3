# SPDX-License-Identifier: Apache-2.0
"""What httpd does with a node, without httpd: publish, ask, and look into the shared table."""
import struct
import subprocess

from . import machine
from .process import wait_for

LOOKUP = machine.BUILD / "tests" / "integration" / "tools" / "lookup"
UNDATED = -(2**63)
VARIANT = "0123456789abcdef"
LOG, EPOCH, HOSTS = "{etag}:log", "{etag}:epoch", "{etag}:hosts"
URL = "https://www.example.com/shop/products/42?lang=de"
TAGS, GROUPS = ("product-42", "catalog"), ("news desk",)


def entry(tag, kind="u", flags=0, last_modified=UNDATED):
    """The encoded value of etagd/lib/entry.h."""
    tag = tag.encode() if isinstance(tag, str) else tag
    return struct.pack("<BBHq", ord(kind), flags, len(tag), last_modified) + tag


def lookup(*args):
    return subprocess.run([LOOKUP, *map(str, args)], text=True, capture_output=True, check=True, timeout=30).stdout.strip()


class Watch:
    """A reader that reports every change of one key's state: (seconds on time.monotonic(), state)."""

    def __init__(self, socket, *keys):
        self.proc = subprocess.Popen([LOOKUP, "--watch", socket, *keys], stdout=subprocess.PIPE, text=True)
        self.lease_ms, self.at, self.index, self.state = 0, 0.0, 0, ""
        self.next()

    def next(self):
        line = self.proc.stdout.readline()
        if not line:
            raise EOFError("the watcher has ended")
        at, lease, index, self.state = line.rstrip("\n").split(" ", 3)
        self.at, self.lease_ms, self.index = int(at) / 1e9, int(lease), int(index)
        return self.at, self.state

    def until(self, state):
        """Waits for a state that begins with this; returns when it began. The test's own time limit holds."""
        while not self.state.startswith(state):
            self.next()
        return self.at

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Node:
    """One running etagd."""

    def __init__(self, etagd):
        self.etagd = etagd

    def __getattr__(self, name):
        return getattr(self.etagd, name)

    def snapshot(self):
        return tuple(lookup("--snapshot", self.socket).split())

    def put(self, key, tag, at=None, variant=VARIANT, names="", ttl_ms=0, capsule="", tags=(), groups=(), kind="u"):
        """ETAG PUT; at is an earlier snapshot()."""
        generation, seq = at or self.snapshot()
        return self.call("ETAG", "PUT", generation, seq, key, variant, names, ttl_ms, entry(tag, kind), capsule,
                         len(tags), *tags, len(groups), *groups)

    def fetch(self, key, variant=VARIANT):
        """Asks for the names and the entry, as a module does on a miss. 1: the table holds the entry."""
        self.call("ETAG", "FETCH", key)
        return self.call("ETAG", "FETCH", f"{key}#{variant}")

    def look(self, key, variant=VARIANT):
        """"HIT u "tag" capsule", "MISS", "STALE", "EXPIRED" or "VOID"."""
        return lookup(self.socket, f"{key}#{variant}")

    def look_names(self, key):
        return lookup(self.socket, key)

    def watch(self, key, variant=VARIANT):
        return Watch(self.socket, f"{key}#{variant}")

    def wait_lease(self, timeout=15.0):
        """Until it has a lease and may share entries: a new epoch begins with a new connection for them, and what is
        published before that one stands stays on its node."""
        self.etagd.wait_info("left_ms", lambda v: int(v) > 0, timeout)
        self.etagd.wait_info("redis_connected", 1, timeout)
        return self

    def epoch(self):
        return self.info("Store")["epoch"]


def two_nodes(redis, new_etagd):
    """Two nodes of one Redis, both with a lease."""
    return [Node(new_etagd(redis=redis, node=name).start()).wait_lease() for name in ("one", "two")]


def wait_value(redis, key):
    return wait_for(lambda: redis.call("GET", f"etag:e:{key}"), f"{key} in Redis")


def learn(nodes, tag='"v1"', url=URL, **how):
    """The first node publishes, all of them hold it."""
    how.setdefault("tags", TAGS)
    how.setdefault("groups", GROUPS)
    assert nodes[0].put(url, tag, **how) == "OK"
    for node in nodes:
        wait_for(lambda: node.fetch(url) == 1, "the entry on every node")
        assert node.look(url).startswith(f"HIT u {tag}")
