# SPDX-License-Identifier: Apache-2.0
"""Many HTTP/1.1 requests in little time: some connections, kept alive, one request at a time on each."""
import re
import selectors
import socket
from collections import deque

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)


class Broken(Exception):
    """The server did not keep to the protocol, or not to its time."""


class Response:
    """fields: lower-case name -> list of values."""

    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def one(self, name):
        """The field's value, several lines joined; None when absent."""
        values = self.fields.get(name.lower())
        return ", ".join(values) if values else None

    def __repr__(self):
        told = [f"{n}: {v}" for n, values in self.fields.items() for v in values]
        return f"{self.status}\n      " + "\n      ".join(told) + f"\n      {self.body[:80]!r} ({len(self.body)} bytes)"


def request_bytes(method, target, lines, body, host):
    text = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{n}: {v}" for n, v in lines)]
    if body:
        text.append(f"Content-Length: {len(body)}")
    return "\r\n".join(text).encode("latin-1") + b"\r\n\r\n" + body


def dechunk(data, at):
    """(body, end) or None when not complete."""
    parts = []
    while True:
        eol = data.find(b"\r\n", at)
        if eol < 0:
            return None
        size = int(data[at:eol].split(b";")[0], 16)
        at = eol + 2
        if len(data) < at + size + 2:
            return None
        if not size:  # no trailers here
            return b"".join(parts), at + 2
        parts.append(data[at:at + size])
        at += size + 2


def parse(data, method):
    """(response, end, closes) of the first response in data, or None when it is not complete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    top, start = data[:head + 2], head + 4
    lines = top.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ", 2)[1])
    length, body, end = LENGTH.search(top), b"", start
    if method != "HEAD" and status not in (204, 304) and status >= 200:
        if CHUNKED.search(top):
            found = dechunk(data, start)
            if not found:
                return None
            body, end = found
        elif length:
            end = start + int(length.group(1))
            if len(data) < end:
                return None
            body = data[start:end]
        else:
            raise Broken(f"a response of unknown length: {top!r}")
    fields = {}
    for line in lines[1:-1]:
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), []).append(value.strip())
    return Response(status, fields, bytes(body)), end, bool(CLOSES.search(top))


class _Lane:
    """One connection and the request on it."""

    def __init__(self, run):
        self.run, self.sock, self.index, self.used = run, None, None, 0

    def begin(self, index):
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.run.port), self.run.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.run.selector.register(self.sock, selectors.EVENT_READ, self)
            self.used = 0
        self.index, self.data = index, b""
        self.used += 1
        try:
            self.sock.sendall(request_bytes(*self.run.requests[index], self.run.host))
        except OSError:
            pass  # closed meanwhile: recv will tell

    def again(self):
        """httpd may close a connection that waits between two requests (event: when every worker is busy)."""
        index, used = self.index, self.used
        self.close()
        if self.data or used < 2:
            raise Broken(f"connection closed on {self.run.requests[index]}: {self.data!r}")
        self.begin(index)

    def answered(self):
        """The answer once it is complete."""
        request = self.run.requests[self.index]
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            self.again()
            return None
        self.data += piece
        found = parse(self.data, request[0])
        if not found:
            return None
        answer, end, closes = found
        if end != len(self.data):
            raise Broken(f"bytes after the answer to {request}: {self.data[end:]!r}")
        if closes:
            self.close()
        return answer

    def close(self):
        if self.sock:
            self.run.selector.unregister(self.sock)
            self.sock.close()
        self.sock = None


class _Run:
    def __init__(self, port, requests, host, timeout):
        self.port, self.requests, self.host, self.timeout = port, requests, host, timeout
        self.selector = selectors.DefaultSelector()

    def all(self, lanes):
        waiting, answers, done = deque(range(len(self.requests))), [None] * len(self.requests), 0
        for lane in lanes:
            lane.begin(waiting.popleft())
        while done < len(answers):
            ready = self.selector.select(self.timeout)
            if not ready:
                raise Broken(f"no answer to {[self.requests[x.index] for x in lanes if x.sock]}")
            for key, _ in ready:
                lane = key.data
                answer = lane.answered()
                if answer:
                    answers[lane.index] = answer
                    done += 1
                    if waiting:
                        lane.begin(waiting.popleft())
        return answers


def run(port, requests, host="www.example.com", lanes=8, timeout=30.0):
    """requests: (method, target, lines, body). Responses in the same order."""
    work = _Run(port, requests, host, timeout)
    used = [_Lane(work) for _ in range(min(lanes, len(requests)))]
    try:
        return work.all(used)
    finally:
        for lane in used:
            lane.close()
        work.selector.close()
