# SPDX-License-Identifier: Apache-2.0
"""A 304 for a small static file: what it costs httpd, ours against stock FileETag MTime Size."""
import cpu
import instructions
import load
import servers
from report import Figure

NAME = "static-304"
TITLE = "304 for a static file of 2 kB, ours against stock FileETag MTime Size"
SIZE = 2048
CONNECTIONS = 8
PAIRS, QUICK_PAIRS = 24, 4
SECONDS = 1
WARM_UP = 1


class Side:
    """One server, its validator, and the load that is put on it."""

    def __init__(self, bench, server, target):
        self.bench, self.server, self.target = bench, server, target
        self.headers = {"If-None-Match": servers.validator(server, target)}
        self.size = servers.size_of_304(server, target, self.headers)

    def run(self, seconds, cpus=None):
        """One load on the server; its CPU time with it."""
        before = cpu.snapshot(self.server)
        done = load.wrk(self.bench.folder, self.server.url(self.target), self.headers, seconds, CONNECTIONS, cpus)
        done.cpu_ns = cpu.spent(before, cpu.snapshot(self.server))
        return load.only(done, self.size, CONNECTIONS)


def both(bench, file_etag, name, size):
    """Ours and stock, started, on the same file: (ours, stock, path)."""
    config = f"FileETag {file_etag}\n"
    ours = servers.ours(bench, config)
    stock = servers.BenchHttpd(bench.own_folder("stock"), config, own=False)
    stock.docs = ours.docs
    path = ours.add(name, bench.content(size))
    bench.start(ours, stock)
    servers.settled(path)
    return ours, stock, path


def interleave(pairs, first, second):
    """ABBA: each pair begins with what the last one ended with, so that a drift hits both alike."""
    a, b = [], []
    for i in range(pairs):
        if i % 2 == 0:
            a.append(first())
            b.append(second())
        else:
            b.append(second())
            a.append(first())
    return a, b


def measure(bench):
    ours, stock, _ = both(bench, "MTime Size", "page.html", SIZE)
    sides = [Side(bench, server, "/page.html") for server in (ours, stock)]
    client = load.client_cpu()
    cpus = {client} if client is not None else None
    for side in sides:
        side.run(WARM_UP, cpus)
        if cpus:
            load.pin(cpu.tree(side.server.pid), bench.cpus - cpus)
    a, b = interleave(bench.rounds(PAIRS, QUICK_PAIRS), *(lambda s=s: s.run(SECONDS, cpus) for s in sides))
    cost = Figure("CPU time of httpd per request, ours / stock",
                  [x.ns_per_request / y.ns_per_request for x, y in zip(a, b)], ("<=", 1.03), rounds="ABBA pairs")
    rate = Figure("requests per second, ours / stock", [x.rate / y.rate for x, y in zip(a, b)], rounds="ABBA pairs")
    for name, loads in (("ours", a), ("stock", b)):
        cost.facts.append(f"{name}: {bench.spread([x.ns_per_request / 1000 for x in loads])} microseconds")
        rate.facts.append(f"{name}: {bench.spread([x.rate for x in loads])} a second")
    cost.facts.append(f"{CONNECTIONS} connections kept alive, wrk on a processor of its own: {'yes' if cpus else 'no'}")
    count = instructions.compare(bench, [s.server for s in sides], "/page.html", [s.headers for s in sides])
    return [cost, rate, count]
