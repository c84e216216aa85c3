# SPDX-License-Identifier: Apache-2.0
"""An early 304 of a proxied page, against the same page proxied without us.

The backend is stock httpd, kept alive, and answers the conditional request of a 10 kB file with 304 itself:
the cheapest backend there is. A real application takes longer, and the ratio is larger.
"""
import cpu
import load
import servers
from files_304 import CONNECTIONS, Side, interleave
from report import Figure

NAME = "proxied-304"
TITLE = "304 of a proxied page, early, against the same page proxied without us"
SIZE = 10 << 10
ROUNDS, QUICK_ROUNDS = 10, 2
SECONDS = 2
MODULES = ("proxy", "proxy_http")
PROXY = "ProxyPass /app/ http://127.0.0.1:{port}/\n"
EARLY = "<Location /app/>\nETagEarly On\n</Location>\n"
# The backend's own count of requests, which the load's must equal.
COUNTED = 'LogFormat "%>s" status\nCustomLog requests.log status\n'


class Proxied(Side):
    """A front, with what its load cost the backend: CPU time, and requests if the backend counts them."""

    def __init__(self, bench, front, backend):
        self.backend = backend
        super().__init__(bench, front, "/app/page.html")

    def run(self, seconds, cpus=None):
        before = cpu.snapshot(self.backend)
        done = super().run(seconds, cpus)
        done.backend_ns = cpu.spent(before, cpu.snapshot(self.backend))
        return done


def idle(backend, seconds):
    """CPU time of a backend that nobody asks: its housekeeping, per second."""
    before = cpu.snapshot(backend)
    cpu.wait_seconds(seconds)
    return cpu.spent(before, cpu.snapshot(backend)) / seconds


def requests_counted(bench, front_config):
    """Requests that reach the backend while an early 304 is asked for 1,000 times, by the backend's own log."""
    backend = servers.BenchHttpd(bench.own_folder("backend"), COUNTED, own=False)
    backend.add("page.html", bench.content(SIZE))
    bench.start(backend)
    front = servers.ours(bench, PROXY.format(port=backend.port) + front_config, MODULES)
    bench.start(front)
    tag = servers.validator(front, "/app/page.html")
    log = backend.folder / "requests.log"
    before = len(log.read_text().splitlines())
    with front.connect(host=front.authority) as c:
        answers = [c.get("/app/page.html", {"If-None-Match": tag}).status for _ in range(1000)]
    if set(answers) != {304}:
        raise load.BadLoad(f"not only 304: {set(answers)}")
    bench.stop(front, backend)
    return len(log.read_text().splitlines()) - before


def compare(bench, sides, where, cpus):
    """Requests per second of both sides, and what the backend did meanwhile."""
    everywhere = bench.cpus
    for side in sides:
        for server in (side.server, side.backend):
            load.pin(cpu.tree(server.pid), everywhere - cpus if cpus else everywhere)
        side.run(1, cpus)
    a, b = interleave(bench.rounds(ROUNDS, QUICK_ROUNDS), *(lambda s=s: s.run(SECONDS, cpus) for s in sides))
    rate = Figure(f"requests per second, ours / stock, {where}", [x.rate / y.rate for x, y in zip(a, b)], (">=", 2.3),
                  rounds="ABBA pairs")
    for name, loads in (("ours", a), ("stock", b)):
        rate.facts.append(
            f"{name}: {bench.spread([x.rate for x in loads])} a second; CPU time per request"
            f" {bench.spread([x.ns_per_request / 1000 for x in loads])} microseconds in front,"
            f" {bench.spread([x.backend_ns / x.requests / 1000 for x in loads])} in the backend")
    return rate, a, b


def cpu_cost(a, b):
    """What the pages cost this site in processors, whoever else uses them meanwhile."""
    return Figure("CPU time per request in front and backend, stock / ours",
                  [(y.cpu_ns + y.backend_ns) / y.requests / ((x.cpu_ns + x.backend_ns) / x.requests) for x, y in zip(a, b)],
                  rounds="ABBA pairs")


def backend_share(backend, a, b):
    """The backend's CPU time beside what it takes for stock. Its housekeeping goes on when nobody asks."""
    share = Figure("CPU time of the backend per request, ours / stock (0 but for its housekeeping)",
                   [(x.backend_ns / x.requests) / (y.backend_ns / y.requests) for x, y in zip(a, b)], ("<=", 0.001),
                   rounds="ABBA pairs")
    share.facts.append(f"ours: {sum(x.backend_ns for x in a) / 1000 / sum(x.seconds for x in a):.0f} microseconds a second;"
                       f" when nobody asks: {idle(backend, 2) / 1000:.0f}")
    return share


def measure(bench):
    backend = servers.BenchHttpd(bench.own_folder("backend"), own=False)
    page = backend.add("page.html", bench.content(SIZE))
    bench.start(backend)
    config = PROXY.format(port=backend.port)
    ours = servers.ours(bench, config + (EARLY if not bench.noise else ""), MODULES)
    stock = servers.BenchHttpd(bench.own_folder("stock"), config, MODULES, own=False)
    bench.start(ours, stock)
    servers.settled(page)
    sides = [Proxied(bench, front, backend) for front in (ours, stock)]
    shared, *loads = compare(bench, sides, "client, front and backend share the machine", None)
    shared.facts.append(f"{CONNECTIONS} connections kept alive")
    figures = [shared, cpu_cost(*loads), backend_share(backend, *loads)]
    client = load.client_cpu()
    if client is not None:
        figures.insert(1, compare(bench, sides, "the client on a processor of its own", {client})[0])
    if not bench.noise:
        reached = requests_counted(bench, EARLY)
        figures.append(Figure("requests that reach the backend in 1,000 with us", [reached], ("=", 0)))
    return figures
