# SPDX-License-Identifier: Apache-2.0
"""Faults of data: what people and Redis itself can do to our keys. Each is a function of a Scene and is over when it
returns; what makes it last (waiting) is the fault itself."""
import contextlib
import random
import time

from env.resp import Closed, RespError

from cluster import EPOCH, HOST, HOSTS, LEASE, LOG, NODES
from application import pages

KINDS = {}  # name -> function
LONGER = LEASE * 1.3  # than any lease
LONG_ENOUGH = LEASE * 2.5  # for what is invalidated then to be stale beyond the bound


def fault(function):
    KINDS[function.__name__] = function
    return function


@contextlib.contextmanager
def alone(lock):
    """Nobody else stops or starts this server meanwhile; who cannot have it gives up."""
    if not lock.acquire(timeout=0.1):
        raise TimeoutError("another fault has it")
    try:
        yield
    finally:
        lock.release()


class Skipped(Exception):
    """This machine cannot do it; the text says why."""


class Scene:
    """What a fault may use."""

    def __init__(self, run, rnd):
        self.run, self.cluster, self.history, self.random = run, run.cluster, run.history, rnd
        self.redis = run.cluster.redis
        self.node = rnd.choice(run.cluster.nodes)

    def call(self, *args):
        return self.redis.call(*args)

    def wait(self, seconds):
        self.run.patience.wait(seconds)

    def pick(self, *values):
        return self.random.choice(values)

    def undo(self, *command):
        """What a fault must put right, also when Redis is being restarted just now."""
        while not self.run.over:
            try:
                return self.call(*command)
            except (OSError, RespError, Closed):
                self.wait(0.1)

    def together(self, *commands):
        """MULTI ... EXEC."""
        with self.redis.client() as r:
            for command in (("MULTI",), *commands, ("EXEC",)):
                reply = r.call(*command)
            errors = [e for e in reply or [] if isinstance(e, RespError)]
            if reply is None or errors:
                raise errors[0] if errors else RespError("EXEC gave nothing")

    def lost_with(self, *commands):
        """A page changes, is invalidated, and the record is lost in the same moment: nobody can have seen it."""
        page = self.random.choice(pages())
        with self.run.changing:
            self.run.application.change(page)
            began = time.monotonic()
            self.together(("XADD", LOG, "*", "url", HOST + page), *commands)
            self.history.ended([page], began, time.monotonic())
            self.run.recent.append(page)


# ---- history is lost: a new epoch ----

@fault
def flushall(scene):
    with scene.history.loss():
        scene.lost_with(("FLUSHALL",))


@fault
def flushdb(scene):
    with scene.history.loss():
        scene.lost_with(("FLUSHDB",))


@fault
def delete_log(scene):
    with scene.history.loss():
        scene.lost_with(("DEL", LOG))


@fault
def delete_epoch(scene):
    with scene.history.loss():
        scene.call("DEL", EPOCH)


@fault
def rename_log(scene):
    with scene.history.loss():
        scene.lost_with(("RENAME", LOG, "elsewhere"))


@fault
def made_anew(scene):
    with scene.history.loss():
        scene.lost_with(("DEL", LOG), *[("XADD", LOG, "*", "note", "mine")] * scene.pick(1, 2, 9))


@fault
def swap_database(scene):
    """There and back: between, invalidations go elsewhere."""
    with alone(scene.cluster.redis_lock):
        scene.call("SWAPDB", 0, 1)
        scene.wait(scene.pick(0.5, LONGER))
        scene.undo("SWAPDB", 0, 1)


@fault
def set_over(scene):
    """Another type under one of our names, until somebody notices."""
    key = scene.pick(LOG, EPOCH, NODES, HOSTS)
    scene.call("SET", key, "not ours")
    scene.wait(scene.pick(0.3, LONGER))
    with scene.history.loss() if key in (LOG, EPOCH) else contextlib.nullcontext():
        scene.undo("DEL", key)


# ---- records are lost: the floor rises ----

@fault
def trim_log(scene):
    scene.call("XTRIM", LOG, "MAXLEN", 0)


@fault
def trim_unseen(scene):
    scene.lost_with(("XTRIM", LOG, "MAXLEN", 0), ("XADD", LOG, "*", "note", "after it"))


@fault
def delete_records(scene):
    ids = [r[0] for r in scene.call("XREVRANGE", LOG, "+", "-", "COUNT", 3)]
    if ids:
        scene.call("XDEL", LOG, *ids)


@fault
def delete_unseen(scene):
    ahead = f"{int(scene.call('TIME')[0]) * 1000 + 5000}-0"
    page = scene.random.choice(pages())
    with scene.run.changing:
        scene.run.application.change(page)
        began = time.monotonic()
        scene.together(("XADD", LOG, ahead, "url", HOST + page), ("XDEL", LOG, ahead))
        scene.history.ended([page], began, time.monotonic())
        scene.run.recent.append(page)


@fault
def add_with_maxlen(scene):
    scene.lost_with(("XADD", LOG, "MAXLEN", 1, "*", "note", "the only one"))


@fault
def ids_of_the_future(scene):
    ahead = int(scene.call("TIME")[0]) * 1000 + 3600000
    scene.call("XADD", LOG, f"{ahead}-0", "note", "a clock that jumped")
    scene.wait(LONGER)
    if scene.pick(True, False):
        with scene.history.loss():
            scene.lost_with(("DEL", LOG))  # and back to the present


# ---- other keys of ours ----

@fault
def delete_entries(scene):
    for name in [b for b in scene.call("KEYS", "etag:*")][:2000]:
        scene.call("DEL", name)
    scene.call("DEL", scene.pick(NODES, HOSTS))


@fault
def entries_overwritten(scene):
    """Somebody else's values, of any type and form, where entries are looked for."""
    values = [b"\0\xff" * 40, b"1 - - -", b"1 " * 2000, b""]
    for name in scene.call("KEYS", "etag:e:*")[:50]:
        scene.call("SET", name, scene.pick(*values))
    page = f"etag:e:http://{HOST}" + scene.pick(*pages())
    scene.together(("DEL", page), ("SADD", page, "a set"))
    scene.wait(0.3)
    scene.undo("DEL", page)


@fault
def scripts_flushed(scene):
    scene.call("SCRIPT", "FLUSH")


@fault
def clients_killed(scene):
    scene.call("CLIENT", "KILL", "TYPE", "normal")


@fault
def memory_full(scene):
    policy = scene.pick("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu",
                        "volatile-random", "volatile-ttl")
    try:
        scene.call("CONFIG", "SET", "maxmemory-policy", policy)
        scene.call("CONFIG", "SET", "maxmemory", "1mb")
        scene.wait(scene.pick(0.5, LONGER))
    finally:
        scene.undo("CONFIG", "SET", "maxmemory", 0)
    if policy.startswith("allkeys"):
        scene.history.counts[f"evicted under {policy}"] += 1


# ---- much of everything ----

def pour(scene, seconds, rate, fields):
    """XADD at this rate on one connection."""
    poured, begun = 0, time.monotonic()
    with scene.redis.client() as r:
        while (late := time.monotonic() - begun) < seconds and not scene.run.over:
            batch = min(int(late * rate) - poured, 2000)
            if batch <= 0:
                scene.wait(0.002)
                continue
            for _ in range(batch):
                r.send("XADD", LOG, "*", *fields(poured))
                poured += 1
            for _ in range(batch):
                reply = r.read()
                if isinstance(reply, RespError):
                    raise reply
    return poured


@fault
def many_invalidations(scene):
    """10,000 a second."""
    poured = pour(scene, scene.run.burst, 10000, lambda n: ("tag", f"t{n % 50000}"))
    scene.history.counts["invalidations poured"] += poured


@fault
def many_tags(scene):
    """Distinct tags by the hundred thousand into one node's table, which is lapped; what is read there must be true."""
    scene.run.flood(scene, scene.node, scene.run.burst * 2)


@fault
def neighbour_forgets(scene):
    """Another deployment on the same Redis, under its own KeyPrefix, loses everything it has."""
    scene.call("XADD", "{other}:log", "*", "all", "1")
    scene.call("DEL", "{other}:log", "{other}:epoch")
