# SPDX-License-Identifier: Apache-2.0
"""A history of what nodes served while a Redis Cluster lost masters and moved slots, and the judge of it.

The origin counts versions of a few resources. Publishers learn them, somebody invalidates, something
breaks, and a reader of each node's table writes down which version it would have answered with, and
until when. The judge: no version is served longer than a lease after the invalidation that ended it was
acknowledged; in the end every node that answers, answers with the newest version.
"""
import random
import subprocess
import threading
import time

from .cluster import ETAG_SLOT
from .node import LOG, VARIANT, Watch
from .process import wait_for
from .resp import Closed, RespError

LEASE = 2.0
SLACK = 0.15  # of the watchers, which share two processors with everything else
URLS = [f"https://h{i % 2}.example/d{i % 3}/p{i}" for i in range(6)]
TROUBLE = (OSError, RespError, Closed, EOFError, subprocess.CalledProcessError)


def scope_free(url):
    return url.split("://", 1)[1]


class Origin:
    """Versions, and for each the moment at which the invalidation that ended it was acknowledged."""

    def __init__(self):
        self.lock = threading.Lock()
        self.version = dict.fromkeys(URLS, 1)
        self.ended = {url: {} for url in URLS}  # version -> acknowledged at

    def bump(self, urls):
        with self.lock:
            old = {url: self.version[url] for url in urls}
            for url in urls:
                self.version[url] += 1
        return old

    def acknowledged(self, old, at):
        with self.lock:
            for url, version in old.items():
                for v in range(1, version + 1):
                    self.ended[url].setdefault(v, at)


class Reader(threading.Thread):
    """Writes down (url, version, from, until) for every answer a node's table would give."""

    def __init__(self, socket):
        super().__init__(daemon=True)
        self.watch = Watch(socket, *[f"{url}#{VARIANT}" for url in URLS])
        self.open, self.served = {}, []
        self.start()

    def run(self):
        try:
            while True:
                self.note(self.watch.index, self.watch.at, self.watch.state)
                self.watch.next()
        except (EOFError, ValueError):
            pass

    def note(self, index, at, state):
        if index in self.open:
            version, since = self.open.pop(index)
            self.served.append((URLS[index], version, since, at))
        if state.startswith('HIT u "v'):
            self.open[index] = (int(state.split('"')[1][1:]), at)

    def close(self):
        now = time.monotonic()
        self.watch.close()
        self.join()
        for index in list(self.open):
            self.note(index, now, "end")


class Confirmed:
    """The Cluster, for a History: a record counts once the replicas have it."""

    def __init__(self, cluster):
        self.cluster = cluster

    def call(self, *args):
        return self.cluster.call(*args, wait=self.cluster.replicas if args[0] == "XADD" else 0)

    def client(self):
        return self.cluster.client()


class History:
    def __init__(self, cluster, nodes, seed):
        self.cluster, self.nodes, self.redis, self.seed = cluster, nodes, Confirmed(cluster), seed
        self.origin, self.stop = Origin(), threading.Event()
        self.readers = {n: Reader(n.socket) for n in nodes}
        self.old_readers, self.faults, self.counts = [], [], dict(put=0, acknowledged=0, local=0)
        self.violations, self.crashed = [], []
        self.threads = [threading.Thread(target=self.guard, args=(f, *a), daemon=True)
                        for f, *a in [(self.operate,), *[(self.publish, n) for n in nodes]]]

    def guard(self, loop, *args):
        try:
            loop(*args)
        except Exception as e:  # a checker that died has checked nothing
            self.crashed.append(repr(e))

    # ---- traffic ----

    def publish(self, node):
        rnd = random.Random(f"{self.seed} {self.nodes.index(node)}")
        while not self.stop.is_set():
            url = rnd.choice(URLS)
            try:
                at = node.snapshot()  # before the origin is asked
                version = self.origin.version[url]
                if rnd.random() < 0.3:
                    time.sleep(rnd.random() * 0.05)  # a slow handler
                if node.fetch(url) == 0 and node.put(url, f'"v{version}"', at=at, tags=[f"t{url[-1]}"]) == "OK":
                    self.counts["put"] += 1
            except TROUBLE:
                self.stop.wait(0.05)  # the node is being restarted

    def operate(self):
        rnd = random.Random(self.seed)
        while not self.stop.is_set():
            url = rnd.choice(URLS)
            # Seldom enough that something stale would live to be seen.
            kind = rnd.choices(["url", "tag", "local", "prefix", "host", "all"], [6, 6, 4, 2, 2, 1])[0]
            urls = [url] if kind in ("url", "tag", "local") else [
                u for u in URLS if kind == "all" or scope_free(u).split("/")[0] == scope_free(url).split("/")[0]
                and (kind == "host" or u.split("/")[3] == url.split("/")[3])]
            old = self.origin.bump(urls)
            if kind == "local":
                self.by_node(rnd.choice(self.nodes), url, old)
            else:
                self.by_hand(kind, url, old)
            self.stop.wait(rnd.random() * 0.8)

    def by_hand(self, kind, url, old):
        bare = scope_free(url)
        argument = {"url": bare, "tag": f"t{url[-1]}", "prefix": bare.rsplit("/", 1)[0] + "/",
                    "host": bare.split("/")[0], "all": "1"}[kind]
        while not self.stop.is_set():
            try:
                self.redis.call("XADD", LOG, "*", kind, argument)
            except TROUBLE:
                self.stop.wait(0.05)
                continue
            self.origin.acknowledged(old, time.monotonic())
            self.counts["acknowledged"] += 1
            return

    def by_node(self, node, url, old):
        """What a node invalidates it never serves again itself; the others once it is in the log."""
        try:
            node.call("ETAG", "INVALIDATE", "url", scope_free(url))
            seen = node.look(url)
            if seen.startswith('HIT u "v') and int(seen.split('"')[1][1:]) <= old[url]:
                self.violations.append(("own write", url, seen, old))
            self.counts["local"] += 1
        except TROUBLE:
            pass  # the node went away; the newest version must come out in the end all the same
        # Somebody made sure by hand, so that the judge has a moment to hold on to.
        self.by_hand("url", url, old)

    # ---- faults ----

    def lose(self, server, how):
        """Until a replica has taken its place."""
        slot = next(s for s in range(16384) if self.cluster.has_slot(server, s))
        getattr(server, how)()
        wait_for(lambda: any(self.cluster.has_slot(s, slot) for s in self.cluster.running() if s is not server),
                 "a promotion", 40)
        server.start() if how == "kill" else server.resume()
        self.cluster.wait_settled()

    def kill_master_of_log(self):
        self.lose(self.cluster.master(), "kill")

    def kill_other_master(self):
        self.lose(self.cluster.other_master(), "kill")

    def stop_master_of_log(self):
        self.lose(self.cluster.master(), "pause")

    def fail_over(self):
        replica = random.Random(len(self.faults)).choice(self.cluster.replicas_of(self.cluster.master()))
        replica.call("CLUSTER", "FAILOVER")
        wait_for(lambda: self.cluster.has_slot(replica), "it to be the master", 20)
        self.cluster.wait_settled()

    def move_slot_of_log(self):
        self.cluster.move_slot(ETAG_SLOT, self.cluster.master(), self.cluster.other_master())
        self.cluster.wait_settled()

    def move_other_slots(self):
        source = self.cluster.other_master()
        target = next(s for s in self.cluster.running()
                      if s is not source and len(self.cluster.view(s)[0]) > 8)
        slots = {self.cluster.call("CLUSTER", "KEYSLOT", key) for key in source.call("KEYS", "etag:*")}
        for slot in slots - {ETAG_SLOT}:
            self.cluster.move_slot(slot, source, target)
        self.cluster.wait_settled()

    def flush_one(self):
        random.Random(len(self.faults)).choice([self.cluster.master, self.cluster.other_master])().call("FLUSHALL")

    def forget_scripts(self):
        for server in self.cluster.servers:
            server.call("SCRIPT", "FLUSH")

    def drop_all_connections(self):
        for server in self.cluster.servers:
            server.call("CLIENT", "KILL", "TYPE", "normal")

    def pause_node(self):
        node = self.nodes[len(self.faults) % len(self.nodes)]
        node.pause()
        time.sleep(2.4)  # the fault itself: etagd stopped for longer than a lease
        node.resume()

    def kill_node(self):
        node = self.nodes[len(self.faults) % len(self.nodes)]
        node.kill()
        self.old_readers.append(self.readers[node])
        node.start()
        self.readers[node] = Reader(node.socket)

    ALL = [kill_master_of_log, kill_other_master, stop_master_of_log, fail_over, move_slot_of_log, move_other_slots,
           flush_one, forget_scripts, drop_all_connections, pause_node, kill_node]

    # ---- the run ----

    def run(self, seconds):
        rnd = random.Random(self.seed + 1)
        queue = []
        for t in self.threads:
            t.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            queue = queue or rnd.sample(self.ALL, len(self.ALL))
            fault = queue.pop()
            try:
                fault(self)
                self.faults.append(fault.__name__)
            except TROUBLE:
                pass  # it met the consequences of the one before
            self.stop.wait(0.3 + rnd.random())
        self.stop.set()
        for t in self.threads:
            t.join()

    def finish(self):
        """Everything is well again: whoever answers, answers with the newest version."""
        for node in self.nodes:
            node.wait_lease(30)
        with self.redis.client() as r:
            record = r.call("XADD", LOG, "*", "note", "the end").decode()
        for node in self.nodes:
            node.wait_info("applied", record)
            for url in URLS:
                node.fetch(url)
                seen = node.look(url)
                if seen.startswith("HIT") and int(seen.split('"')[1][1:]) != self.origin.version[url]:
                    self.violations.append(("in the end", url, seen, self.origin.version[url]))
        for node in self.nodes:  # and they still learn from each other
            for url in URLS:
                version = self.origin.version[url]
                assert node.fetch(url) or node.put(url, f'"v{version}"', tags=[f"t{url[-1]}"]) == "OK"
                wait_for(lambda: all(n.fetch(url) for n in self.nodes), "the nodes to share")

    def judge(self):
        readers = [*self.old_readers, *self.readers.values()]
        for reader in readers:
            reader.close()
        served = [s for r in readers for s in r.served]
        for url, version, since, until in served:
            ended = self.origin.ended[url].get(version)
            if ended is not None and until > ended + LEASE + SLACK:
                self.violations.append(("stale", url, version, f"{until - ended:.3f} s after, since {since:.3f}"))
        return served
