# SPDX-License-Identifier: Apache-2.0
"""A private Redis Cluster, made as redis-cli --cluster create makes it, and a client that follows redirections."""
import contextlib
import re
import subprocess

from . import machine
from .gate import Gate
from .node import LOG
from .process import wait_for
from .redis import REPLICA_LINES, There
from .resp import Closed, Resp, RespError

TROUBLE = (OSError, RespError, Closed)
ETAG_SLOT = 1285  # of {etag}


class Isolation:
    """Cuts a Cluster's first master, and the node "inside", off from everybody else."""

    def __init__(self):
        self.server = self.id = None

    def begin(self, server):
        self.server, self.id = server, server.call("CLUSTER", "MYID")

    def lets(self, server):
        """Its node's connections pass, and among the others everything but these."""
        return lambda first: (b"etagd:inside:" in first) == (server is self.server)

    def lets_bus(self, server):
        """A message's sender stands behind 40 bytes (cluster.h of Redis)."""
        return lambda first: server is not self.server and first[40:80] != self.id


class Cluster:
    """servers: the masters, then their replicas. ways: clients and nodes reach every server by way of a Gate."""

    def __init__(self, new_redis, masters=3, replicas=1, timeout=1500, options=(), ways=None, certificate=None):
        self.certificate = certificate  # env/tls.py
        self.masters, self.replicas, self.ways = masters, replicas, ways
        self.servers, self.way, self.bus = [], {}, {}
        for _ in range(masters * (1 + replicas)):
            bus = machine.free_port()
            server = new_redis(options=[
                "cluster-enabled yes", f"cluster-port {bus}", f"cluster-node-timeout {timeout}",
                "repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
                *REPLICA_LINES, *(["tls-cluster yes"] if certificate else []), *options], certificate=certificate)
            self.servers.append(server)
            if ways:
                self.way[server], self.bus[server] = Gate(server.port, ways.lets(server)), Gate(bus, ways.lets_bus(server))
                server.options += [f"cluster-announce-port {self.way[server].port}",
                                   f"cluster-announce-bus-port {self.bus[server].port}"]

    def start(self):
        for server in self.servers:
            server.start()
        if self.ways:
            self.ways.begin(self.servers[0])
        at = [self.address(server) for server in self.servers]
        self.tool("create", *at, "--cluster-replicas", str(self.replicas))
        self.wait_settled()
        return self

    def tool(self, *args, timeout=60):
        """redis-cli --cluster"""
        tls = map(str, self.certificate.cli() if self.certificate else [])
        command = [machine.program("redis-cli"), *tls, "--cluster", *args, "--cluster-yes"]
        done = subprocess.run(command, text=True, capture_output=True, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cli(self, *args, server=None):
        """redis-cli -c"""
        command = [machine.program("redis-cli"), "-c", "-p", str((server or self.servers[-1]).port), *map(str, args)]
        return subprocess.run(command, text=True, capture_output=True, check=True, timeout=30).stdout.strip()

    # ---- who is who ----

    def address(self, server):
        return f"127.0.0.1:{self.way[server].port if self.way else server.port}"

    def url(self, *servers):
        scheme = "clusters://" if self.certificate else "cluster://"
        return scheme + ",".join(self.address(s) for s in servers or self.servers[:self.masters])

    def there(self, *servers):
        return There(self.url(*servers), self.servers[0].secret)

    @staticmethod
    def view(server):
        """CLUSTER NODES as lists of words, the server's own line first."""
        lines = [line.split() for line in server.call("CLUSTER", "NODES").decode().splitlines()]
        return sorted(lines, key=lambda words: "myself" not in words[2])

    def id_of(self, server):
        return server.call("CLUSTER", "MYID").decode()

    def has_slot(self, server, slot=ETAG_SLOT):
        """By what the server says itself."""
        try:
            words = self.view(server)[0]
        except (*TROUBLE, IndexError):
            return False
        ranges = [re.fullmatch(r"(\d+)(?:-(\d+))?", w) for w in words[8:]]
        return any(int(r[1]) <= slot <= int(r[2] or r[1]) for r in ranges if r)

    def running(self):
        return [s for s in self.servers if s.running]

    def master(self, slot=ETAG_SLOT):
        return next((s for s in self.running() if self.has_slot(s, slot)), None)

    def other_master(self):
        """One that does not have the log."""
        return next(s for s in self.running() if self.view(s)[0][8:] and not self.has_slot(s))

    def replicas_of(self, server):
        """Of running servers, those that follow this one."""
        id = self.id_of(server)
        return [s for s in self.running() if s is not server and self.view(s)[0][3] == id]

    def wait_settled(self, timeout=60):
        """Until all that run are of one mind, and every replica is in sync."""
        def settled():
            minds = set()
            try:
                for server in self.running():
                    lines = [w for w in self.view(server) if "noaddr" not in w[2]]
                    wrong = [w for w in lines if "fail" in w[2] or "handshake" in w[2] or w[7] != "connected"]
                    role = server.call("ROLE")
                    if (b"cluster_state:ok" not in server.call("CLUSTER", "INFO") or len(lines) != len(self.servers)
                            or (wrong and len(self.running()) == len(self.servers))
                            or (role[0] == b"slave" and role[3] != b"connected")):
                        return False
                    minds.add(frozenset((w[0], w[3], "slave" in w[2], *w[8:]) for w in lines))
                return len(minds) == 1
            except (*TROUBLE, IndexError):
                return False
        wait_for(settled, "the Cluster to be of one mind", timeout)

    # ---- a client ----

    def call(self, *args, wait=0):
        """One command with its key, or one without; wait: replicas that must confirm it."""
        at, asking = (self.running() or self.servers)[0], False
        for _ in range(20):
            with at.client() as c:
                try:
                    if asking:
                        c.call("ASKING")
                    got = c.call(*args)
                    if wait and c.call("WAIT", wait, 1000) < wait:
                        raise RespError("too few replicas have confirmed it")
                    return got
                except RespError as e:
                    code, _, rest = str(e).partition(" ")
                    if code not in ("MOVED", "ASK"):
                        raise
                    port, asking = int(rest.rsplit(":", 1)[1]), code == "ASK"
                    at = next(s for s in self.servers if port in (s.port, self.way[s].port if self.way else 0))
        raise RespError("redirected again and again")

    def client(self):
        return contextlib.nullcontext(self)

    def invalidate(self, *fields):
        """As a deployment script makes sure of it: XADD, then WAIT on the same connection."""
        return self.call("XADD", LOG, "*", *fields, wait=self.replicas).decode()

    # ---- changes ----

    def begin_move(self, slot, source, target):
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot, source, target, most=None):
        keys = source.call("CLUSTER", "GETKEYSINSLOT", slot, most or 10000)
        for key in keys:
            source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        return keys

    def end_move(self, slot, source, target):
        while self.move_keys(slot, source, target):
            pass
        for server in (target, source):
            server.call("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def move_slot(self, slot, source, target):
        """By hand, as redis-cli --cluster reshard does it."""
        self.begin_move(slot, source, target)
        self.end_move(slot, source, target)

    def gates(self):
        return [*self.way.values(), *self.bus.values()]
