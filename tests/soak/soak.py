#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three nodes, one Redis, everything breaks, and a judge of every answer. make soak MINUTES=60 runs it.

    soak.py [--minutes N] [--seed N] [--faults NAME,NAME...] [--asan ETAGD] [--first] [--list]

First every kind of fault alone, in an order that follows from the seed, then up to three at once until the time is
over; then all is well again, and it is measured how soon. The last line is "soak: N requests, N chances,
N violations"; a chance is a request with a tag whose end was acknowledged in the ten seconds before. The exit status
is 1 when there was a violation. --first ends at the first one.
"""
import argparse
import collections
import faulthandler
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from env import machine  # noqa: E402

import faults_servers  # noqa: E402,F401: adds its kinds
import load  # noqa: E402
import measure  # noqa: E402
from application import Application, pages  # noqa: E402
from cluster import LEASE, Cluster  # noqa: E402
from faults import KINDS, Scene, Skipped  # noqa: E402
from health import Health  # noqa: E402
from history import History  # noqa: E402

AT_ONCE = 3
LONG = 5  # minutes from which on a run is long
GRACE = 180  # seconds after its minutes in which a run has to be over


class Run:
    """One run: what its parts share."""

    def __init__(self, options):
        self.seed, self.long = options.seed, options.minutes >= LONG
        self.end = time.monotonic() + options.minutes * 60
        self.first = options.first
        self.burst = 10.0 if self.long else 2.0    # seconds of many invalidations
        self.pause = 0.02 if self.long else 0.03   # mean time between two requests of a reader
        self.readers = 2                           # of each node
        self.change_every = 0.3                    # seconds, on average
        self.history = History(LEASE)
        self.application = Application(self.history, self.seed)
        self.cluster = Cluster(self.application, options.asan)
        self.operator = load.Operator(self)
        self.health = Health(self)
        self.recent = collections.deque(pages()[:6], maxlen=12)  # pages that changed last
        self.changing = threading.RLock()  # who changes contents
        self.stopping = threading.Event()  # readers and operator end
        self.patience = threading.Event()  # set: nobody waits any more
        self.done, self.missed, self.skipped = collections.Counter(), collections.Counter(), {}

    def give_up(self):
        """Nobody waits or tries again any more."""
        self.patience.set()
        self.stopping.set()

    def overdue(self):
        """It waits for something that does not come: shown by the stacks of all threads."""
        faulthandler.dump_traceback()
        self.history.violate("this program", f"it was not over {GRACE} s after its time")
        self.give_up()

    @property
    def over(self):
        return self.patience.is_set()

    def guard(self, function, *args):
        try:
            function(*args)
        except Exception as e:  # a judge that died has judged nothing
            if not self.over:
                self.history.violate("this program", f"{function.__name__}: {e!r}")
                raise

    def until(self, probe, seconds):
        """Whether probe came true in time; what it cannot ask is false."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.over:
            try:
                if probe():
                    return True
            except load.TROUBLE:
                pass  # it is being restarted
            self.patience.wait(0.01)
        return False

    def flood(self, scene, node, seconds):
        """tests/soak/flood on one node's table."""
        program = machine.BUILD / "tests" / "soak" / "flood"
        done = subprocess.run([program, node.etagd.socket, str(seconds)], text=True, capture_output=True,
                              timeout=60 + seconds)
        if done.returncode == 1:
            self.history.violate("torn record", done.stdout.strip())
        elif done.returncode == 0:
            words = done.stdout.split()
            self.history.counts["tags poured"] += int(words[1])
            self.history.counts["table lookups"] += int(words[3])

    # ---- faults ----

    def play(self, name, rnd):
        scene = Scene(self, rnd)
        self.history.note("", f"{name} begins, {scene.node.name} if of one node")
        try:
            KINDS[name](scene)
            self.done[name] += 1
        except Skipped as e:
            self.skipped[name] = str(e)
        except load.TROUBLE:
            self.missed[name] += 1  # it met the consequences of another one
        self.history.note("", f"{name} is over")

    def enough(self):
        return time.monotonic() >= self.end or (self.first and self.history.violations)

    def break_things(self, names):
        rnd = random.Random(f"{self.seed} faults")
        turn = rnd.sample(names, len(names))
        for name in turn:
            if not self.enough():
                self.play(name, random.Random(f"{self.seed} {name}"))
                self.patience.wait(rnd.uniform(0.1, 0.5))
        if not self.enough():
            measure.alive(self)
        free = threading.Semaphore(AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not self.enough():
                turn = rnd.sample(names, len(names))
                for name in turn:
                    self.patience.wait(rnd.expovariate(1) * 0.5)
                    free.acquire()
                    if self.enough():
                        break
                    part = random.Random(f"{self.seed} {name} {rnd.random()}")
                    done = pool.submit(self.guard, self.play, name, part)
                    done.add_done_callback(lambda _: free.release())

    # ---- the whole ----

    def play_all(self, names):
        self.cluster.start()
        for name in self.operator.versions:
            self.operator.replace(name)
        threads = load.threads(self)
        self.health.start()
        for t in threads:
            t.start()
        self.break_things(names)
        if not (self.first and self.history.violations):
            for name in set(names) - set(self.done) - set(self.skipped):
                self.history.violate("this program", f"{name} never came about")
            measure.wellness(self)
        self.stopping.set()
        for t in threads:
            t.join(30)
        self.health.finish()

    def report(self):
        h = self.history
        print(f"soak: seed {self.seed}, {sum(self.done.values())} faults of {len(self.done)} kinds: "
              + ", ".join(f"{n} {c}" for n, c in sorted(self.done.items())))
        if self.missed:
            print("soak: met another fault: " + ", ".join(f"{n} {c}" for n, c in sorted(self.missed.items())))
        for name, why in self.skipped.items():
            print(f"soak: skipped {name}: {why}")
        print("soak: " + ", ".join(f"{n} {c}" for n, c in sorted(h.counts.items())))
        print(f"soak: a dead tag was confirmed for {h.stalest:.3f} s at most (lease {LEASE:g} s)")
        print(f"soak: {sum(v.kind == 'error' for v in h.violations)} errors of httpd (5xx, broken connections), "
              f"{h.counts['connections of disturbed servers']} of servers that were being ended not counted")
        for line in [*measure.RESULTS, *self.health.figures()]:
            print(f"soak: {line}")
        for v in h.violations[:20]:
            print(f"soak: VIOLATION {v}")
        for v in h.violations[:3]:
            print("".join(f"soak:   {line}\n" for line in [f"before {v}:", *v.story] if v.story), end="")
        print(f"soak: {h.counts['requests']} requests, {h.counts['chances']} chances, {len(h.violations)} violations",
              flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
    parser.add_argument("--faults", help="only these kinds, joined by commas")
    parser.add_argument("--asan", type=Path, help="an etagd built with sanitizers, for one of the nodes")
    parser.add_argument("--first", action="store_true", help="end at the first violation")
    parser.add_argument("--list", action="store_true", help="print the kinds of faults")
    return parser.parse_args()


def main():
    options = arguments()
    names = options.faults.split(",") if options.faults else list(KINDS)
    if options.list:
        print("\n".join(names))
        return 0
    print(f"soak: seed {options.seed}, {options.minutes:g} minutes; to repeat: --seed {options.seed}", flush=True)
    run = Run(options)
    faulthandler.register(signal.SIGUSR1)

    def ended(*_):
        run.give_up()
        sys.exit(143)

    signal.signal(signal.SIGTERM, ended)
    watch = threading.Timer(options.minutes * 60 + GRACE, run.overdue)
    watch.daemon = True
    watch.start()
    try:
        run.play_all(names)
    finally:
        watch.cancel()
        run.give_up()
        for line in run.cluster.stop():
            run.history.violate("crash", line)
    run.report()
    return 1 if run.history.violations else 0


if __name__ == "__main__":
    sys.exit(main())
