# SPDX-License-Identifier: Apache-2.0
"""Who asks, and who changes: readers of each node, and one operator."""
import itertools
import random
import select
import subprocess
import threading
import time

from env import machine
from env.http import Connection
from env.resp import Closed, RespError

from application import TYPE, labels, pages, version_in
from cluster import FILES, HOST

TROUBLE = (OSError, EOFError, RespError, Closed, subprocess.SubprocessError)
NUMBERS = itertools.count(1)
SLOW = 10.0  # an answer that takes longer comes from a worker that is stuck
QUIET = 2.2  # seconds after a change in which a page is asked for with its dead tag, and hardly ever otherwise


class Client:
    """Requests to one node on a connection that is kept, each answer judged."""

    def __init__(self, run, node):
        self.run, self.node, self.history = run, node, run.history
        self.connection = None
        self.used = False

    def request(self, method, target, headers, body=b""):
        """(number, moment before it was sent, response or None)."""
        for fresh in (False, True):
            number, began = str(next(NUMBERS)), time.monotonic()
            try:
                if fresh or self.connection is None or self._was_closed():
                    self.close()
                    self.connection, self.used = Connection(self.node.httpd.port, HOST, 2 * SLOW), False
                response = self.connection.request(method, target, {**headers, "X-Request": number}, body)
                self.history.counts["requests"] += 1
                self._judge_service(method, target, response, began)
                self.used = True
                return number, began, response
            except Exception as e:  # whatever http.client makes of a connection that ends
                self.close()
                # It may also end just now.
                if self.used and not fresh and method == "GET":
                    continue
                self._judge_failure(method, target, e, began)
        return number, began, None

    def _was_closed(self):
        """Whether the server has ended an idle connection, as it may at any time."""
        return bool(select.select([self.connection.sock], [], [], 0)[0])

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def _judge_service(self, method, target, response, began):
        took = time.monotonic() - began
        if took > SLOW and time.monotonic() > self.node.disturbed:
            self.history.violate("stuck", f"{self.node.name} {method} {target} took {took:.1f} s")
        if response.status == 503 and method == "PUT":
            self.history.counts["writes put off"] += 1
        elif response.status >= 500:
            self.history.violate("error", f"{self.node.name} {method} {target}: {response.status}")

    def _judge_failure(self, method, target, error, began):
        if max(began, time.monotonic() - 0.5) <= self.node.disturbed or self.run.over:
            self.history.counts["connections of disturbed servers"] += 1
        else:
            self.history.violate("error", f"{self.node.name} {method} {target}: {error!r}")

    def get(self, target, offered=()):
        """GET with these tags in If-None-Match; returns (response or None, whether it was early)."""
        page = target in self.run.application.newest
        place = target if page else self.node.place(target[1:])
        headers = {"If-None-Match": ", ".join(offered)} if offered else {}
        number, began, response = self.request("GET", target, headers)
        if response is None:
            return None, False
        early = page and not self.run.application.saw(number)
        for tag in offered:
            self.history.offered(place, tag, began)
        if response.status == 304:
            if response.etag not in offered:
                self.history.violate("304 with a tag that was not offered", f"{self.node.name} {place} {response.etag}")
            asked = self.run.application.asked[target] if page else None
            self.history.confirmed(self.node.name, place, response.etag, began, early, asked)
        elif response.status == 200:
            there, version = version_in(response.body)
            if there != target:
                self.history.violate("another page's body", f"{self.node.name} {target}: {there}")
            self.history.served(self.node.name, place, version, response.etag, response.body, TYPE)
        else:
            self.history.violate("error", f"{self.node.name} GET {target}: {response.status}")
        return response, early

    def put(self, target, tag):
        """A write with If-Match; returns the response or None, and whether this node knows that it has ended."""
        _number, began, response = self.request("PUT", target, {"If-Match": tag}, b"edit")
        if response is None:
            return None, False
        self.history.counts[f"writes {response.status}"] += 1
        why = response.header("X-Why")
        self.history.note(target, f"{self.node.name} answers a write with {response.status}, {why}")
        if response.status == 204:
            self.history.confirmed(self.node.name, target, tag, began, False, None)
        return response, response.status == 204 and why == "invalidated"


def reader(run, node, number):
    """Asks a node again and again, most for what changed last, and most with tags that are dead."""
    rnd = random.Random(f"{run.seed} reader {node.name} {number}")
    client = Client(run, node)
    history = run.history
    while not run.stopping.wait(run.pause * rnd.expovariate(1)):
        if rnd.random() < 0.1:
            target = "/" + rnd.choice(FILES)
            place = node.place(target[1:])
        else:
            target = place = rnd.choice(list(run.recent)) if rnd.random() < 0.7 else rnd.choice(pages())
        dead = history.dead_tags(place)
        current = history.known_tag(place, history.current(place))
        # Who believes the dead tag answers early. Another request would reach the application and tell it better.
        chance = 0.6 * rnd.random() if history.age(place) < QUIET and rnd.random() < 0.97 else rnd.random()
        if chance < 0.6 and dead:
            offered = dead[:1 + (rnd.random() < 0.2)]
        elif chance < 0.85 and current:
            offered = [current, *dead[:rnd.random() < 0.2]]
        else:
            offered = []
        client.get(target, offered)
    client.close()


class Operator:
    """Changes contents and says so, one change at a time; seldom enough that what is stale would live to be seen."""

    KINDS = {"url": 6, "tag": 4, "put": 5, "file": 3, "back": 2, "prefix": 1, "host": 0.2, "all": 0.2}

    def __init__(self, run):
        self.run, self.history, self.application = run, run.history, run.application
        self.random = random.Random(f"{run.seed} operator")
        self.clients = {node: Client(run, node) for node in run.cluster.nodes}
        self.versions = dict.fromkeys(FILES, 1)
        self.kept = 0  # writes whose invalidation nobody but the nodes has made sure of

    def loop(self):
        while not self.run.stopping.wait(self.random.expovariate(1) * self.run.change_every):
            kind = self.random.choices(list(self.KINDS), self.KINDS.values())[0]
            page = self.random.choice(pages())
            with self.run.changing:
                if kind == "file":
                    self.replace(self.random.choice(FILES))
                elif kind == "put":
                    self.write(page)
                else:
                    self.announce(kind, page)

    def announce(self, kind, page):
        group, own = labels(page)
        url = HOST + page
        covered = {"prefix": [p for p in pages() if p.startswith(f"/app/{group}/")],
                   "host": pages(), "all": pages()}.get(kind, [page])
        if kind == "tag" and self.random.random() < 0.3:
            covered, own = [p for p in pages() if labels(p)[0] == group], group
        for p in covered:
            self.application.change(p, back=kind == "back")
        self.run.recent.extend(covered[-4:])
        argument = {"tag": own, "prefix": f"{HOST}/app/{group}/", "host": HOST, "all": "1"}.get(kind, url)
        self.forget("url" if kind == "back" else kind, argument, covered)

    def forget(self, kind, argument, covered):
        """XADD until it is acknowledged."""
        while not self.run.over:
            began = time.monotonic()
            try:
                self.run.cluster.xadd(kind, argument, "by", "operator")
            except TROUBLE:
                self.run.patience.wait(0.05)  # Redis is being restarted or refuses: until it no longer does
                continue
            self.history.ended(covered, began, time.monotonic())
            return

    def put(self, client, page, tag):
        """(response or None, whether the page has changed)."""
        version = self.history.current(page)
        response, knows = client.put(page, tag)
        self.run.recent.append(page)
        if knows:
            self.history.ended_on(client.node.name, page, version, time.monotonic())
        return response, self.history.current(page) != version

    def kept_write(self, node, rnd):
        """A write that only this node knows of; returns the page, None when it was refused."""
        page, client = rnd.choice(pages()), Client(self.run, node)
        with self.run.changing:
            tag = client.get(page)[0].etag
            response, changed = self.put(client, page, tag) if tag else (None, False)
            client.close()
            if changed and response is None:
                self.forget("url", HOST + page, [page])
            return page if changed else None

    def write(self, page):
        """PUT with the current tag or a dead one."""
        node = self.random.choice(self.run.cluster.nodes)
        version = self.history.current(page)
        tags = [t for t in [self.history.known_tag(page, version), *self.history.dead_tags(page)[:1]] if t]
        if not tags:
            return
        response, changed = self.put(self.clients[node], page, self.random.choice(tags))
        # One in two is made sure of, so that the judge has a moment to hold on to. The other is the nodes' affair.
        # An answer that got lost says nothing: then it is the client's.
        if changed and (response is None or self.random.random() < 0.5):
            self.forget("url", HOST + page, [page])
        elif changed:
            self.kept += 1

    def replace(self, name):
        """A file becomes another one, on one node after the other."""
        self.versions[name] += 1
        for node in self.run.cluster.nodes:
            self.put_file(node, name)

    def put_file(self, node, name):
        place, version = node.place(name), self.versions[name]
        body = f"/{name} {version}\n".encode() + b"y" * 500
        there = node.httpd.docs / name
        new = machine.write(there.with_name(name + ".new"), body, 0o644)
        self.history.exact.add(place)
        self.history.begins(place, version)
        began = time.monotonic()
        new.rename(there)
        self.history.ended([place], began, time.monotonic())


def threads(run):
    """Readers of every node, and the operator, not started."""
    made = [threading.Thread(target=run.guard, args=(reader, run, node, n), daemon=True)
            for node in run.cluster.nodes for n in range(run.readers)]
    return [*made, threading.Thread(target=run.guard, args=(run.operator.loop,), daemon=True)]
