# SPDX-License-Identifier: Apache-2.0
"""A RESP2 client for etagd and Redis, on a unix socket or TCP, that can pass descriptors."""
import array
import os
import socket


class RespError(Exception):
    """An error reply."""


class Closed(Exception):
    """The peer closed the connection."""


def _bytes(value):
    return value if isinstance(value, bytes) else str(value).encode()


def encode(*args):
    parts = [b"*%d\r\n" % len(args)]
    for a in map(_bytes, args):
        parts.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(parts)


class Resp:
    """address: a path, or (host, port). Replies: bytes, int, None, list, str for status replies."""

    def __init__(self, address, timeout=10.0):
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address, timeout)
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            try:
                self.sock.connect(str(address))
            except OSError:
                self.sock.close()
                raise
        self.buffer = b""
        self.fds = []  # descriptors received and not taken yet

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def send_raw(self, data, fds=()):
        """Sends bytes as they are; fds travel with the first byte."""
        if fds:
            sent = socket.send_fds(self.sock, [data], list(fds))
            data = data[sent:]
        self.sock.sendall(data)

    def send(self, *args, fds=()):
        self.send_raw(encode(*args), fds)

    def _fill(self):
        room = socket.CMSG_SPACE(8 * array.array("i").itemsize)
        data, ancillary, _, _ = self.sock.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                got = array.array("i")
                got.frombytes(payload[: len(payload) - len(payload) % got.itemsize])
                self.fds.extend(got)
        if not data:
            raise Closed("the peer closed the connection")
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read(self):
        """One reply; an error reply is returned as a RespError, not raised (it may be nested)."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError(f"not a RESP reply: {line!r}")

    def call(self, *args, fds=()):
        self.send(*args, fds=fds)
        reply = self.read()
        if isinstance(reply, RespError):
            raise reply
        return reply

    def take_fds(self):
        """Descriptors received so far; the caller closes them."""
        got, self.fds = self.fds, []
        return got

    def info(self, section=None):
        """INFO as a dictionary of name to text."""
        text = self.call("INFO", *([section] if section else [])).decode()
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
        return dict(pairs)
