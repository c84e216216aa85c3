# SPDX-License-Identifier: Apache-2.0
"""The first event of a stream, ours against stock: a filter that keeps bodies back must let it pass at once.

The backend sends headers and a first event with the request, and the rest once the client has the first. A page
that pauses in the same way under another type is what ETagBufferTime is for: reported, to show what an event
stream is spared.
"""
import threading
import time

import servers
from env import http
from env.backend import Backend, chunk
from env.process import Failed
from files_304 import interleave
from report import Figure

NAME = "stream"
TITLE = "Time to the first event of a stream, ours against stock"
PAIRS, QUICK_PAIRS = 400, 30
PAUSES, QUICK_PAUSES = 10, 3
MODULES = ("proxy", "proxy_http")
PROXY = "ProxyPass /app/ http://127.0.0.1:{port}/\n"
FIRST, LAST = b"data: the first\n\n", b"data: the last\n\n"


class Streams(Backend):
    """Each answer waits in the middle until go is set."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.routes["/events"] = lambda request, send: self.stream(b"text/event-stream", send)
        self.routes["/page"] = lambda request, send: self.stream(b"text/html", send)

    def stream(self, kind, send):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
        send(head + chunk(FIRST))
        if not self.go.wait(20):
            return False
        send(chunk(LAST) + b"0\r\n\r\n")
        return True


class Reader:
    """One front and a connection to it."""

    def __init__(self, backend, server):
        self.backend, self.server = backend, server
        self.connection = server.connect(host=server.authority)

    def first_event(self, target):
        """Milliseconds from the request to the first event. The answer is read to its end."""
        self.backend.go.clear()
        began = time.perf_counter()
        self.connection.send_raw(http.request_bytes("GET", target, host=self.server.authority))
        data = self.read(b"", FIRST)
        took = time.perf_counter() - began
        self.backend.go.set()
        if not data.startswith(b"HTTP/1.1 200 ") or LAST in data:
            raise Failed(f"{target}: a 200 and its first event expected:\n{data.decode('latin-1')}")
        self.read(data, b"\r\n0\r\n\r\n")
        return took * 1000

    def read(self, data, until):
        while until not in data:
            piece = self.connection.sock.recv(65536)
            if not piece:
                raise Failed(f"the stream ended early:\n{data.decode('latin-1')}")
            data += piece
        return data


def measure(bench):
    with Streams() as backend:
        config = PROXY.format(port=backend.port)
        ours = servers.ours(bench, config, MODULES)
        stock = servers.BenchHttpd(bench.own_folder("stock"), config, MODULES, own=False)
        bench.start(ours, stock)
        readers = [Reader(backend, server) for server in (ours, stock)]
        for reader in readers:
            reader.first_event("/app/events")
        a, b = interleave(bench.rounds(PAIRS, QUICK_PAIRS),
                          *(lambda r=r: r.first_event("/app/events") for r in readers))
        pauses = [readers[0].first_event("/app/page") for _ in range(bench.rounds(PAUSES, QUICK_PAUSES))]
        for reader in readers:
            reader.connection.close()
        bench.stop(ours, stock)
    later = Figure("text/event-stream: ours later than stock by", [x - y for x, y in zip(a, b)], ("<=", 1), "ms",
                   rounds="ABBA pairs")
    later.facts.append(f"ours: {bench.spread(a)} ms; stock: {bench.spread(b)} ms")
    paused = Figure("text/html that pauses in the same way, ours (ETagBufferTime is 200 ms)", pauses, unit="ms")
    return [later, paused]
