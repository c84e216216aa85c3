# SPDX-License-Identifier: Apache-2.0
"""ETagEngine DetectionOnly: not one byte of any response differs from stock httpd's, nor of what a backend is asked."""
import re

import pytest
from env import kinds
from env.backend import Backend
from env.etagd import Etagd
from env.http import request_bytes
from env.httpd import Httpd
from env.php import Php
from env.process import wait_for
from env.tags import content_tag


# What a script answers in the end, or puts in.
SCRIPTED = [p for p in kinds.PATHS if p.endswith((".cgi", ".tpl", "/flushed.php")) or p.startswith("/fallback")]


@pytest.fixture(scope="module")
def sites(shared_servers, mpm):
    """(detecting, stock, application): one folder of documents."""
    with Backend() as backend:
        kinds.serve(backend)
        made, docs, php = [], None, shared_servers(Php).start()
        for own in (True, False):
            site = shared_servers(Httpd, modules=kinds.modules(mpm), mpm=mpm, own=own,
                                  etagd=shared_servers(Etagd).start() if own else None)
            docs = docs or site.docs
            site.config = ("ETagEngine DetectionOnly\nETagEarly On\n" if own else "") + kinds.config(site, backend, php, docs)
            site.expect_log("AH0|malformed|proxy")
            made.append(site)
        kinds.fill(docs)
        for site in made:
            site.start()
        kinds.wait_settled(made[1])
        yield *made, backend


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


def exchange(site, backend, *request):
    """The answer, and what the application was asked by it."""
    before = backend.count()
    answer = raw(site, *request)
    asked = backend.last() if backend.count() > before else None
    return answer, asked and (asked.method, asked.target, asked.headers, asked.body)


def alike(sites, *request):
    """A long body is coded in pieces as it comes, so that stock httpd itself has several answers: ours is one of them."""
    ours, stock, backend = sites
    for _ in range(50):
        mine, reference = exchange(ours, backend, *request), exchange(stock, backend, *request)
        if mine == reference or not (request[1] == "/app/long" and b"\r\nContent-Encoding: " in reference[0]):
            break
    assert mine == reference, request


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
    plain = raw(sites[1], "GET", target, {})
    some = target in SCRIPTED and not request.config.getoption("--long")  # a process each
    for number, headers in enumerate(requests_for(plain)):
        if some and number % 4:
            continue
        for method in ("GET", "HEAD") if number % 4 == 0 else ("GET",):
            alike(sites, method, target, headers)
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "PROPFIND"):
        for headers in ({}, {"If-Match": '"no"'}, {"If-None-Match": "*"}):
            if not (target.startswith("/dav/") and method == "PUT"):  # both would write one file
                alike(sites, method, target, headers, b"x")


def test_it_detects(sites):
    """The two servers do differ: what would have happened stands in the log."""
    ours = sites[0]
    tag = content_tag(kinds.PAGE, "text/html")
    for path in ("/p.html", "/app/plain", "/app/chunked", "/app/own", "/app/gzipped", "/app/two-tags", "/app/long", "/plain.cgi",
                 "/plain.php", "/own.php"):
        for headers in ({}, {"If-None-Match": tag}, {"If-Match": '"no"'}):
            assert ours.get(path, headers).status in (200, 412)
    wanted = ["/app/plain tagged digest", "/app/plain would-304 (late|learned)", "/app/plain would-412 (late|learned)",
              "/app/chunked would-304 (late|learned)", "/app/gzipped tagged digest", "/app/own tagged upstream",
              "/app/long untagged longer than ETagBufferLimit", "/plain.cgi tagged digest", "/plain.cgi would-304 (late|learned)",
              "/plain.php tagged digest", "/own.php tagged upstream", "/p.html tagged file", "/p.html would-304 (late|file)"]

    def told():
        log = (ours.folder / "status.log").read_text()
        return [line for line in wanted if not re.search(f"^GET {line}$", log, re.MULTILINE)]

    wait_for(lambda: not told(), f"{told()} in the log")


def test_a_script_that_shows_its_environment(new_httpd, etagd):
    site = new_httpd(modules=["cgid"], etagd=etagd)
    site.add("env.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv\n").chmod(0o755)
    site.start(f"ETagEngine DetectionOnly\nETagEarly On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
               "</Directory>\n")
    shown = site.get("/env.cgi", {"If-None-Match": '"x"'}).body
    assert b"REQUEST_METHOD=GET" in shown and b"etag_" not in shown, shown
