# SPDX-License-Identifier: Apache-2.0
"""A small application behind ProxyPass: routes are set by the test, requests are counted.

It speaks HTTP/1.1 over plain sockets, a thread per connection, so that a test can also make it break
the rules: stop half way, lie about a length, wait for an event.
"""
import socket
import threading

from . import machine


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        return ", ".join(values) if values else None


def answer(body=b"", headers=(), status=200, request=None):
    """A complete response as bytes; request decides whether the body is sent (HEAD)."""
    body = body if isinstance(body, bytes) else body.encode()
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    lines = [f"HTTP/1.1 {status} -"] + [f"{n}: {v}" for n, v in pairs]
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if status in (204, 304) or (request and request.method == "HEAD") else head + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Backend:
    """A context manager; port is free to read at once.

    routes: path (without query) -> function(request, send). send(bytes) writes to the client; the
    function returns True to keep the connection, anything else closes it.
    """

    def __init__(self):
        self.port = machine.free_port()
        self.routes = {}
        self.requests = []
        self.lock = threading.Lock()
        self.open = set()
        self.listener = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def page(self, path, body, headers=(("Content-Type", "text/html"),), status=200):
        """path answers with this, whatever the request's conditionals say."""

        def plain(request, send):
            send(answer(body, headers, status, request))
            return True

        self.routes[path] = plain

    def note(self, request):
        """A request has arrived."""
        with self.lock:
            self.requests.append(request)

    def route(self, request):
        """The function that answers a request; None: there is no such page."""
        return self.routes.get(request.target.split("?")[0])

    def raw(self, path, *pieces):
        """path answers with these bytes and closes."""

        def broken(_request, send):
            for piece in pieces:
                send(piece)

        self.routes[path] = broken

    def count(self, path=None):
        """Requests that arrived, for one path or in all."""
        with self.lock:
            return sum(path is None or r.target.split("?")[0] == path for r in self.requests)

    def last(self):
        with self.lock:
            return self.requests[-1]

    def unread(self):
        """Bytes between this server and its clients that were sent and that the other side has not read yet."""
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        ends = [row for row in rows if row[3] == "01" and self.port in (int(end.split(":")[1], 16) for end in row[1:3])]
        return sum(int(queue, 16) for row in ends for queue in row[4].split(":"))

    # The server

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # close alone would leave the thread in accept()
        self.listener.close()
        with self.lock:
            left = list(self.open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it ended by itself meanwhile

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                while self._one(connection, stream):
                    pass
        except (OSError, ValueError):
            pass  # the proxy gave up, which tests provoke
        finally:
            with self.lock:
                self.open.discard(connection)

    def _one(self, connection, stream):
        first = stream.readline().decode("latin-1").split()
        if len(first) != 3:
            return False
        headers = []
        while (line := stream.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        request = Request(first[0], first[1], headers, b"")
        request.body = stream.read(int(request.header("Content-Length") or 0))
        self.note(request)
        route = self.route(request)
        if route is None:
            connection.sendall(answer("no such page\n", status=404, request=request))
            return True
        return route(request, connection.sendall)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
