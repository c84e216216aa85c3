# SPDX-License-Identifier: Apache-2.0
"""Instructions per request: httpd -X under callgrind with N and with 2N requests; the difference is N requests.

Programs' own instructions only: what the kernel does for them, an open and a close for instance, is not in
it. And valgrind offers neither SHA extensions nor AVX-512: hashing shows larger than it is.
"""
import re
import socket

import servers
from env import machine
from env.process import Failed
from report import Figure

N, QUICK_N = 2000, 300


class Counted(servers.BenchHttpd):
    """httpd -X under callgrind."""

    start_timeout = 120.0
    stop_timeout = 120.0

    def __init__(self, like, folder, etagd):
        super().__init__(folder, like.config, like.modules, etagd=etagd, own=like.own)
        self.docs = like.docs

    def argv(self):
        httpd = super().argv()
        httpd[-1] = "-X"
        return [machine.program("valgrind"), "--tool=callgrind", f"--callgrind-out-file={self.folder}/callgrind.out", *httpd]

    def ready(self):
        """One process never says that it resumes normal operations."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 30).close()
            return True
        except OSError:
            return False

    def total(self):
        """Instructions of the run that has ended."""
        found = re.search(r"Collected *: *(\d+)", self.log.read_text(errors="replace"))
        if not found:
            raise Failed(f"callgrind did not report:\n{self.tail()}")
        return int(found.group(1))


def run(bench, like, target, headers, requests):
    """Instructions of a server that answered this many conditional requests on one connection."""
    server = Counted(like, bench.own_folder("counted"), like.etagd)
    bench.start(server)
    with server.connect(host=server.authority, timeout=60) as c:
        for _ in range(requests):
            answer = c.get(target, headers)
            if answer.status != 304:
                raise Failed(f"304 expected: {answer}")
    bench.stop(server)
    return server.total()


def compare(bench, both, target, headers):
    n = bench.rounds(N, QUICK_N)
    each = []
    for like, sent in zip(both, headers):
        each.append((run(bench, like, target, sent, 2 * n) - run(bench, like, target, sent, n)) / n)
    return Figure("instructions per request, ours / stock", [each[0] / each[1]],
                  facts=[f"ours {each[0]:,.0f}, stock {each[1]:,.0f} (callgrind, {n} and {2 * n} requests; neither the"
                         " kernel's, nor SHA extensions)"])
