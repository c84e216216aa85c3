# SPDX-License-Identifier: Apache-2.0
"""Conditional writes in front of a FastCGI application, as PHP-FPM is."""
import socket
import struct
import threading

import pytest
from env.tags import content_tag
from env.writes import NEW, OLD, put

BEGIN, PARAMS, STDIN, STDOUT, END = 1, 4, 5, 6, 3


def record(kind, data):
    return struct.pack("!BBHHBB", 1, kind, 1, len(data), 0, 0) + data


def pairs(data):
    """Names and values of FCGI_PARAMS."""
    found = {}
    while data:
        sizes = []
        for _ in range(2):
            wide = data[0] & 0x80
            sizes.append(struct.unpack("!I", data[:4])[0] & 0x7fffffff if wide else data[0])
            data = data[4 if wide else 1:]
        found[data[:sizes[0]].decode()] = data[sizes[0]:sum(sizes)].decode()
        data = data[sum(sizes):]
    return found


class Application:
    """Serves one request a connection; a GET is answered with self.head and self.body."""

    def __init__(self, listener):
        self.head, self.body, self.writes, self.asked, self.stopped = b"text/html", b"<p>old</p>\n", [], [], threading.Event()
        self.listener = listener
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                try:
                    self.one(connection, stream)
                except OSError:
                    self.stopped.set()

    def one(self, connection, stream):
        content, kind = {PARAMS: b"", STDIN: b""}, None
        while kind != STDIN or size:
            _, kind, _, size, padding, _ = struct.unpack("!BBHHBB", stream.read(8))
            data = stream.read(size + padding)[:size]
            if kind in content:
                content[kind] += data
        method = pairs(content[PARAMS])["REQUEST_METHOD"]
        self.asked.append(method)
        if method != "GET":
            self.writes.append(content[STDIN])
            connection.sendall(record(STDOUT, b"Status: 204 written\r\n\r\n"))
        else:
            assert not content[STDIN]
            connection.sendall(record(STDOUT, b"Content-Type: " + self.head + b"\r\n\r\n" + self.body))
            while self.head == b"text/event-stream":
                connection.sendall(record(STDOUT, b"data: x\n\n" * 1000))
        connection.sendall(record(STDOUT, b"") + record(END, bytes(8)))


@pytest.fixture
def fcgi(new_httpd, etagd):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        application = Application(listener)
        site = new_httpd(modules=["proxy", "proxy_fcgi"], etagd=etagd)
        site.start(f"ETagEngine On\nProxyPass /r fcgi://127.0.0.1:{listener.getsockname()[1]}/r\n")
        yield site, application
        listener.shutdown(socket.SHUT_RDWR)
    application.thread.join(10)


def test_the_content_reaches_the_write(fcgi):
    site, application = fcgi
    tag = site.get("/r").etag
    assert tag == content_tag(application.body, "text/html")
    application.asked.clear()
    assert put(site, "/r", If_Match=OLD).status == 412 and not application.writes
    assert put(site, "/r", b"x" * 200000, If_Match=tag).status == 204
    assert application.writes == [b"x" * 200000] and application.asked == ["GET", "GET", "PUT"]


def test_a_stream_is_stopped(fcgi):
    """mod_proxy_fcgi calls it an error that nobody listens any more: it is none of the application's."""
    site, application = fcgi
    site.expect_log("AH01075|AH01067")
    application.head = b"text/event-stream"
    assert put(site, "/r", If_Match=OLD).status == 412 and not application.writes
    assert application.stopped.wait(20)
    application.head = b"text/html"
    assert put(site, "/r", NEW, If_Match=content_tag(application.body, "text/html")).status == 204
