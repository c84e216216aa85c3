# SPDX-License-Identifier: Apache-2.0
"""What a node asks of Redis while it serves what it knows: nothing beyond its lease and the log's tail.

INFO commandstats counts every command, those within scripts included. A renewal is one script; the tail is one XREAD
a second. What is neither belongs to the requests. That they would show is seen first: a page that is not known yet
takes some.
"""
import cpu
import load
import servers
from env.process import Failed
from env.redis import Redis
from files_304 import CONNECTIONS
from report import Figure

NAME = "redis-commands"
TITLE = "Redis commands per request in steady state"
SECONDS, QUICK_SECONDS = 20, 3
MODULES = ("proxy", "proxy_http")
CONFIG = """\
ProxyPass /app/ http://127.0.0.1:{port}/
<Location /app/>
ETagEarly On
</Location>
"""
# renew.lua's, the tail's, and what connections and this row say for themselves.
KEEPING = {"evalsha", "type", "xinfo|stream", "time", "info", "hmget", "xrange", "hset", "xtrim", "hgetall", "hdel", "xread",
           "hget", "ping", "client|setname", "script|load"}


class Counted:
    """Calls of commands since the last look."""

    def __init__(self, redis):
        self.redis, self.last = redis, {}
        self.calls()

    def calls(self):
        """(of requests, all)"""
        stats = {}
        for line in self.redis.call("INFO", "commandstats").decode().splitlines():
            if line.startswith("cmdstat_"):
                name, _, text = line.removeprefix("cmdstat_").partition(":")
                stats[name] = int(text.split(",")[0].removeprefix("calls="))
        new = {name: n - self.last.get(name, 0) for name, n in stats.items()}
        self.last = stats
        return sum(n for name, n in new.items() if name not in KEEPING), sum(new.values())


def steady(bench, front, counted, target, tag, seconds):
    """Commands per request while this is answered 304 again and again."""
    headers = {"If-None-Match": tag}
    size = servers.size_of_304(front, target, headers)
    counted.calls()
    done = load.only(load.wrk(bench.folder, front.url(target), headers, seconds, CONNECTIONS), size, CONNECTIONS)
    ours, every = counted.calls()
    figure = Figure(f"{target}: commands per request", [ours / done.requests], ("=", 0))
    figure.facts.append(f"{done.requests:,} answers of 304; Redis ran {every / done.seconds:.0f} commands a second")
    return figure


def measure(bench):
    redis = bench.start(Redis(bench.own_folder("redis")))
    daemon = bench.etagd(redis=redis, node="one")
    daemon.wait_info("left_ms", lambda left: int(left) > 0)
    backend = servers.BenchHttpd(bench.own_folder("backend"), own=False)
    backend.add("page.html", bench.content(10 << 10))
    bench.start(backend)
    front = servers.BenchHttpd(bench.own_folder("front"), "ETagEngine On\n" + CONFIG.format(port=backend.port), MODULES,
                               etagd=daemon)
    file = front.add("file.html", bench.content(2 << 10))
    bench.start(front)
    servers.settled(file)
    counted, seconds = Counted(redis), bench.rounds(SECONDS, QUICK_SECONDS)
    tags = {target: servers.validator(front, target) for target in ("/app/page.html", "/file.html")}
    if not counted.calls()[0]:
        raise Failed("a page was learned and nothing was asked of Redis: this row could not see anything")
    cpu.wait_seconds(seconds)
    idle = counted.calls()[1] / seconds
    figures = [steady(bench, front, counted, target, tag, seconds) for target, tag in tags.items()]
    figures[0].facts.append(f"{idle:.0f} commands a second while nobody asks")
    return figures
