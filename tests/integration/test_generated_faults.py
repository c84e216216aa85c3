# SPDX-License-Identifier: Apache-2.0
"""Backends that break off, stall or stream: no half body gets a tag, no first byte waits beyond the bound."""
import os
import socket
import threading
import time

import pytest
from env import machine
from env.backend import answer, chunk
from env.http import request_bytes
from env.tags import content_tag

PAGE = b"<p>" + b"generated content. " * 100 + b"</p>\n"
TAG = content_tag(PAGE, "text/html")
HEAD = b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PROXY = ["proxy", "proxy_http"]
BOUND = 0.2  # ETagBufferTime's default
SLACK = 4.0  # a loaded machine's; the stalls made here last longer unless the first byte has come
STALL = 15.0  # at the longest


def conf(backend, more=""):
    return f"ETagEngine On\nETagCacheStatus On\n{more}ProxyPass / {backend.url}/\n"


def exchange(port, target, headers=()):
    """One request, everything that came until the end of the connection: (head, rest)."""
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(request_bytes("GET", target, {**dict(headers), "Connection": "close"}))
        data = b""
        try:
            while more := s.recv(65536):
                data += more
        except ConnectionResetError:
            pass
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


BROKEN = {
    "shorter than its length": (HEAD + b"Content-Length: 5000\r\n\r\n", PAGE),
    "no byte of its length": (HEAD + b"Content-Length: 5000\r\n\r\n",),
    "chunked without end": (CHUNKED, chunk(PAGE)),
    "ends inside a chunk": (CHUNKED, chunk(PAGE)[:1000]),
    "not a chunk size": (CHUNKED, chunk(PAGE), b"zz\r\n"),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("early", ["", "ETagEarly On\n"])
def test_truncated_body_is_never_tagged(new_httpd, etagd, backend, broken, early):
    """Stock's status, no tag, and nothing remembered."""
    ours = new_httpd(conf(backend, early), modules=PROXY, etagd=etagd)
    stock = new_httpd(f"ProxyPass / {backend.url}/\n", modules=PROXY, own=False)
    backend.raw("/p", *BROKEN[broken])
    for site in (ours, stock):
        site.expect_log("AH01102|AH01110|AH02609|AH01111|AH10|proxy")
        site.start()
    for headers in ({}, {"If-None-Match": TAG}, {"If-None-Match": content_tag(b"", "text/html")}):
        head, _ = exchange(ours.port, "/p", headers)
        expected, _ = exchange(stock.port, "/p", headers)
        assert head.split(b"\r\n")[0] == expected.split(b"\r\n")[0], (head, expected)
        assert b"etag:" not in head.lower(), head
    backend.page("/p", PAGE)
    before = backend.count("/p")
    whole = ours.get("/p", {"If-None-Match": content_tag(b"", "text/html")})
    assert (whole.status, whole.etag, whole.body) == (200, TAG, PAGE)
    assert backend.count("/p") == before + 1


@pytest.mark.parametrize("how", ["cgi", "cgid"])
def test_script_that_dies(new_httpd, etagd, how):
    """Without a length nothing tells its body from a whole one; with one that httpd keeps, there is no tag."""
    site = new_httpd(modules=[how, "env"], etagd=etagd)
    site.config = (f"ETagEngine On\nETagEarly On\nSetEnv ap_trust_cgilike_cl yes\n<Directory {site.docs}>\nOptions ExecCGI\n"
                   "AddHandler cgi-script .cgi\n</Directory>\n")
    site.add("p.cgi", "#!/bin/sh\nprintf 'Content-Type: text/html\\nContent-Length: 5000\\n\\nhalf'\nkill -9 $$\n").chmod(0o755)
    site.start()
    for _ in range(2):
        head, rest = exchange(site.port, "/p.cgi", {"If-None-Match": content_tag(b"half", "text/html")})
        assert head.startswith(b"HTTP/1.1 200 ") and b"etag:" not in head.lower() and rest == b"half"


def test_flush_first_proxies_still_get_a_tag(new_httpd, etagd, backend):
    """mod_proxy flushes whenever a read would block: that alone does not mean streaming."""

    def slowly(_request, send):
        for piece in (HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE), PAGE[:500], PAGE[500:]):
            send(piece)
            time.sleep(0.01)  # the application computes
        return True

    site = new_httpd(conf(backend, "ETagBufferTime 5s\n"), modules=PROXY, etagd=etagd)
    backend.routes["/p"] = slowly
    site.start()
    for _ in range(3):
        a = site.get("/p")
        assert (a.status, a.etag, a.body) == (200, TAG, PAGE), a
    assert site.get("/p", {"If-None-Match": TAG}).status == 304


def first_and_rest(site, target, go):
    """Sends a request; returns (seconds to the first byte, head, everything after it once go is set)."""
    with site.connect() as c:
        begin = time.monotonic()
        c.send_raw(request_bytes("GET", target, {"Connection": "close"}))
        data = c.sock.recv(65536)
        waited = time.monotonic() - begin
        while b"\r\n\r\n" not in data:
            data += c.sock.recv(65536)
        go()
        while more := c.sock.recv(65536):
            data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return waited, head, rest


def dechunked(head, rest):
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            return body
        body, rest = body + rest[:n], rest[n + 2:]


STALLS = {
    "before the body": (HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE), PAGE),
    "before the body, chunked": (CHUNKED, chunk(PAGE) + b"0\r\n\r\n"),
    "in the body": (HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE[:700], PAGE[700:]),
    "in the body, chunked": (CHUNKED + chunk(PAGE[:700]), chunk(PAGE[700:]) + b"0\r\n\r\n"),
}


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("early", ["", "ETagEarly On\n"])
def test_stalled_backend(new_httpd, etagd, backend, stall, early):
    """The backend stops until the client has the first byte; what it has sent reaches the client within ETagBufferTime."""
    go = threading.Event()

    def stalls(_request, send):
        send(STALLS[stall][0])
        go.wait(STALL)
        send(STALLS[stall][1])
        return True

    site = new_httpd(conf(backend, early), modules=PROXY, etagd=etagd)
    backend.routes["/p"] = stalls
    site.start()
    waited, head, rest = first_and_rest(site, "/p", go.set)
    assert waited < BOUND + SLACK, f"first byte after {waited:.3f} s"
    assert head.startswith(b"HTTP/1.1 200 ") and b"etag:" not in head.lower()
    assert dechunked(head, rest) == PAGE


@pytest.mark.parametrize("how", ["cgi", "cgid"])
def test_stalled_script(new_httpd, etagd, how):
    """The same for a script's pipe."""
    site = new_httpd(modules=[how], etagd=etagd)
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                   "</Directory>\n")
    gate = site.folder / "gate"
    os.mkfifo(gate)
    machine.give(gate)
    site.add("p.cgi", f"#!/bin/sh\nprintf 'Content-Type: text/html\\n\\nfirst '\nread x < {gate}\nprintf rest\n").chmod(0o755)
    site.start()

    def go():
        fd = os.open(gate, os.O_RDWR)  # never blocks, even when nobody reads any more
        os.write(fd, b"\n")
        os.close(fd)

    opener = threading.Timer(STALL, go)  # so that a script nobody lets go on ends all the same
    opener.start()
    waited, head, rest = first_and_rest(site, "/p.cgi", lambda: (opener.cancel(), go()))
    assert waited < BOUND + SLACK, f"first byte after {waited:.3f} s"
    assert head.startswith(b"HTTP/1.1 200 ") and b"etag:" not in head.lower()
    assert dechunked(head, rest) == b"first rest"


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8", "application/x-ndjson",
                                  "multipart/x-mixed-replace;boundary=b", "application/grpc+proto", "video/mp4"])
def test_streams_pass_at_once(new_httpd, etagd, backend, kind):
    """Not even ETagBufferTime: the first event leaves when it comes."""
    go = threading.Event()

    def events(_request, send):
        send(HEAD.replace(b"text/html", kind.encode()) + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"data: 1\n\n"))
        go.wait(STALL)
        send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")
        return True

    site = new_httpd(conf(backend, "ETagEarly On\nETagBufferTime 60s\n"), modules=PROXY, etagd=etagd)
    backend.routes["/p"] = events
    site.start()
    waited, head, rest = first_and_rest(site, "/p", go.set)
    assert waited < SLACK and b"etag:" not in head.lower()
    assert dechunked(head, rest) == b"data: 1\n\ndata: 2\n\n"
    before = backend.count()
    site.get("/p", {"If-None-Match": "*"})
    assert backend.count() == before + 1


def test_client_that_leaves_teaches_nothing(new_httpd, etagd, backend):
    """The response broke off on our side: the handler's next answer stands alone."""
    site = new_httpd(conf(backend, "ETagEarly On\nETagBufferLimit 16K\n"), modules=PROXY, etagd=etagd)
    body = b"y" * 2_000_000
    arrived = threading.Event()

    def page(request, send):
        arrived.set()
        send(answer(body, [("Content-Type", "text/html")], request=request))
        return True

    backend.routes["/p"] = page
    site.expect_log("proxy")
    site.start()
    c = site.connect()
    c.send_raw(request_bytes("GET", "/p"))
    assert arrived.wait(30)
    c.close()
    whole = site.get("/p")
    assert whole.status == 200 and whole.body == body
    answered = site.get("/p", {"If-None-Match": content_tag(body[:1_000_000], "text/html")})
    assert answered.status == 200 and answered.body == body
