# SPDX-License-Identifier: Apache-2.0
"""The first hash of a file, against openssl dgst -sha256 of it; the file is in the page cache.

The large file is hashed by etagd: from the first request, which hands the descriptor over, until a request
is answered with the tag. The small one is hashed by httpd within the request.
"""
import os
import subprocess
import time

import servers
from env import machine
from env.process import Failed
from report import Figure

NAME = "hashing"
TITLE = "First hash of a file, against openssl dgst -sha256"
LARGE, QUICK_LARGE = 512 << 20, 64 << 20
SMALL = 8 << 20
ROUNDS, QUICK_ROUNDS = 7, 2
POLL = 0.002  # a client that asked without pause would take the hasher's processor


def write_large(path, size, content):
    """size bytes, the same piece again and again."""
    with open(path, "wb") as f:
        for _ in range(size // len(content)):
            f.write(content)
    path.chmod(0o644)
    machine.give(path)


def renew(path):
    """Another identity, so that it must be hashed anew; old enough for the digest to be kept."""
    os.utime(path)
    servers.settled(path)


def head(connection, target):
    began = time.perf_counter()
    got = connection.request("HEAD", target)
    if got.status != 200:
        raise Failed(f"{target}: {got}")
    return got.etag, time.perf_counter() - began


def by_etagd(server, path):
    renew(path)
    with server.connect(host=server.authority) as c:
        began = time.perf_counter()
        if head(c, f"/{path.name}")[0]:
            raise Failed("the file had a tag before it was hashed")
        while not head(c, f"/{path.name}")[0]:
            if time.perf_counter() - began > 60:
                raise Failed("the file gets no tag")
            time.sleep(POLL)
        return time.perf_counter() - began


def by_httpd(server, path):
    """Time of the first request beyond that of the second."""
    renew(path)
    with server.connect(host=server.authority) as c:
        first, took = head(c, f"/{path.name}")
        again, rest = head(c, f"/{path.name}")
        if not first or first != again:
            raise Failed(f"tags {first} and {again}")
        return took - rest


def by_openssl(path):
    began = time.perf_counter()
    subprocess.run(["openssl", "dgst", "-sha256", path], check=True, capture_output=True, timeout=120)
    return time.perf_counter() - began


def measure(bench):
    server = servers.ours(bench, "")
    bench.start(server)
    size = bench.rounds(LARGE, QUICK_LARGE)
    large = server.docs / "large.bin"
    write_large(large, size, bench.content(1 << 20))
    small = server.add("small.bin", bench.content(SMALL))
    by_openssl(large)  # into the page cache
    ours, openssl, inline = [], [], []
    for i in range(bench.rounds(ROUNDS, QUICK_ROUNDS)):
        for side in (ours, openssl) if i % 2 == 0 else (openssl, ours):
            side.append(by_etagd(server, large) if side is ours else by_openssl(large))
        inline.append(by_httpd(server, small))
    figure = Figure(f"{size >> 20} MB by etagd: throughput, ours / openssl", [b / a for a, b in zip(ours, openssl)],
                    (">=", 0.9))
    for name, times, of in (("from the first request to the tag", ours, size), ("openssl, with its start", openssl, size),
                            (f"{SMALL >> 20} MB within the request", inline, SMALL)):
        figure.facts.append(f"{name}: {bench.spread([of / 1e6 / t for t in times])} MB a second")
    return [figure]
