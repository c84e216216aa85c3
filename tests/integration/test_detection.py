# SPDX-License-Identifier: Apache-2.0
"""What ETagEngine DetectionOnly finds out and counts, that no node answers by it, and that nobody waits for it."""
import os
import threading

import pytest
from env.backend import answer, chunk
from env.files import settled
from env.http import request_bytes
from env.httpd import ONE_CHILD
from env.process import Failed, wait_for
from env.resp import RespError
from env.tags import content_tag

A, B = b"<p>the page</p>\n", b"<p>another page</p>\n"
TAG, NEW_TAG = content_tag(A, "text/html"), content_tag(B, "text/html")
HTML = [("Content-Type", "text/html")]
LOG = "{etag}:log"


@pytest.fixture
def new_site(new_httpd, backend, mpm):
    """engine, etagd -> a server before the application, started."""

    def make(etagd, engine="DetectionOnly", more=""):
        site = new_httpd(modules=["proxy", "proxy_http", "cgi" if mpm == "prefork" else "cgid"], mpm=mpm, etagd=etagd)
        site.config = ONE_CHILD[mpm] + (
            f"ETagEngine {engine}\nETagEarly On\nETagTimeout 1s\n{more}\nProxyPass /app {backend.url}\n"
            f'CustomLog {site.folder}/status.log "%U %{{etag-status}}n %{{etag-why}}n"\n'
            f"<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n")
        site.expect_log("AH00161")  # the one child is busy
        site.start().get("/nowhere")
        site.wait_log("mapped table")  # beside a request, whose answer did not wait for it
        return site

    return make


@pytest.fixture
def site(new_site, etagd):
    return new_site(etagd)


def counted(site, etagd, **expected):
    """Waits until etagd has been told exactly this, which any request's end may do."""
    names = {f"detected_{n}": str(v) for n, v in {"same": 0, "differing": 0, "304_early": 0, "304_wrong": 0, "304_late": 0,
                                                  "412": 0, **{k.lstrip("_"): v for k, v in expected.items()}}.items()}

    def told():
        site.get("/nowhere")
        shown.update(etagd.info("Detection"))
        return all(shown[n] == v for n, v in names.items())

    shown = {}
    try:
        wait_for(told, "counters", 5)
    except Failed:
        assert {n: shown[n] for n in names} == names


def verdicts(site, path):
    return [line.split(" ", 1)[1] for line in (site.folder / "status.log").read_text().splitlines() if line.startswith(path + " ")]


def ask(site, path, headers=(), method="GET"):
    """The answer, once what follows it is done: it is logged then."""
    before = len(verdicts(site, path))
    got = site.request(method, path, headers, b"x" if method == "POST" else b"")
    wait_for(lambda: len(verdicts(site, path)) > before, f"the log of {path}")
    return got


def last(site, path, expected):
    try:
        wait_for(lambda: verdicts(site, path)[-1:] == [expected], path, 5)
    except Failed:
        assert verdicts(site, path)[-1:] == [expected]


# --- counters ---

def test_same_and_early(site, etagd, backend):
    backend.page("/p", A)
    for _ in range(3):
        assert ask(site, "/app/p").body == A
    last(site, "/app/p", "tagged digest")
    counted(site, etagd, tagged=3, same=2)
    for sent in (TAG, '"no"', f'W/{TAG}, "x"'):
        got = ask(site, "/app/p", {"If-None-Match": sent})
        assert (got.status, got.etag, got.body) == (200, None, A)
    assert verdicts(site, "/app/p")[-3:].count("would-304 learned") == 2
    assert ask(site, "/app/p", {"If-Match": '"no"'}).status == 200
    last(site, "/app/p", "would-412 learned")
    counted(site, etagd, tagged=7, same=6, _304_early=2, _412=1)
    assert backend.count("/p") == 7, "nothing was answered before the handler"


def test_late(site, etagd, backend):
    """The first request for a page: nothing is known before the handler."""
    backend.page("/p", A)
    ask(site, "/app/p", {"If-None-Match": TAG})
    last(site, "/app/p", "would-304 late")
    counted(site, etagd, tagged=1, _304_late=1)


def test_a_change_that_nobody_announced(site, etagd, backend):
    backend.page("/p", A)
    for _ in range(2):
        ask(site, "/app/p")
    backend.page("/p", B)
    assert ask(site, "/app/p", {"If-None-Match": TAG}).body == B
    last(site, "/app/p", "would-304 learned")
    counted(site, etagd, tagged=3, same=1, differing=1, _304_early=1, _304_wrong=1)
    line = "info: http://www.example.com/app/p: DetectionOnly met responses with different entity-tags"
    assert etagd.tail().count(line) == 1
    assert etagd.info("Store")["conflicts"] == "0", "of pages that are answered"
    ask(site, "/app/p", {"If-None-Match": NEW_TAG})  # the engine, On, would confirm none of the two any more
    last(site, "/app/p", "would-304 late")
    counted(site, etagd, tagged=4, same=1, differing=1, _304_early=1, _304_wrong=1, _304_late=1)


@pytest.mark.parametrize("how", ["log", "write"])
def test_a_change_that_was_announced(site, etagd, backend, how):
    backend.page("/p", A)
    for _ in range(2):
        ask(site, "/app/p")
    backend.page("/p", B)
    if how == "log":
        etagd.call("XADD", LOG, "*", "url", "www.example.com/app/p")
    else:
        ask(site, "/app/p", {}, "POST")
        last(site, "/app/p", "write invalidated")
    for _ in range(2):
        assert ask(site, "/app/p", {"If-None-Match": TAG}).body == B
    counted(site, etagd, tagged=4, same=2)


def test_upstream_tags(site, etagd, backend):
    """Clients have them, so that what they ask is what would have been answered."""
    backend.page("/p", A, HTML + [("ETag", '"v1"')])
    for _ in range(2):
        ask(site, "/app/p", {"If-None-Match": '"v1"'})
    last(site, "/app/p", "would-304 learned")
    backend.page("/p", A, HTML + [("ETag", '"v2"')])
    assert ask(site, "/app/p", {"If-None-Match": '"v1"'}).etag == '"v2"'
    counted(site, etagd, tagged=3, same=1, differing=1, _304_early=2, _304_wrong=1, _304_late=1)


def test_versions(new_site, etagd, backend):
    """The tag is the one that the engine, On, makes, and what is learned is true of the next version, too."""
    sites = {engine: new_site(etagd, engine, "ETagSource version\nETagVersion \"expr=etag_version('page')\"")
             for engine in ("On", "DetectionOnly")}
    on, site = sites.values()
    backend.page("/p", A)
    for told in (1, 2):
        etagd.call("XADD", LOG, "*", "version", f"page {told}")
        tag = ask(on, "/app/p").etag
        for _ in range(2):
            assert ask(site, "/app/p").etag is None
        last(site, "/app/p", "tagged version")
        ask(site, "/app/p", {"If-None-Match": tag})
        last(site, "/app/p", "would-304 learned")
        counted(site, etagd, tagged=3 * told, same=3 * told - 1, _304_early=told)


def test_files(site, etagd):
    settled(site.add("p.html", A))
    for _ in range(2):
        assert ask(site, "/p.html").body == A
    last(site, "/p.html", "tagged file")
    assert ask(site, "/p.html", {"If-None-Match": TAG}).body == A
    last(site, "/p.html", "would-304 file")
    counted(site, etagd, tagged=3, _304_early=1)


def test_commands(etagd):
    assert etagd.call("ETAG", "DETECTED", "detected_same", 2, "detected_412", 1, "detected_same", 3) == "OK"
    for wrong in (("detected_same",), ("detected_nothing", 1), ("detected_412", 1, "detected_same"), ("detected_412", -1)):
        with pytest.raises(RespError):
            etagd.call("ETAG", "DETECTED", *wrong)
    shown = etagd.info("Detection")
    assert (shown["detected_same"], shown["detected_412"]) == ("5", "1")


# --- bodies that come as they like ---

def cgi(site, name, text):
    site.add(name, f"#!/bin/sh\nprintf 'Content-Type: text/html\\r\\n'\n{text}\n").chmod(0o755)


def test_scripts(site, etagd):
    """Their output comes through a pipe, which is read by whoever sends it."""
    page = A.decode().strip()
    cgi(site, "whole.cgi", f"echo; echo '{page}'")
    cgi(site, "pieces.cgi", f"echo; printf '{page[:5]}'; read x < {site.folder}/fifo; echo '{page[5:]}'")
    os.mkfifo(site.folder / "fifo", 0o666)
    os.chmod(site.folder / "fifo", 0o666)
    for _ in range(2):
        assert ask(site, "/whole.cgi").body == A
    last(site, "/whole.cgi", "tagged digest")
    with site.connect() as c:
        c.send_raw(request_bytes("GET", "/pieces.cgi", {"If-None-Match": TAG}))
        got = b""
        while not got.endswith(b"5\r\n<p>th\r\n"):  # the first chunk
            got += c.sock.recv(1000)
        with open(site.folder / "fifo", "w") as fifo:
            fifo.write("go\n")
        while not got.endswith(b"0\r\n\r\n"):
            got += c.sock.recv(1000)
    assert page[5:].encode() in got
    last(site, "/pieces.cgi", "would-304 late")
    counted(site, etagd, tagged=3, same=1, _304_late=1)


def test_half_a_page(site, etagd, backend):
    backend.raw("/half", b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nhalf")
    site.expect_log("AH0")
    with site.connect() as c:
        c.send_raw(request_bytes("GET", "/app/half"))
        while c.sock.recv(1000):
            pass
    last(site, "/app/half", "untagged incomplete")
    counted(site, etagd, tagged=0)


def test_a_stream_is_not_held_up(new_site, etagd, backend):
    """Each piece arrives before the next one is made, and a body that takes longer than the engine would wait has no tag."""
    site, taken = new_site(etagd, more="ETagBufferTime 50ms"), threading.Semaphore(0)

    def pieces(request, send):
        send(b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(3):
            send(chunk(b"piece %d" % i))
            assert taken.acquire(timeout=20)
        send(b"0\r\n\r\n")

    backend.routes["/stream"] = pieces
    with site.connect() as c:
        c.send_raw(request_bytes("GET", "/app/stream"))
        got = b""
        for i in range(3):
            while b"piece %d" % i not in got:
                got += c.sock.recv(1000)
            if i == 2:
                threading.Event().wait(0.06)  # the page's own slowness: nothing tells when a time has passed
            taken.release()
        while not got.endswith(b"0\r\n\r\n"):
            got += c.sock.recv(1000)
    last(site, "/app/stream", "untagged longer than ETagBufferTime")


# --- who is answered by it ---

@pytest.mark.parametrize("known_to", ["both", "the other"])
def test_no_node_answers_by_it(new_site, redis, new_etagd, backend, known_to):
    """A page learned by looking on is unknown to the engine, On, on the same node and on another."""
    daemons = [new_etagd(redis=redis, node=name).start() for name in ("one", "two")]
    looking = new_site(daemons[0])
    on = new_site(daemons[0 if known_to == "both" else 1], "On")
    backend.page("/p", A)
    for _ in range(2):
        ask(looking, "/app/p")
    counted(looking, daemons[0], tagged=2, same=1)
    asked = backend.count("/p")
    got = ask(on, "/app/p", {"If-None-Match": TAG})
    assert (got.status, backend.count("/p")) == (304, asked + 1), "only what the engine, On, has learned counts"
    wait_for(lambda: verdicts(on, "/app/p") == ["304 late"], "the engine's own verdict")
    got = ask(on, "/app/p", {"If-None-Match": TAG})
    assert (got.status, backend.count("/p")) == (304, asked + 1)
    assert sorted(k.split(b"#")[1][:7] == b"detect." for k in redis.call("KEYS", "etag:e:*#*")) == [False, True]
    # Nor does a page that those who look on find in conflict disturb them.
    backend.page("/p", B)
    ask(looking, "/app/p")
    counted(looking, daemons[0], tagged=3, same=1, differing=1)
    assert ask(on, "/app/p", {"If-None-Match": TAG}).status == 304 and backend.count("/p") == asked + 2


def test_two_that_look_on(new_site, redis, new_etagd, backend):
    """What one has learned the other finds: the tags agree between the nodes, or they do not."""
    daemons = [new_etagd(redis=redis, node=name).start() for name in ("one", "two")]
    sites = [new_site(d) for d in daemons]
    for path in ("/p", "/q"):
        backend.page(path, A)
        ask(sites[0], "/app" + path)
    counted(sites[0], daemons[0], tagged=2)
    backend.page("/q", B)
    ask(sites[1], "/app/p"), ask(sites[1], "/app/q")
    counted(sites[1], daemons[1], tagged=2, same=1, differing=1)
    assert "www.example.com/app/q: DetectionOnly met responses" in daemons[1].tail()


# --- nobody waits for it ---

@pytest.mark.parametrize("path", ["/app/p", "/long.bin"])
def test_etagd_that_does_not_answer(new_site, etagd, backend, path):
    """What is to be done with it is done when the response has been sent."""
    site = new_site(etagd, more="ETagTimeout 5s\nETagInlineLimit 1K")
    backend.page("/p", A)
    if path == "/long.bin":
        settled(site.add("long.bin", os.urandom(100_000)))
    site.expect_log("working without etagd")
    etagd.pause()
    try:
        with site.connect() as c:
            c.sock.settimeout(3)  # less than ETagTimeout
            assert c.get(path, {"If-None-Match": '"x"'}).status == 200
    finally:
        etagd.resume()


def test_without_etagd(new_httpd, backend, mpm):
    site = new_httpd(modules=["proxy", "proxy_http"], mpm=mpm)
    site.expect_log("working without etagd")
    site.start(f"ETagEngine DetectionOnly\nETagEarly On\nETagDaemon {site.folder}/nobody\nProxyPass / {backend.url}/\n")
    backend.routes["/p"] = lambda request, send: send(answer(A, HTML, request=request)) or True
    for method in ("GET", "POST", "GET"):
        assert site.request(method, "/p").body == A
