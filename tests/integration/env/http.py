# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client that sends exactly what a test says and shows exactly what came back."""
import http.client
import socket


class Response:
    def __init__(self, raw, body):
        self.status = raw.status
        self.reason = raw.reason
        self.headers = raw.getheaders()  # (name, value) pairs, as received
        self.body = body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        """The value of a header that occurs at most once; None when absent."""
        values = self.all(name)
        assert len(values) < 2, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def etag(self):
        return self.header("ETag")

    def __repr__(self):
        lines = [f"{self.status} {self.reason}"] + [f"{n}: {v}" for n, v in self.headers]
        return "\n".join(lines + [f"({len(self.body)} bytes of body)"])


def request_bytes(method, target, headers=(), body=b"", host="www.example.com"):
    """A request as bytes. headers: dict or pairs; a Host among them replaces the default, None leaves it out."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    names = {n.lower() for n, _ in pairs}
    if "host" not in names:
        pairs.insert(0, ("Host", host))
    if body and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1"] + [f"{n}: {v}" for n, v in pairs if v is not None]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Connection:
    """One connection, kept alive as long as the server keeps it."""

    def __init__(self, port, host="www.example.com", timeout=20.0):
        self.host = host
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_raw(self, data):
        self.sock.sendall(data)

    def read(self, method="GET"):
        """Reads one response to a request of that method."""
        raw = http.client.HTTPResponse(self.sock, method=method)
        try:
            raw.begin()
            return Response(raw, raw.read())
        finally:
            raw.close()

    def request(self, method, target, headers=(), body=b""):
        self.send_raw(request_bytes(method, target, headers, body, self.host))
        return self.read(method)

    def get(self, target, headers=()):
        return self.request("GET", target, headers)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def request(port, method, target, headers=(), body=b"", host="www.example.com", timeout=20.0):
    """One request on a connection of its own."""
    with Connection(port, host, timeout) as c:
        return c.request(method, target, headers, body)
