# SPDX-License-Identifier: Apache-2.0
"""How requests and responses travel: HTTP/2, pipelines, expectations, streams, bodies that break off; beside stock httpd."""
import statistics
import subprocess
import threading
import time

import pytest
from env import machine
from env.backend import Backend, answer, chunk
from env.etagd import Etagd
from env.http import request_bytes
from env.httpd import Httpd
from env.tags import OURS, content_tag

PAGE = b"<p>how it travels</p>\n"
TAG = content_tag(PAGE, "text/html")
OLD = '"d' + "A" * 22 + '"'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "


@pytest.fixture(scope="module")
def sites(shared_servers):
    with Backend() as backend:
        backend.page("/p", PAGE)
        made = {"backend": backend}
        for name in ("ours", "stock"):
            own = name == "ours"
            site = shared_servers(Httpd, modules=["http2", "proxy", "proxy_http", "headers", "dav", "dav_fs"], own=own,
                                  etagd=shared_servers(Etagd).start() if own else None)
            site.docs.chmod(0o777)
            site.add("p.html", PAGE, mtime=time.time() - 86400)
            site.add("unset/p.html", PAGE, mtime=time.time() - 86400)
            machine.own_folder(site.docs, "dav")
            site.config = ("ETagEngine On\n" if own else "") + (
                f"ProxyRequests On\nProtocols h2c http/1.1\nKeepAlive On\nMaxKeepAliveRequests 0\nDavLockDB {site.folder}/lock\n"
                f"ProxyPass /upgraded {backend.url}/upgraded upgrade=echo\nProxyPass /app {backend.url} disablereuse=on\n<Location /dav>\nDav On\n</Location>\n"
                "<Location /unset>\nHeader unset ETag\n</Location>\n")
            site.expect_log(r"AH0|AH10404|\[dav|httpd.conf:\d+: \"Header unset ETag")
            made[name] = site.start()
        yield made


def curl(site, target, *more, method="GET"):
    """(status, headers, body) over HTTP/2 without TLS."""
    argv = [machine.program("curl"), "-s", "-i", "--http2-prior-knowledge", "-X", method, "-H", f"Host: {site.host}", *more]
    done = subprocess.run([*argv, site.url(target)], capture_output=True, timeout=30)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("target", ["/p.html", "/app/p"])
def test_http2(sites, target):
    site = sites["ours"]
    status, headers, body = curl(site, target)
    assert (status, headers["etag"], body) == (200, TAG, PAGE)
    status, headers, body = curl(site, target, "-H", f'If-None-Match: "x", {TAG}')
    assert (status, headers["etag"], body) == (304, TAG, b"") and "content-type" not in headers
    assert curl(site, target, "-H", f"If-None-Match: {OLD}")[0] == 200
    assert curl(site, target, "-H", f"If-Match: {OLD}")[0] == 412
    status, headers, body = curl(site, target, "-H", "Range: bytes=0-2", "-H", f"If-Range: {TAG}")
    assert (status, headers["etag"], body) == (206, TAG, PAGE[:3])
    assert curl(site, target, "-H", "Range: bytes=0-2", "-H", f"If-Range: {OLD}")[::2] == (200, PAGE)


@pytest.mark.parametrize("target", ["/p.html", "/app/p"])
def test_pipeline(sites, target):
    """Answers come in order, each whole: a 304 in between leaves the next where it begins."""
    asks = [({}, 200), ({"If-None-Match": TAG}, 304), ({"If-Match": OLD}, 412), ({"Range": "bytes=0-2"}, 206),
            ({"If-None-Match": TAG}, 304), ({"If-None-Match": OLD}, 200)]
    with sites["ours"].connect() as c:
        c.send_raw(b"".join(request_bytes("GET", target, h) for h, _ in asks))
        stream = c.sock.makefile("rb")
        for headers, status in asks:
            first, head = stream.readline(), {}
            while (line := stream.readline().strip()):
                name, _, value = line.decode().lower().partition(": ")
                head[name] = value
            assert first.startswith(b"HTTP/1.1 %d " % status), (headers, first)
            if "chunked" in head.get("transfer-encoding", ""):  # httpd's own page of the error
                body = b""
                while (size := int(stream.readline(), 16)):
                    body += stream.read(size + 2)[:size]
                stream.readline()
            else:
                body = stream.read(int(head.get("content-length", 0)))
            assert status in (304, 412) or body == (PAGE if status == 200 else PAGE[:3])
            assert head.get("etag") == (None if status == 412 else TAG.lower())


def expecting(site, target, headers, body):
    """Sends the head, and the content only when told to; returns (told to, final status)."""
    with site.connect() as c:
        head = {"Expect": "100-continue", "Content-Length": str(len(body)), "Host": site.host, **headers}
        c.send_raw(request_bytes("PUT", target, head))
        first = c.sock.recv(65536)
        told = first.startswith(b"HTTP/1.1 100")
        if told:
            c.send_raw(body)
            while b"\r\n\r\n" not in first.partition(b"\r\n\r\n")[2]:
                first += c.sock.recv(65536)
            first = first.partition(b"\r\n\r\n")[2]
        return told, int(first.split()[1])


def test_expect_100(sites):
    """A write that is refused is refused before its content is sent."""
    for name in ("ours", "stock"):
        site = sites[name]
        assert expecting(site, f"/dav/{name}", {}, b"one") == (True, 201)
        tag = site.get(f"/dav/{name}").etag
        assert expecting(site, f"/dav/{name}", {"If-Match": OLD}, b"x" * 100_000) == (False, 412)
        if name == "ours":  # stock's tag is weak in the file's first second
            assert expecting(site, f"/dav/{name}", {"If-Match": tag}, b"two") == (True, 204)
            assert site.get(f"/dav/{name}").body == b"two"


def first_byte(site, target):
    begin = time.monotonic()
    with site.connect() as c:
        c.send_raw(request_bytes("GET", target, {"Connection": "close"}))
        data = b""
        while b"data: 1" not in data:
            data += c.sock.recv(65536)
        return time.monotonic() - begin


def test_events_are_as_early_as_with_stock(sites):
    """Interleaved, the difference of the medians: nothing is kept back. (ETagBufferTime is 200 ms.)"""
    go = threading.Event()

    def events(_request, send):
        send(HEAD + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"data: 1\n\n"))
        go.wait(0.02)  # the connection stays open while the first event is measured
        send(b"0\r\n\r\n")

    sites["backend"].routes["/events"] = events
    seen = {"ours": [], "stock": []}
    for _ in range(15):
        for name, times in seen.items():
            times.append(first_byte(sites[name], "/app/events"))
    ours, stock = (statistics.median(seen[n]) for n in ("ours", "stock"))
    assert ours < stock + 0.03, seen


@pytest.mark.parametrize("how", ["length", "chunked", "reset in the head"])
def test_bodies_that_break_off(sites, how):
    """No tag, no 304, and the client can tell as well as with stock that it did not get all."""
    pieces = {"length": [HEAD + b"text/html\r\nContent-Length: 100\r\n\r\n" + PAGE],
              "chunked": [HEAD + b"text/html\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(PAGE)],
              "reset in the head": [HEAD]}[how]
    sites["backend"].raw("/short", *pieces)
    for headers in ({}, {"If-None-Match": TAG}, {"If-None-Match": "*"}, {"If-Match": TAG}):
        got = {}
        for name in ("ours", "stock"):
            with sites[name].connect() as c:
                c.send_raw(request_bytes("GET", "/app/short", {**headers, "Connection": "close"}))
                got[name] = b""
                while more := c.sock.recv(65536):
                    got[name] += more
        assert b"\r\netag:" not in got["ours"].lower() and b" 304 " not in got["ours"]
        status = got["ours"].split(b" ", 2)[1]
        assert status in (b"502", b"412", got["stock"].split(b" ", 2)[1])
        head, _, rest = got["ours"].partition(b"\r\n\r\n")
        short = b"\r\nContent-Length: 100\r" in head + b"\r" and len(rest) < 100
        assert status != b"200" or short or (b"chunked" in head and not rest.endswith(b"0\r\n\r\n")), "it looks complete"


def test_header_unset_etag_is_obeyed(sites):
    site = sites["ours"]
    assert "takes every tag off the response" in site.error_text()
    plain = site.get("/unset/p.html")
    assert (plain.status, plain.etag, plain.body) == (200, None, PAGE)
    assert site.head("/unset/p.html").etag is None
    assert site.get("/unset/p.html", {"If-None-Match": OLD}).etag is None


def test_upload_in_chunks(sites):
    """A conditional write whose content comes chunked is judged as any other."""
    site = sites["ours"]
    site.add("dav/chunked", b"one").chmod(0o666)
    tag = site.get("/dav/chunked").etag
    body = chunk(b"tw") + chunk(b"o") + b"0\r\n\r\n"
    for match, status in ((OLD, 412), (tag, 204)):
        got = site.request("PUT", "/dav/chunked", {"Transfer-Encoding": "chunked", "If-Match": match}, body)
        assert got.status == status, got
    assert site.get("/dav/chunked").body == b"two" and OURS.match(site.get("/dav/chunked").etag or "")


def test_another_protocol(sites):
    """Upgrade: what follows a 101 goes both ways at once, unread."""
    told, go = [], threading.Event()

    def switch(request, send):
        told.append(request.header("Upgrade"))
        send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        send(b"hello")
        go.wait(5)

    sites["backend"].routes["/upgraded"] = switch
    for name in ("ours", "stock"):
        with sites[name].connect() as c:
            c.send_raw(request_bytes("GET", "/upgraded", {"Upgrade": "echo", "Connection": "Upgrade", "If-None-Match": TAG}))
            data = b""
            while not data.endswith(b"hello"):
                more = c.sock.recv(65536)
                assert more, data
                data += more
            assert data.startswith(b"HTTP/1.1 101 ") and b"etag" not in data.lower()
    go.set()
    assert told == ["echo", "echo"]


def test_a_forward_proxy_is_no_origin(sites):
    """Other people's pages pass as they are (RFC 9110 7.7)."""
    backend = sites["backend"]
    backend.page("/theirs", PAGE, [("Content-Type", "text/html"), ("ETag", '"theirs"')])
    for path, tag in (("/p", None), ("/theirs", '"theirs"')):
        for headers in ({}, {"If-None-Match": TAG}, {"If-None-Match": '"theirs"'}, {"If-Match": OLD}, {"Accept-Encoding": "gzip"}):
            answers = [sites[n].get(backend.url + path, headers, host=f"127.0.0.1:{backend.port}") for n in ("ours", "stock")]
            assert [(a.status, a.etag, a.body) for a in answers] == [(200, tag, PAGE)] * 2, answers
            assert backend.last().header("If-None-Match") == headers.get("If-None-Match")


def test_trailers_and_keepalive(sites):
    """A body with trailers is tagged like the same body without."""
    sites["backend"].raw("/t", HEAD + b"text/html\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(PAGE),
                         b"0\r\nX-T: 1\r\n\r\n")
    with sites["ours"].connect() as c:
        for _ in range(2):
            assert (c.get("/app/t").etag, c.get("/app/t", {"If-None-Match": TAG}).status) == (TAG, 304)
