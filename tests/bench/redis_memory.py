# SPDX-License-Identifier: Apache-2.0
"""What a URL known costs Redis: a million of them published as httpd does, and Redis' own count of its memory.

Plain is a response without Vary; the other one varies on Accept-Language and was seen in one language. All responses
share one header capsule, as those of one application do, so it costs nothing per URL. The names of Redis' keys hold
the URL: a longer one costs as much more, twice.
"""
import base64
import hashlib

from env.node import Node, entry
from env.process import Failed
from env.redis import Redis
from env.resp import Resp, encode
from report import Figure

NAME = "redis-memory"
TITLE = "Redis memory per URL known"
COUNT, QUICK_COUNT = 1_000_000, 20_000
BATCH = 1000  # published at one time: etagd shares no more than a few thousand that Redis has not answered
URL = "https://www.example.com/shop/products/{:07}"
CAPSULE = b"Cache-Control: public, max-age=60\nContent-Type: text/html; charset=utf-8\n"
KINDS = (("plain", "", 320), ("with one variant", "accept-language", 650))


def put(generation, seq, number, names):
    """One ETAG PUT of a digest."""
    sum_of = hashlib.sha256(b"%d" % number).digest()
    variant = base64.urlsafe_b64encode(sum_of[:12])
    return encode("ETAG", "PUT", generation, seq, URL.format(number), variant, names, 0, entry(sum_of[16:], "d"), CAPSULE,
                  0, 0)


def publish(node, count, names):
    generation, seq = node.snapshot()
    with Resp(node.socket, 60) as c:
        for start in range(0, count, BATCH):
            batch = range(start, min(start + BATCH, count))
            c.send_raw(b"".join(put(generation, seq, n, names) for n in batch))
            if any(c.read() != "OK" for _ in batch):
                raise Failed("a publication was refused")
            # Asked of Redis on the same connection: the answer comes after those to what was published.
            c.call("ETAG", "FETCH", "https://www.example.com/nothing")


def known(bench, count, names):
    """Bytes that so many URLs took of Redis, and its keys then."""
    redis = bench.start(Redis(bench.own_folder("redis")))
    node = Node(bench.etagd(redis=redis, node="one")).wait_lease()
    before = redis_memory(redis)
    publish(node, count, names)
    info = node.info("Store")
    if int(info["shared_puts"]) < count or int(info["shared_puts_dropped"]):
        raise Failed(f"{info['shared_puts']} of {count} publications were shared")
    after, keys = redis_memory(redis), redis.call("DBSIZE")
    bench.stop(node.etagd, redis)
    return after - before, keys


def redis_memory(redis):
    with redis.client() as c:
        return int(c.info("memory")["used_memory"])


def measure(bench):
    count = bench.rounds(COUNT, QUICK_COUNT)
    figures = []
    for what, names, bar in KINDS:
        took, keys = known(bench, count, names)
        figures.append(Figure(f"{what}, {count:,} URLs", [took / count], ("<=", bar), "bytes",
                              facts=[f"{took:,} bytes; {keys:,} keys; URLs of {len(URL.format(0))} bytes"]))
    return figures
