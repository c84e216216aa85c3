# SPDX-License-Identifier: Apache-2.0
"""ETagEngine DetectionOnly: not one byte of any response differs from stock httpd's."""
import re

import pytest
from env import kinds
from env.backend import Backend
from env.etagd import Etagd
from env.http import request_bytes
from env.httpd import Httpd
from env.tags import content_tag


# What a script answers in the end, or puts in.
SCRIPTED = [p for p in kinds.PATHS if p.endswith((".cgi", ".tpl")) or p.startswith("/fallback")]


@pytest.fixture(scope="module")
def sites(shared_servers):
    """(detecting, stock): one folder of documents, one application."""
    with Backend() as backend:
        kinds.serve(backend)
        made, docs = [], None
        for own in (True, False):
            site = shared_servers(Httpd, modules=kinds.MODULES, own=own, etagd=shared_servers(Etagd).start() if own else None)
            docs = docs or site.docs
            site.config = ("ETagEngine DetectionOnly\nETagEarly On\n" if own else "") + kinds.config(site, backend, docs)
            site.expect_log("AH0|malformed|proxy")
            made.append(site)
        kinds.fill(docs)
        for site in made:
            site.start()
        kinds.wait_settled(made[1])
        yield made


FRAMING = re.compile(rb"\r\n(?:Content-Length|Transfer-Encoding): [^\r]*")


def dechunked(rest):
    out = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        out, rest = out + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    return out


def raw(site, method, target, headers, body=b""):
    """The response's bytes; what two answers of one server differ in is made equal: times, boundaries, the order of
    Allow, and for scripts whether their end was seen before the head was sent."""
    data = b""
    with site.connect() as c:
        c.send_raw(request_bytes(method, target, [*headers.items(), ("Connection", "close")], body))
        while more := c.sock.recv(1 << 20):
            data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    head = re.sub(rb"\r\n(Date|Expires): [^\r]*", rb"\r\n\1: -", head)
    head = re.sub(rb"\r\nAllow: ([^\r]*)", lambda m: b"\r\nAllow: " + b",".join(sorted(m[1].split(b","))), head)
    if target in SCRIPTED:
        rest = dechunked(rest) if b"\r\nTransfer-Encoding: chunked" in head else rest
        head = FRAMING.sub(b"", head)
    boundary = re.search(rb"boundary=([0-9a-f]+)", head)
    if boundary:  # as long as its process's number
        head, rest = FRAMING.sub(b"", head).replace(boundary[1], b"-"), rest.replace(boundary[1], b"-")
    return head + b"\r\n\r\n" + rest


def field(answer, name):
    found = re.search(rb"\r\n" + name.encode() + rb": ([^\r]*)", answer)
    return found.group(1).decode("latin-1") if found else None


def requests_for(plain):
    """Header sets that could make a difference, given stock's plain answer."""
    tag, modified = field(plain, "ETag") or '"x"', field(plain, "Last-Modified") or "Mon, 23 Nov 2026 10:00:00 GMT"
    old = "Sun, 01 Nov 2020 10:00:00 GMT"
    yield from ({}, {}, {"If-None-Match": tag}, {"If-None-Match": "*"}, {"If-None-Match": f'"no", W/{tag}'}, {"If-Match": tag},
                {"If-Match": '"no"'}, {"If-Modified-Since": modified}, {"If-Modified-Since": old}, {"If-Unmodified-Since": old},
                {"If-None-Match": tag, "If-Modified-Since": old}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-1,5-9,-3"},
                {"Range": "bytes=9999999-"}, {"Range": "bytes=0-9", "If-Range": tag}, {"Range": "bytes=0-9", "If-Range": '"no"'},
                {"Range": "bytes=0-9", "If-None-Match": tag}, {"Range": "bytes=2-", "If-Match": '"no"'})
    for coding in ("gzip", "br"):
        coded = tag[:-1] + f'-{coding}"'
        yield from ({"Accept-Encoding": coding}, {"Accept-Encoding": coding, "If-None-Match": coded},
                    {"Accept-Encoding": coding, "If-None-Match": tag}, {"Accept-Encoding": coding, "Range": "bytes=0-9"})
    yield from (kinds.basic(), {**kinds.basic(), "If-None-Match": tag}, {"Accept-Language": "de"}, {"Cookie": "a=1"},
                {"Cache-Control": "no-cache", "If-None-Match": tag})


@pytest.mark.parametrize("target", kinds.PATHS)
def test_not_one_byte(sites, target, request):
    ours, stock = sites
    plain = raw(stock, "GET", target, {})
    some = target in SCRIPTED and not request.config.getoption("--long")  # a process each
    for number, headers in enumerate(requests_for(plain)):
        if some and number % 4:
            continue
        for method in ("GET", "HEAD") if number % 4 == 0 else ("GET",):
            assert raw(ours, method, target, headers) == raw(stock, method, target, headers), (method, headers)
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "PROPFIND"):
        for headers in ({}, {"If-Match": '"no"'}, {"If-None-Match": "*"}):
            if not (target.startswith("/dav/") and method == "PUT"):  # both would write one file
                assert raw(ours, method, target, headers, b"x") == raw(stock, method, target, headers, b"x"), (method, headers)


def test_it_detects(sites):
    """The two servers do differ: what would have happened stands in the log."""
    ours, _ = sites
    tag = content_tag(kinds.PAGE, "text/html")
    for headers in ({"If-None-Match": tag}, {"If-Match": '"no"'}):
        assert ours.get("/p.html", headers).status in (200, 412)
    for path in ("/app/plain", "/app/chunked", "/app/gzipped"):
        assert ours.get(path, {"If-None-Match": tag}).status == 200
    assert ours.get("/app/plain", {"If-Match": tag}).status == 200
    assert ours.get("/app/plain", {"If-Match": '"no"'}).status == 200
    assert ours.get("/app/two-tags").status == ours.get("/app/long").status == ours.get("/plain.cgi").status == 200
    told = (ours.folder / "status.log").read_text()
    for line in ("GET /app/plain would-304 late", "GET /app/chunked would-304 late", "GET /app/plain would-412 late",
                 "GET /app/gzipped tagged digest", "GET /app/long untagged longer than ETagBufferLimit",
                 "GET /app/plain tagged digest", "GET /app/own tagged upstream", "GET /plain.cgi untagged not in memory"):
        assert f"{line}\n" in told, line
    assert re.search(r"^GET /p.html would-304 (late|file)$", told, re.MULTILINE), told[-300:]
    assert re.search(r"^GET /p.html would-412 ", told, re.MULTILINE) and "tagged file" in told


def test_a_script_that_shows_its_environment(new_httpd, etagd):
    site = new_httpd(modules=["cgid"], etagd=etagd)
    site.add("env.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv\n").chmod(0o755)
    site.start(f"ETagEngine DetectionOnly\nETagEarly On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
               "</Directory>\n")
    shown = site.get("/env.cgi", {"If-None-Match": '"x"'}).body
    assert b"REQUEST_METHOD=GET" in shown and b"etag_" not in shown, shown
