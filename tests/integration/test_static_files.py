# SPDX-License-Identifier: Apache-2.0
"""Files that change, that cannot be read, that are large, and nodes whose etagd is away."""
import os
import threading
import time

import pytest
from env.process import wait_for
from env.tags import content_tag

PAST = 1_700_000_000
CONF = "ETagEngine On\nETagCacheStatus On\nMaxKeepAliveRequests 0\n"


def tag(body, kind="text/html"):
    return content_tag(body, kind)


def got(answer):
    return answer.status, answer.etag, answer.body


def early(site, target, value):
    """Waits until the tag is answered from the cache by stat alone: the file has come of age."""

    def probe():
        answer = site.get(target, {"If-None-Match": value})
        assert (answer.status, answer.etag) == (304, value), answer
        return "hit" in answer.header("Cache-Status")

    wait_for(probe, f"{target} to be answered by its stat identity")


@pytest.fixture
def site(new_httpd, etagd):
    return new_httpd(CONF, etagd=etagd)


@pytest.fixture(params=["young", "cached"])
def known(request, site):
    """p.html served at least once; cached: its digest is trusted by stat identity."""
    site.add("p.html", b"old bytes", mtime=PAST)
    site.start()
    assert got(site.get("/p.html")) == (200, tag(b"old bytes"), b"old bytes")
    if request.param == "cached":
        early(site, "/p.html", tag(b"old bytes"))
    return site


def replaced(path):
    new = path.with_name("new")
    new.write_bytes(b"new bytes")
    os.rename(new, path)


def in_place(path):
    path.write_bytes(b"new bytes")


def same_size_and_mtime(path):
    path.write_bytes(b"new bytes")
    os.utime(path, (PAST, PAST))  # as touch -r: only the bytes and ctime tell


def replaced_same_size_and_mtime(path):
    new = path.with_name("new")
    new.write_bytes(b"new bytes")
    os.utime(new, (PAST, PAST))
    os.rename(new, path)


@pytest.mark.parametrize("change", [replaced, in_place, same_size_and_mtime, replaced_same_size_and_mtime])
def test_changed_file_has_its_new_tag_at_once(known, change):
    change(known.docs / "p.html")
    for headers in ({"If-None-Match": tag(b"old bytes")}, {}):
        assert got(known.get("/p.html", headers)) == (200, tag(b"new bytes"), b"new bytes")
    assert known.get("/p.html", {"If-None-Match": tag(b"new bytes")}).status == 304
    assert known.get("/p.html", {"If-Match": tag(b"old bytes")}).status == 412


def test_rapid_changes_within_one_clock_tick(site):
    """Coarse kernel clocks give several writes one ctime: young files are hashed again and again."""
    path = site.add("p.html", b"0000", mtime=PAST)
    site.start()
    with site.connect() as c:
        for i in range(300):
            body = b"%04d" % i
            path.write_bytes(body)
            os.utime(path, (PAST, PAST))
            before = tag(b"%04d" % (i - 1)) if i else '"x"'
            assert got(c.get("/p.html", {"If-None-Match": before})) == (200, tag(body), body)
            assert c.get("/p.html", {"If-None-Match": tag(body)}).status == 304


def test_file_replaced_again_and_again_while_it_is_hashed(site):
    """Whatever is sent, the tag is that of the bytes sent, or there is none."""
    bodies = [b"A" * 3_000_000, b"B" * 3_000_000]
    tags = {b[:1]: tag(b) for b in bodies}
    path = site.add("p.html", bodies[0])
    site.start()
    stop = threading.Event()

    def replace():
        n = 0
        while not stop.is_set():
            new = path.with_name("new")
            new.write_bytes(bodies[n % 2])
            os.rename(new, path)
            n += 1

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = set()
        with site.connect() as c:
            for _ in range(60):
                answer = c.get("/p.html")
                assert answer.status == 200 and len(answer.body) == 3_000_000
                assert answer.body == answer.body[:1] * 3_000_000
                assert answer.etag in (None, tags[answer.body[:1]])
                seen.add(answer.body[:1])
    finally:
        stop.set()
        writer.join()
    assert len(seen) == 2, "both contents must have been served"
    last = site.get("/p.html")
    assert last.etag == tags[last.body[:1]], "at rest it has its tag again"


def test_file_truncated_while_it_is_served(site):
    path = site.add("big.html", bytes(60_000_000), mtime=PAST)
    site.config += "ETagInlineLimit 100M\n"
    site.start()
    children = site.children()
    with site.connect() as c:
        c.send_raw(b"GET /big.html HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += c.sock.recv(4096)
        assert f'ETag: {tag(bytes(60_000_000))}'.encode() in head
        path.write_bytes(b"short")
        received = len(head)
        try:
            while data := c.sock.recv(1 << 20):
                received += len(data)
        except ConnectionResetError:
            pass
        assert received < 60_000_000, "the rest cannot have been sent"
    assert got(site.get("/big.html")) == (200, tag(b"short"), b"short")
    assert site.children() == children, "a child died"


def test_unreadable_file(site):
    path = site.add("p.html", b"old bytes", mtime=PAST)
    site.expect_log(r"Permission denied")
    site.start()
    early(site, "/p.html", tag(b"old bytes"))
    path.chmod(0)
    answer = site.get("/p.html")
    assert (answer.status, answer.etag) == (403, None)
    # The permission change gave it a new ctime: no cached digest speaks for it.
    assert site.get("/p.html", {"If-None-Match": tag(b"old bytes")}).status == 403
    path.chmod(0o644)
    assert got(site.get("/p.html")) == (200, tag(b"old bytes"), b"old bytes")


def test_empty_file_has_a_tag(site):
    site.add("empty.html", b"", mtime=PAST)
    site.start()
    assert got(site.get("/empty.html")) == (200, tag(b""), b"")
    assert site.get("/empty.html", {"If-None-Match": tag(b"")}).status == 304


def test_large_file_gets_its_tag_from_etagd(site):
    """Over ETagInlineLimit no worker stops to hash: no tag until etagd has one, never another's."""
    body = os.urandom(1 << 20) * 3
    site.add("big.html", body, mtime=PAST)
    site.config += "ETagInlineLimit 1M\n"
    site.start()

    def tagged():
        answer = site.get("/big.html")
        assert answer.status == 200 and answer.body == body
        assert answer.etag in (None, tag(body)), answer
        return answer.etag

    first = site.get("/big.html")
    assert (first.status, first.etag, first.body) == (200, None, body), first
    wait_for(tagged, "etagd to hash the file")
    early(site, "/big.html", tag(body))
    assert site.head("/big.html").etag == tag(body)
    part = site.get("/big.html", {"Range": "bytes=0-9", "If-Range": tag(body)})
    assert (part.status, part.etag, part.body) == (206, tag(body), body[:10])


def test_large_file_that_changed_is_not_given_the_old_tag(site):
    body = os.urandom(1 << 20) * 2
    path = site.add("big.html", body, mtime=PAST)
    site.config += "ETagInlineLimit 1M\n"
    site.start()
    wait_for(lambda: site.get("/big.html").etag, "etagd to hash the file")
    other = body[::-1]
    path.write_bytes(other)
    os.utime(path, (PAST, PAST))
    answer = site.get("/big.html", {"If-None-Match": tag(body)})
    assert answer.status == 200 and answer.body == other and answer.etag in (None, tag(other)), answer
    wait_for(lambda: site.get("/big.html").etag == tag(other), "etagd to hash the new bytes")


def serves_files(site):
    body = os.urandom(2000)
    path = site.add("fresh.html", body)
    assert got(site.get("/fresh.html")) == (200, tag(body), body)
    answer = site.get("/fresh.html", {"If-None-Match": tag(body)})
    assert (answer.status, answer.etag) == (304, tag(body)), answer
    return path, body


def test_without_any_etagd(new_httpd, work):
    """httpd starts, serves and tags files; each process caches digests for itself; one line says so."""
    site = new_httpd(CONF, etagd=work / "nobody.sock")
    site.add("p.html", b"old bytes", mtime=PAST)
    site.expect_log("etagd|nobody.sock")
    site.start()
    assert got(site.get("/p.html")) == (200, tag(b"old bytes"), b"old bytes")
    early(site, "/p.html", tag(b"old bytes"))
    path, body = serves_files(site)
    path.write_bytes(body[::-1])
    assert got(site.get("/fresh.html", {"If-None-Match": tag(body)})) == (200, tag(body[::-1]), body[::-1])
    with site.connect() as c:
        for _ in range(200):
            assert c.get("/p.html").status == 200
    lines = site.log_lines("nobody.sock|etagd")
    assert 1 <= len(lines) <= len(site.children()), "\n".join(lines)


def test_large_files_without_etagd_are_served_untagged(new_httpd, work):
    body = os.urandom(1 << 20) * 2
    site = new_httpd(CONF + "ETagInlineLimit 1M\n", etagd=work / "nobody.sock")
    site.expect_log("etagd|nobody.sock")
    site.add("big.html", body, mtime=PAST)
    site.start()
    for _ in range(3):
        assert got(site.get("/big.html")) == (200, None, body)


def test_etagd_killed_and_started_again(site, etagd):
    site.add("p.html", b"old bytes", mtime=PAST)
    site.expect_log("etagd")
    site.start()
    early(site, "/p.html", tag(b"old bytes"))
    etagd.kill()
    for _ in range(3):
        assert got(site.get("/p.html")) == (200, tag(b"old bytes"), b"old bytes")
        assert site.get("/p.html", {"If-None-Match": tag(b"old bytes")}).status == 304
        serves_files(site)
    etagd.start()
    serves_files(site)
    early(site, "/p.html", tag(b"old bytes"))
    # A digest that the old table knows stays true; the first one that it does not know leads to the new.
    wait_for(lambda: site.get("/fresh.html").status == 200 and int(etagd.info()["attached"]) > 0,
             "the module to come back to etagd")


def test_etagd_that_never_answers_costs_no_more_than_the_timeout(site, etagd):
    site.add("p.html", b"old bytes", mtime=PAST)
    site.config += "ETagTimeout 100ms\n"
    site.expect_log("etagd")
    site.start()
    serves_files(site)
    etagd.pause()
    try:
        took = []
        for _ in range(40):
            body = os.urandom(2000)  # a new file each time: its digest is to be published
            site.add("fresh.html", body)
            begin = time.monotonic()
            assert got(site.get("/fresh.html")) == (200, tag(body), body)
            took.append(time.monotonic() - begin)
        took.sort()
        assert took[-1] < 1.0, took[-5:]
        assert took[len(took) // 2] < 0.05, "no circuit breaker: every request waits"
    finally:
        etagd.resume()
    serves_files(site)
