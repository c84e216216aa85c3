# SPDX-License-Identifier: Apache-2.0
"""Faults of processes, networks, clocks and disks."""
import contextlib
import os
import signal
import subprocess
import time

from env import machine
from env.process import Failed

from faults import LONGER, LONG_ENOUGH, Skipped, alone, fault

FULL_DISK = 2.0


def restart(scene, server, after=0.0):
    scene.wait(after)
    scene.cluster.start_server(server)


def restart_redis(scene, after=0.0):
    """With what it finds on its disk. A file that a full disk has left half written it does not read: then without."""
    try:
        restart(scene, scene.redis, after)
    except Failed as e:
        if "Bad file format" not in str(e):
            raise
        forget_disk(scene)
        restart(scene, scene.redis)
        scene.history.counts["files that Redis could not read"] += 1


def forget_disk(scene):
    for path in (scene.redis.folder / "appendonlydir").glob("*"):
        path.unlink()


# ---- Redis ----

@fault
def redis_killed(scene):
    with alone(scene.cluster.redis_lock):
        with scene.history.loss():
            scene.redis.kill()
        restart_redis(scene)


@fault
def redis_slow_start(scene):
    with alone(scene.cluster.redis_lock):
        with scene.history.loss():
            scene.redis.kill()
        restart_redis(scene, LONGER)


@fault
def redis_stopped(scene):
    with alone(scene.cluster.redis_lock):
        scene.redis.pause()
        scene.wait(scene.pick(0.3, LONGER, 5.0 if scene.run.long else LONGER))
        scene.redis.resume()


@fault
def redis_sleeps(scene):
    with alone(scene.cluster.redis_lock):
        scene.call("DEBUG", "SLEEP", scene.pick(0.3, LONGER))


@fault
def redis_emptied(scene):
    """Restarted without what it had on disk."""
    with alone(scene.cluster.redis_lock):
        with scene.history.loss():
            scene.redis.kill()
            forget_disk(scene)
        restart_redis(scene)


@fault
def aof_tail_lost(scene):
    """The nodes do not see the last record, and Redis loses it with its end."""
    nodes = scene.cluster.nodes
    with alone(scene.cluster.redis_lock):
        log = max((scene.redis.folder / "appendonlydir").glob("*.incr.aof"), key=lambda p: p.stat().st_mtime)
        for node in nodes:
            node.gate.close()
        try:
            with scene.run.changing:
                before = settled_size(scene, log)
                scene.lost_with()
                with scene.history.loss():
                    scene.redis.kill()
                    os.truncate(log, before)
                restart_redis(scene)
        finally:
            for node in nodes:
                node.gate.open()


def settled_size(scene, log):
    """The file's size once nothing is written to it any more."""
    size, since = log.stat().st_size, time.monotonic()
    while time.monotonic() - since < 0.1 and not scene.run.over:
        scene.wait(0.02)
        if log.stat().st_size != size:
            size, since = log.stat().st_size, time.monotonic()
    return size


# ---- etagd ----

@fault
def etagd_killed(scene):
    with alone(scene.node.lock):
        scene.node.etagd.kill()
        restart(scene, scene.node.etagd)


@fault
def etagd_slow_start(scene):
    with alone(scene.node.lock):
        scene.node.etagd.kill()
        restart(scene, scene.node.etagd, LONGER)


@fault
def etagd_restarted(scene):
    with alone(scene.node.lock):
        scene.node.etagd.stop()
        restart(scene, scene.node.etagd)


@fault
def etagd_stopped(scene):
    with alone(scene.node.lock):
        scene.node.etagd.pause()
        scene.wait(scene.pick(0.3, LONG_ENOUGH, 5.0 if scene.run.long else LONG_ENOUGH))
        scene.node.etagd.resume()


@fault
def write_while_alone(scene):
    """A write on a node that is cut off, whose etagd is killed before it could tell anybody; then all is well."""
    with alone(scene.node.lock):
        scene.node.gate.close()
        try:
            page, written = scene.run.operator.kept_write(scene.node, scene.random), time.monotonic()
            scene.node.etagd.kill()
        finally:
            scene.node.gate.open()
        restart(scene, scene.node.etagd)
        # The others are told as soon as Redis can be reached; other faults may be in the way.
        if page and scene.run.until(lambda: nothing_unsent(scene.node), 5):
            scene.history.ended([page], written, time.monotonic())


def nothing_unsent(node):
    told = node.info()
    return int(told["left_ms"]) > 0 and told["invalidations_unsent"] == "0"


# ---- httpd ----

def signal_child(scene, number):
    scene.node.disturb()
    child = scene.random.choice(scene.node.httpd.children())
    os.kill(child, number)
    return child


@fault
def child_killed(scene):
    with alone(scene.node.lock):
        signal_child(scene, signal.SIGKILL)


@fault
def child_stopped(scene):
    """For longer than a lease: what it was about to answer it must not answer any more."""
    with alone(scene.node.lock):
        child = signal_child(scene, signal.SIGSTOP)
        scene.wait(scene.pick(0.2, LONGER))
        os.kill(child, signal.SIGCONT)


@fault
def httpd_graceful(scene):
    with alone(scene.node.lock):
        scene.node.disturb()
        scene.node.httpd.signal(signal.SIGUSR1)


@fault
def httpd_slow_start(scene):
    with alone(scene.node.lock):
        scene.node.disturb()
        scene.run.health.before_end(scene.node)
        scene.node.httpd.stop()
        restart(scene, scene.node.httpd, LONGER)
        scene.node.disturb()


@fault
def node_frozen(scene):
    """All of a node stands still, as a virtual machine that is suspended."""
    with alone(scene.node.lock):
        scene.node.disturb()
        stopped = [scene.node.etagd.pid, scene.node.httpd.pid, *scene.node.httpd.children()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        scene.wait(LONGER)
        for pid in reversed(stopped):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


# ---- the network ----

def cut(scene, seconds, **how):
    gate = scene.node.gate
    gate.close(**how)
    try:
        scene.wait(seconds)
    finally:
        gate.open()


@fault
def partition(scene):
    cut(scene, LONG_ENOUGH)


@fault
def partition_of_commands(scene):
    cut(scene, LONG_ENOUGH, answers=False)


@fault
def partition_of_answers(scene):
    cut(scene, LONG_ENOUGH, commands=False)


@fault
def network_slow(scene):
    """Every piece comes late; from half a lease on there is none."""
    gate = scene.node.gate
    gate.delay = scene.pick(0.02, 0.2, 0.6)
    try:
        scene.wait(2 * LONGER)
    finally:
        gate.open()


@fault
def connections_dead(scene):
    """TCP connections that are gone without a FIN; new ones work."""
    scene.node.gate.forget()
    scene.wait(LONG_ENOUGH)


# ---- clock, disk, descriptors ----

@fault
def wall_clock(scene):
    """One node's wall clock is an hour off, steps, and comes back."""
    node = scene.cluster.nodes[2]
    if node.clock is None:
        raise Skipped("libfaketime is not installed (Debian: faketime)")
    try:
        for offset in scene.random.sample(["+3600", "-3600", "+5", "-86400", "+0.7"], 3):
            node.clock.write_text(offset + "\n")
            scene.wait(0.5)
    finally:
        node.clock.write_text("+0\n")


def fill(folder):
    """Takes what is left of this disk; returns the file that holds it."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as f:
        with contextlib.suppress(OSError):
            while True:
                f.write(b"\0" * 4096)
    return ballast


def no_room(scene, small, lock, folder):
    """For a while, on a disk that is small on purpose."""
    if not small:
        raise Skipped("a small disk cannot be mounted here (not root)")
    with alone(lock):
        ballast = fill(folder)
        scene.wait(FULL_DISK)
        ballast.unlink()


@fault
def disk_full(scene):
    """The node's StateDir and log have no room."""
    no_room(scene, scene.node.small_disk, scene.node.lock, scene.node.state)


@fault
def redis_disk_full(scene):
    no_room(scene, scene.cluster.redis_small, scene.cluster.redis_lock, scene.redis.folder)


@fault
def descriptors_used_up(scene):
    """etagd can open nothing more."""
    with alone(scene.node.lock):
        pid = scene.node.etagd.pid
        soft, hard = limits(pid)
        limit(pid, len(os.listdir(f"/proc/{pid}/fd")), hard)
        scene.node.gate.forget()
        scene.wait(LONGER)
        limit(pid, soft, hard)


def limits(pid):
    with open(f"/proc/{pid}/limits") as f:
        return next(line.split()[3:5] for line in f if line.startswith("Max open files"))


def limit(pid, soft, hard):
    """As the servers' account: root without CAP_SYS_RESOURCE may not."""
    who = machine.account()
    us = [machine.program("setpriv"), f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"] if who else []
    subprocess.run([*us, "prlimit", "--pid", str(pid), f"--nofile={soft}:{hard}"], check=True, capture_output=True)
