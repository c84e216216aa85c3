# SPDX-License-Identifier: Apache-2.0
"""Memory for bodies that are kept back until their digest is known: 200 at one time, against stock.

The backend sends each body but for its last byte. Once httpd has read what there is (no socket between the two
holds a byte) its resident memory is what the bodies take: in ours they wait there, in stock they have gone on to
the client. Bodies of unknown length that turn out to be longer than ETagBufferLimit are let go at the limit: the
most that was ever resident shows that no more was kept.
"""
import selectors
import socket
import threading
from pathlib import Path

import cpu
import servers
from env import http
from env.backend import Backend, chunk
from env.process import Failed, wait_for
from report import Figure

NAME = "held-back"
TITLE = "Memory for 200 bodies at one time that are kept back, ours against stock"
CLIENTS, QUICK_CLIENTS = 200, 50
LIMIT = 1 << 20  # ETagBufferLimit as it comes
LONGER = 4 * LIMIT
MIB = 1 << 20
MODULES = ("proxy", "proxy_http")
CONFIG = """\
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 256
MaxSpareThreads 256
ProxyPass /app/ http://127.0.0.1:{port}/
"""
PATIENT = "ETagBufferTime 60s\n"


class Bodies(Backend):
    """/announced is as long as ETagBufferLimit, /longer is four times that and does not say so."""

    def __init__(self, content):
        super().__init__()
        self.go = threading.Event()
        self.sent = 0  # bodies but for their last byte
        self.routes["/announced"] = lambda request, send: self.body(
            send, b"Content-Length: %d" % LIMIT, content[:LIMIT - 1], content[LIMIT - 1:LIMIT])
        whole = chunk(content) * (LONGER // len(content)) + b"0\r\n\r\n"
        self.routes["/longer"] = lambda request, send: self.body(
            send, b"Transfer-Encoding: chunked", whole[:-1], whole[-1:])

    def body(self, send, framing, most, rest):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + framing + b"\r\n\r\n")
        send(most)
        with self.lock:
            self.sent += 1
        if self.go.wait(120):
            send(rest)
        return False


class Clients:
    """Connections that read whatever comes, in one thread of their own."""

    def __init__(self, server, target, count):
        self.received = [0] * count
        self.sockets = []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", server.port), 30)
            s.sendall(http.request_bytes("GET", target, {"Connection": "close"}, host=server.authority))
            self.sockets.append(s)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with selectors.DefaultSelector() as ready:
            for number, s in enumerate(self.sockets):
                ready.register(s, selectors.EVENT_READ, number)
            while ready.get_map():
                for key, _ in ready.select():
                    n = len(key.fileobj.recv(1 << 18))
                    self.received[key.data] += n
                    if not n:
                        ready.unregister(key.fileobj)
                        key.fileobj.close()

    def finish(self, size):
        self.thread.join(60)
        if self.thread.is_alive() or min(self.received) < size:
            raise Failed(f"a body of {size} bytes came as {min(self.received)}")


def status(pid, name):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(f"{name}:")).split()[1]) * 1024


def resident(server, name="VmRSS"):
    return sum(status(pid, name) for pid in cpu.tree(server.pid))


def forget_peak(server):
    """VmHWM of all of its processes begins anew."""
    for pid in cpu.tree(server.pid):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


class Measured:
    """Resident memory of one front around so many bodies at one time."""

    def __init__(self, backend, server, target, size, count):
        backend.go.clear()
        backend.sent = 0
        self.before = resident(server)
        forget_peak(server)
        clients = Clients(server, target, count)
        wait_for(lambda: backend.sent == count and backend.unread() == 0, "httpd to read what there is", 60)
        self.waiting, self.early = resident(server), max(clients.received)
        backend.go.set()
        clients.finish(size)
        self.peak, self.after = resident(server, "VmHWM"), resident(server)

    def text(self):
        return (f"{self.before / MIB:.1f} MiB before, {self.waiting / MIB:.1f} while they wait,"
                f" {self.peak / MIB:.1f} at most, {self.after / MIB:.1f} after")


def compare(backend, fronts, target, size, count, part):
    """Memory of ours beyond stock's, per connection."""
    ours, stock = (Measured(backend, server, target, size, count) for server in fronts)
    extra = [(getattr(m, part) - m.before) / count / MIB for m in (ours, stock)]
    figure = Figure(f"{target[5:]} ({size // MIB} MiB): memory per connection beyond stock's", [extra[0] - extra[1]],
                    ("<=", 1.1 * LIMIT / MIB), "MiB")
    figure.facts += [f"ours: {ours.text()}", f"stock: {stock.text()}"]
    return figure, ours


def measure(bench):
    count = bench.rounds(CLIENTS, QUICK_CLIENTS)
    with Bodies(bench.content(1 << 16) * 16) as backend:
        config = CONFIG.format(port=backend.port)
        fronts = [servers.ours(bench, config + ("" if bench.noise else PATIENT), MODULES),
                  servers.BenchHttpd(bench.own_folder("stock"), config, MODULES, own=False)]
        bench.start(*fronts)
        held, ours = compare(backend, fronts, "/app/announced", LIMIT, count, "waiting")
        if ours.early and not bench.noise:
            raise Failed(f"{ours.early} bytes went to a client before the body was complete")
        longer, _ = compare(backend, fronts, "/app/longer", LONGER, count, "peak")
        bench.stop(*fronts)
    held.facts.append(f"{count} connections; ETagBufferLimit is {LIMIT // MIB} MiB; a tenth is for what buckets take beside it")
    return [held, longer]
