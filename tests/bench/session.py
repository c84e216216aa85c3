# SPDX-License-Identifier: Apache-2.0
"""A recorded browsing session, replayed behind a round-robin balancer with the module on and off.

session.tsv is one page load. It is visited six times: first visit, reload, then once after each node of
three was deployed (one file in ten changed; the application published one page in ten when the last node
was done, and told everybody), and one more reload. The browser keeps what it got, and asks with the
validators it was given. What it then holds is compared with what the node has: a 304 for something else
would be a wrong answer, and there is no figure.
"""
import random
import time
from pathlib import Path

from env.backend import Backend, answer
from env.process import Failed
from nodes import NODES, SITE, Nodes
from report import Figure

NAME = "session"
TITLE = "A recorded browsing session behind a balancer over three nodes, module on / off"
# Static files and pages as the recording found them. The application knows dates, not tags.
CONFIG = """\
LogFormat "%>s %O" sent
CustomLog sent.log sent
AddType image/webp .webp
AddType application/octet-stream .woff
ProxyPass /app/ http://127.0.0.1:{port}/
"""
EARLY = "<Location /app/>\nETagEarly On\n</Location>\n"
MODULES = ("proxy", "proxy_http")
OLD = 1_700_000_000  # a deployment long ago, on each node a little later
BEFORE, AFTER = "Mon, 13 Nov 2023 08:00:00 GMT", "Tue, 14 Nov 2023 08:00:00 GMT"


class Item:
    def __init__(self, number, line):
        kind, self.name, size, self.type, dated = line.split("\t")
        self.number, self.size, self.app, self.dated = number, int(size), kind == "app", dated == "dated"
        self.target = ("/app/" if self.app else "/") + self.name
        self.changes = number % 10 == 4  # one in ten

    def content(self, version):
        return random.Random(f"{self.name} {version if self.changes else 0}").randbytes(self.size)


def recording():
    lines = Path(__file__).with_name("session.tsv").read_text().splitlines()
    return [Item(n, line) for n, line in enumerate(line for line in lines if not line.startswith("#"))]


class Application(Backend):
    """The pages of the recording. Dated ones are answered 304 to If-Modified-Since."""

    def __init__(self, items):
        super().__init__()
        self.version = 0
        for item in items:
            self.routes[f"/{item.name}"] = lambda request, send, item=item: self.page(item, request, send)

    def page(self, item, request, send):
        modified = AFTER if self.version and item.changes else BEFORE
        headers = [("Content-Type", item.type), ("Cache-Control", "no-cache")]
        if item.dated:
            headers.append(("Last-Modified", modified))
        if item.dated and request.header("If-Modified-Since") == modified and not request.header("If-None-Match"):
            send(answer(b"", headers, 304, request))
        else:
            send(answer(item.content(self.version), headers, 200, request))
        return True


class Browser:
    """What it was sent, with the validators."""

    def __init__(self, nodes):
        self.connections = [server.connect() for server in nodes.httpd]
        self.kept = {}  # target: (body, headers to ask with)
        self.turn, self.others = 0, random.Random(7)
        self.answers = {200: 0, 304: 0}

    def node(self):
        """The balancer's next; other people's requests take turns in between."""
        self.turn += 1 + self.others.randrange(NODES + 1)
        return self.turn % NODES

    def get(self, item, node):
        body, headers = self.kept.get(item.target, (None, {}))
        got = self.connections[node].get(item.target, headers)
        if got.status not in self.answers:
            raise Failed(f"{item.target}: {got}")
        self.answers[got.status] += 1
        if got.status == 304:
            return body
        asked_with = {"If-None-Match": got.etag, "If-Modified-Since": got.header("Last-Modified")}
        self.kept[item.target] = (got.body, {n: v for n, v in asked_with.items() if v})
        return got.body

    def close(self):
        for connection in self.connections:
            connection.close()


class Replay:
    def __init__(self, bench, application, items, own):
        self.application, self.items, self.own = application, items, own
        self.deployed = [0] * NODES
        config = CONFIG.format(port=self.application.port) + (EARLY if own else "")
        self.nodes = Nodes(bench, own, config, MODULES, lambda server, n: self.deploy(server, n, 0))
        self.browser = Browser(self.nodes)

    def deploy(self, server, node, version):
        self.deployed[node] = version
        for item in self.items:
            if not item.app and (version == 0 or item.changes):
                server.add(item.name, item.content(version), OLD + node * 60 + version * 3600)

    def publish(self):
        """The application's own deployment, and its one command."""
        self.application.version = 1
        if self.own:
            log_id = self.nodes.redis.cli("XADD", "{etag}:log", "*", "prefix", f"{SITE}/app/")
            for daemon in self.nodes.etagd:
                deadline = time.monotonic() + 5
                while not daemon.call("ETAG", "APPLIED", log_id):
                    if time.monotonic() > deadline:
                        raise Failed(f"{log_id} was not applied")

    def visit(self):
        for item in self.items:
            node = self.browser.node()
            body = self.browser.get(item, node)
            version = self.application.version if item.app else self.deployed[node]
            if body != item.content(version):
                raise Failed(f"{item.target} from node {node}: what the browser shows is not what the node has")

    def play(self):
        self.visit()
        self.visit()
        for node, server in enumerate(self.nodes.httpd):
            self.deploy(server, node, 1)
            if node == NODES - 1:
                self.publish()
            self.visit()
        self.visit()

    def end(self, bench):
        """Bytes httpd sent, requests that reached the application, answers by status."""
        self.browser.close()
        bench.stop(*reversed(self.nodes.httpd))
        lines = [line for server in self.nodes.httpd for line in (server.folder / "sent.log").read_text().splitlines()]
        sent = [int(line.split()[1]) for line in lines if line.split()[0] in ("200", "304")]
        if len(sent) != sum(self.browser.answers.values()):
            raise Failed(f"{len(sent)} lines logged for {self.browser.answers} answers")
        return sum(sent), self.application.count(), self.browser.answers


def play(bench, own):
    items = recording()
    with Application(items) as application:
        replay = Replay(bench, application, items, own)
        replay.play()
        return replay.end(bench)


def measure(bench):
    rounds = bench.rounds(3, 1)
    on = [play(bench, not bench.noise) for _ in range(rounds)]
    off = [play(bench, False) for _ in range(rounds)]

    def compare(what, part):
        figure = Figure(f"{what}, on / off", [a[part] / b[part] for a, b in zip(on, off)], ("<", 1))
        figure.facts.append(f"on {on[0][part]:,}, off {off[0][part]:,}")
        return figure

    figures = [compare("bytes sent", 0), compare("requests that reached the application", 1)]
    figures[0].facts.append(f"of {sum(on[0][2].values())} requests {on[0][2][304]} were answered 304, off {off[0][2][304]}")
    return figures
