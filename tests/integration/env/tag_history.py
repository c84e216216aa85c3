# SPDX-License-Identifier: Apache-2.0
"""A history of tags that are not made from bytes, under load: slow pages, several nodes, changes at any moment."""
import random
import subprocess
import threading
import time

from .backend import answer
from .process import wait_for

PAGES = ["/a", "/b"]
HTML = [("Content-Type", "text/html")]


def place(record):
    return tuple(map(int, record.split("-")))


class TagHistory:
    """The application counts versions of its pages. Each new one is announced; from the moment at which all nodes have
    applied the record, no tag may be given or confirmed that any older version has ever carried.

    announce(page) writes the record and returns its id, or None when the connection was cut."""

    def __init__(self, daemons, nodes, backend, announce, seed):
        self.daemons, self.nodes, self.announce = daemons, nodes, announce
        self.random, self.lock, self.stop = random.Random(seed), threading.Lock(), threading.Event()
        self.version = dict.fromkeys(PAGES, 1)
        self.settled = {page: [(0.0, 1)] for page in PAGES}  # (since when all nodes know, version)
        self.carried = {}  # (page, tag) -> oldest version
        self.given = []  # (page, tag, the request's beginning)
        self.statuses, self.untagged = {200: 0, 304: 0}, 0
        self.threads = [threading.Thread(target=self.write)]
        self.threads += [threading.Thread(target=self.read, args=(seed + i,)) for i in range(6)]
        for page in PAGES:
            backend.routes[page] = self.page

    def page(self, request, send):
        """Reads its data first and takes its time."""
        path = request.target.split("?")[0]
        version = self.version[path]
        time.sleep(random.choice((0, 0, 0.01, 0.05)))
        send(answer(f"{version} {random.random()}", HTML, request=request))
        return True

    def write(self):
        while not self.stop.wait(self.random.uniform(0.05, 0.25)):
            page = self.random.choice(PAGES)
            self.version[page] += 1
            record = wait_for(lambda p=page: self.announced(p), "the record to be taken")
            for daemon in self.daemons:
                daemon.wait_info("applied", lambda at: place(at) >= place(record))
            self.settled[page].append((time.monotonic(), self.version[page]))

    def announced(self, page):
        try:
            return self.announce(page)
        except subprocess.CalledProcessError:
            return None

    def read(self, seed):
        rnd, tags = random.Random(seed), {}
        while not self.stop.is_set():
            page, node = rnd.choice(PAGES), rnd.choice(self.nodes)
            held = tags.get(page) if rnd.random() < 0.8 else None
            begun = time.monotonic()
            a = node.get(page, {"If-None-Match": held} if held else {})
            with self.lock:
                self.note(page, a, begun)
            if a.etag:
                tags[page] = a.etag

    def note(self, page, a, begun):
        self.statuses[a.status] += 1
        if a.etag is None:
            self.untagged += 1
            return
        self.given.append((page, a.etag, begun))
        if a.status == 200:
            version = int(a.body.split()[0])
            self.carried[page, a.etag] = min(version, self.carried.get((page, a.etag), version))

    def run(self, seconds, fault=None):
        """Meanwhile the fault happens again and again."""
        for t in self.threads:
            t.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.5)  # between two faults; the threads work meanwhile
            if fault:
                fault()
        self.stop.set()
        for t in self.threads:
            t.join()

    def judge(self):
        wrong = []
        for page, tag, begun in self.given:
            known = max(version for since, version in self.settled[page] if since <= begun)
            if self.carried[page, tag] < known:
                wrong.append((page, tag, self.carried[page, tag], known))
        return wrong
