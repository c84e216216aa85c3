# SPDX-License-Identifier: Apache-2.0
"""What a run must not do to the servers: crash, leak memory or descriptors, hold workers, grow queues and logs."""
import collections
import os
import re
import threading
import time

from env.http import request

from cluster import HOST
from load import TROUBLE

EVERY = 2.0
MEMORY_MB = 96       # anonymous memory of a process that is not under sanitizers
SETTLED = 60.0       # seconds after which a process has what it needs ...
GROWTH_MB = 24       # ... but for so much
DESCRIPTORS = 200
UNSENT = 4096        # etagd's own bound
LOG_KB_A_MINUTE = 512
DIED = re.compile(r"exit signal (?!Killed)|child process \d+ still did not exit|AH00051")
IDLE = re.compile(r"BusyWorkers: (\d+)")


def anonymous_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon")) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def commonest(log):
    """The line that is there most often, numbers aside."""
    lines = (re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", line) for line in log.read_text(errors="replace").splitlines())
    return collections.Counter(lines).most_common(1)[0]


class Health:
    def __init__(self, run):
        self.run, self.history, self.cluster = run, run.history, run.cluster
        self.most = {"memory": 0.0, "descriptors": 0, "unsent": 0}
        self.settled = {}  # process id -> (first seen, the most MB in its first minute)
        self.begun = time.monotonic()
        self.thread = threading.Thread(target=run.guard, args=(self._watch,), daemon=True)

    def start(self):
        self.thread.start()

    def _watch(self):
        while not self.run.stopping.wait(EVERY):
            for node in self.cluster.nodes:
                if node.lock.acquire(blocking=False):  # nobody is ending it on purpose
                    try:
                        self._look(node)
                    finally:
                        node.lock.release()

    def _look(self, node):
        for server in (node.etagd, node.httpd):
            if server.proc is not None and server.proc.poll() is not None:
                self.history.violate("crash", f"{node.name} {server.name} ended with {server.proc.returncode}:\n"
                                              f"{server.tail(10)}")
                self.cluster.starters.submit(self._again, server)
                return
        try:
            self._sample(node)
        except (FileNotFoundError, ProcessLookupError, StopIteration, *TROUBLE):
            pass  # a child that ends just now, an etagd that is busy

    @staticmethod
    def _again(server):
        server.proc = None
        server.start()

    def _sample(self, node):
        unsent = int(node.info()["invalidations_unsent"])
        self.most["unsent"] = max(self.most["unsent"], unsent)
        if unsent > UNSENT:
            self.history.violate("unbounded queue", f"{node.name}: {unsent} invalidations unsent")
        for pid in [*node.httpd.children(), *([] if node.sanitized else [node.etagd.pid])]:
            memory, open_files = anonymous_mb(pid), descriptors(pid)
            self.most["memory"] = max(self.most["memory"], memory)
            self.most["descriptors"] = max(self.most["descriptors"], open_files)
            self._bound(node, pid, memory, open_files)

    def _bound(self, node, pid, memory, open_files):
        """What a process has after its first minute it must not exceed by much later."""
        now = time.monotonic()
        since, settled = self.settled.setdefault(pid, (now, memory))
        if now - since < SETTLED:
            self.settled[pid] = (since, max(settled, memory))
        if memory > MEMORY_MB or memory > settled + GROWTH_MB:
            self.history.violate("leak", f"{node.name} process {pid}: {memory:.0f} MB, {settled:.0f} MB once settled")
        if open_files > DESCRIPTORS:
            self.history.violate("leak", f"{node.name} process {pid}: {open_files} descriptors")

    def before_end(self, node):
        """httpd is about to be ended on purpose: what its end says is not judged."""
        self._judge_log(node)

    def _judge_log(self, node):
        for line in node.httpd.error_text().splitlines():
            if DIED.search(line):
                self.history.violate("crash", f"{node.name}: {line}")
        for line in [*node.etagd.problems(), *super(type(node.httpd), node.httpd).problems()]:
            self.history.violate("crash", f"{node.name}: {line}")

    def finish(self):
        """Everything is idle: workers are free and logs are short."""
        minutes = max((time.monotonic() - self.begun) / 60, 1)
        for node in self.cluster.nodes:
            if not self.run.until(lambda n=node: self._busy(n) <= 1, 10):
                self.history.violate("stuck", f"{node.name}: workers are busy although nobody asks")
            self._judge_log(node)
            for log in (node.state / "etagd.log", node.etagd.log, node.httpd.error_log):
                size = log.stat().st_size / 1024 if log.exists() else 0
                if size > LOG_KB_A_MINUTE * minutes:
                    self.history.violate("unbounded log", f"{log}: {size:.0f} KB in {minutes:.1f} minutes, "
                                                          f"most of it {commonest(log)}")

    @staticmethod
    def _busy(node):
        told = request(node.httpd.port, "GET", "/server-status?auto", host=HOST).body.decode()
        return int(IDLE.search(told).group(1))

    def figures(self):
        return [f"at most {self.most['memory']:.1f} MB of memory of its own and {self.most['descriptors']} descriptors "
                f"in a process, {self.most['unsent']} invalidations unsent"]
