# SPDX-License-Identifier: Apache-2.0
"""A history of names under load: slow pages, three nodes, invalidations at any moment, connections that break."""
import random
import subprocess
import threading
import time

import pytest
from env.backend import answer
from env.generation import HOST, attached, configuration
from env.node import LOG
from env.process import wait_for

PAGES = ["/a", "/b"]
HTML = [("Content-Type", "text/html")]


class History:
    """The application counts versions of its pages. Each new one is announced at once; from the moment at which all
    nodes have applied the record, no tag may be given or confirmed that any older version has ever carried."""

    def __init__(self, redis, daemons, nodes, backend, seed):
        self.redis, self.daemons, self.nodes = redis, daemons, nodes
        self.random, self.lock, self.stop = random.Random(seed), threading.Lock(), threading.Event()
        self.version = dict.fromkeys(PAGES, 1)
        self.settled = {page: [(0.0, 1)] for page in PAGES}  # (since when all nodes know, version)
        self.carried = {}  # (page, tag) -> oldest version
        self.given = []  # (page, tag, the request's beginning)
        self.statuses, self.untagged = {200: 0, 304: 0}, 0
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
            record = wait_for(lambda p=page: self.announce(p), "the record to be taken")
            for daemon in self.daemons:
                daemon.wait_info("applied", lambda at: tuple(map(int, at.split("-"))) >= tuple(map(int, record.split("-"))))
            self.settled[page].append((time.monotonic(), self.version[page]))

    def announce(self, page):
        """The record's id; None when the connection was cut."""
        operation = self.random.choice([("url", f"{HOST}{page}"), ("prefix", f"{HOST}{page}"), ("host", HOST), ("all", "1")])
        try:
            return self.redis.cli("XADD", LOG, "*", *operation)
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

    def judge(self):
        wrong = []
        for page, tag, begun in self.given:
            known = max(version for since, version in self.settled[page] if since <= begun)
            if self.carried[page, tag] < known:
                wrong.append((page, tag, self.carried[page, tag], known))
        return wrong


@pytest.mark.parametrize("more,broken", [("", False), ("ETagEarly On\n", False), ("ETagEarly On\n", True)],
                         ids=["late", "early", "broken"])
def test_no_name_outlives_its_generation(redis, new_etagd, new_httpd, backend, more, broken):
    daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(3)]
    nodes = [new_httpd(configuration(backend, more), modules=["proxy", "proxy_http", "headers"], etagd=d).start()
             for d in daemons]
    for node, daemon in zip(nodes, daemons):
        daemon.wait_info("left_ms", lambda v: int(v) > 0, 15)
        wait_for(lambda n=node: attached(n), "every child to be attached")
    seed = random.randrange(1 << 32)
    history = History(redis, daemons, nodes, backend, seed)
    threads = [threading.Thread(target=history.write)]
    threads += [threading.Thread(target=history.read, args=(seed + i,)) for i in range(6)]
    for t in threads:
        t.start()
    end = time.monotonic() + 6
    while time.monotonic() < end:
        time.sleep(0.5)  # between two faults; the threads work meanwhile
        if broken:
            redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    history.stop.set()
    for t in threads:
        t.join()
    assert history.judge() == [], f"seed {seed}"
    tagged = len(history.given)
    assert history.statuses[304] > 20 and tagged > history.untagged, (history.statuses, tagged, history.untagged)
