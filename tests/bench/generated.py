# SPDX-License-Identifier: Apache-2.0
"""A generated 200: what the two filters cost httpd, ours against stock.

Two sources, neither with a tag of its own, so that with the settings as they come (ETagSource upstream digest)
every body is kept back and hashed. ProxyPass to stock httpd on loopback is what most sites do, and the bar is
its. A handler of mod_lua that sends a string made once is about the cheapest way to generate a page that httpd
has, so the filters' share is as large as it gets. Of the proxied pages the front's CPU time alone is counted.
"""
import hashlib
import time

import cpu
import load
import servers
from files_304 import CONNECTIONS, Side, interleave
from report import Figure

NAME = "generated-200"
TITLE = "A generated 200, ours against stock"
SIZES = (("10 kB", 10 << 10, 0.94), ("100 kB", 100 << 10, 0.85))
PAIRS, QUICK_PAIRS = 16, 2
SECONDS = 1
WARM_UP = 1
PROXY_MODULES, LUA_MODULES = ("proxy", "proxy_http"), ("lua",)
PROXY = "ProxyPass /app/ http://127.0.0.1:{port}/\n"
LUA = "LuaScope thread\nLuaMapHandler ^/app/(.*)$ {folder}/pages.lua\n"
EARLY = "<Location /app/>\nETagEarly On\n</Location>\n"
HANDLER = """\
local made = {}
function handle(r)
   local n = tonumber(r.uri:match('%d+'))
   made[n] = made[n] or string.rep('0123456789abcdef', n / 16)
   r.content_type = 'text/html'
   r:write(made[n])
   return apache2.OK
end
"""


class Fetched(Side):
    """A server that is asked for the whole page."""

    def __init__(self, bench, server, target):
        self.bench, self.server, self.target, self.headers = bench, server, target, {}
        self.size = servers.size_of_200(server, target)


def hash_ns(size, content):
    """One SHA-256 of so many bytes, by the libcrypto that httpd uses."""
    rounds = max(100, (64 << 20) // size)
    began = time.thread_time()
    for _ in range(rounds):
        hashlib.sha256(content)
    return (time.thread_time() - began) / rounds * 1e9


def compare(bench, sides, what, bar, hashing):
    client = load.client_cpu()
    cpus = {client} if client is not None else None
    for side in sides:
        side.run(WARM_UP, cpus)
        if cpus:
            load.pin(cpu.tree(side.server.pid), bench.cpus - cpus)
    ours, stock = interleave(bench.rounds(PAIRS, QUICK_PAIRS), *(lambda s=s: s.run(SECONDS, cpus) for s in sides))
    figure = Figure(f"{what}: CPU time of httpd per request, stock / ours",
                    [y.ns_per_request / x.ns_per_request for x, y in zip(ours, stock)], bar, rounds="ABBA pairs")
    for name, loads in (("ours", ours), ("stock", stock)):
        figure.facts.append(f"{name}: {bench.spread([x.ns_per_request / 1000 for x in loads])} microseconds;"
                            f" {bench.spread([x.rate for x in loads])} a second")
    figure.facts.append(f"SHA-256 of the body alone: {hashing / 1000:.1f} microseconds,"
                        f" {hashing / min(x.ns_per_request for x in ours):.0%} of ours")
    return figure


def pairs(bench, backend, pages):
    """(name, ours, stock, whether the bar is its) for each source and setting."""
    proxy, lua = PROXY.format(port=backend.port), LUA.format(folder=pages)
    for name, config, modules, own, bar in (("proxied", proxy, PROXY_MODULES, "", True),
                                            ("proxied, ETagEarly", proxy, PROXY_MODULES, EARLY, False),
                                            ("mod_lua", lua, LUA_MODULES, "", False)):
        ours = servers.ours(bench, config + ("" if bench.noise else own), modules)
        stock = servers.BenchHttpd(bench.own_folder("stock"), config, modules, own=False)
        bench.start(ours, stock)
        yield name, ours, stock, bar
        bench.stop(ours, stock)


def measure(bench):
    backend = servers.BenchHttpd(bench.own_folder("backend"), "FileETag None\n", own=False)
    pages = bench.own_folder("pages")
    (pages / "pages.lua").write_text(HANDLER)
    content = {size: bench.content(size) for _, size, _ in SIZES}
    for size in content:
        backend.add(f"{size}.html", content[size])
    bench.start(backend)
    hashing = {size: hash_ns(size, content[size]) for size in content}
    figures = []
    for name, ours, stock, has_bar in pairs(bench, backend, pages):
        for label, size, bar in SIZES:
            sides = [Fetched(bench, server, f"/app/{size}.html") for server in (ours, stock)]
            figures.append(compare(bench, sides, f"{name}, {label}", (">=", bar) if has_bar else None, hashing[size]))
    figures[0].facts.append(f"{CONNECTIONS} connections kept alive")
    return figures
