# SPDX-License-Identifier: Apache-2.0
"""ETagEarly On with the embedded store: 304 before the handler, until somebody says otherwise."""
import subprocess
import threading
import time

import pytest
from env import machine
from env.backend import answer
from env.process import wait_for
from env.tags import content_tag

LEASE = 2.0  # seconds, etagd's default

PAGE = b"<p>a page of the application</p>\n"
TAG = content_tag(PAGE, "text/html")
OTHER = '"d' + "A" * 22 + '"'
HTML = [("Content-Type", "text/html")]
HOST = "www.example.com"


@pytest.fixture
def site(new_httpd, etagd, backend):
    site = new_httpd(modules=["proxy", "proxy_http", "headers", "expires", "rewrite"], etagd=etagd)
    site.config = ("ETagEngine On\nETagEarly On\nETagCacheStatus On\nETagTimeout 1s\nMaxKeepAliveRequests 0\n"
                   f"ProxyPass / {backend.url}/\n")
    backend.page("/p", PAGE)
    return site.start()


def restart(site, config):
    """With another configuration, and without children of the one before."""
    site.stop()
    site.start(config)


def with_alias(site, alias):
    return f"<VirtualHost *>\nServerName {HOST}\nServerAlias {alias}\n{site.config}</VirtualHost>\n".replace(
        "ETagTimeout 1s\n", "") + "ETagTimeout 1s\n"


def xadd(etagd, *fields):
    """What an operator types."""
    command = [machine.program("redis-cli"), "-s", str(etagd.socket), "XADD", "{etag}:log", "*", *fields]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    assert printed.replace("-", "").isdigit(), printed


def is_early(site, backend, target, tag, headers=()):
    """Whether the answer, which must be a 304, came without the backend."""
    before = backend.count()
    a = site.get(target, {**dict(headers), "If-None-Match": tag})
    assert (a.status, a.etag, a.body) == (304, tag, b""), a
    assert a.header("Content-Type") is None and a.header("Content-Length") is None
    return backend.count() == before


def learn(site, backend, target="/p", body=PAGE, headers=()):
    """Gets the page and proves that it is answered early now."""
    tag = content_tag(body, "text/html")
    a = site.get(target, headers)
    assert (a.status, a.etag, a.body) == (200, tag, body), a
    assert is_early(site, backend, target, tag, headers), "not learned"
    return tag


def reaches(site, backend, target, headers=(), method="GET"):
    """The answer to a request that must reach the backend."""
    before = backend.count()
    a = site.request(method, target, headers)
    assert backend.count() == before + 1, f"the backend was not asked: {a}"
    return a


def test_second_request_does_not_reach_the_backend(site, backend):
    learn(site, backend)
    for sent in (TAG, f'"x", {TAG}', f"unquoted, {TAG}"):
        a = site.get("/p", {"If-None-Match": sent})
        assert (a.status, a.etag) == (304, TAG) and "hit" in a.header("Cache-Status")
    assert site.get("/p", {"If-None-Match": "W/" + TAG}).etag == "W/" + TAG
    head = site.head("/p", {"If-None-Match": TAG})
    assert (head.status, head.etag) == (304, TAG)
    assert backend.count("/p") == 1


def test_what_is_not_the_current_tag_reaches_the_backend(site, backend):
    learn(site, backend)
    for headers in ({}, {"If-None-Match": OTHER}, {"If-None-Match": "unquoted"},
                    {"If-Modified-Since": "Sat, 01 Nov 2025 00:00:00 GMT"}):
        a = reaches(site, backend, "/p", headers)
        assert (a.status, a.etag, a.body) == (200, TAG, PAGE)
    for name, value in (("Cache-Control", "no-cache"), ("Cache-Control", "max-age=0, No-Cache"), ("Pragma", "no-cache")):
        assert reaches(site, backend, "/p", {"If-None-Match": TAG, name: value}).status == 304
    # A browser's reload revalidates; it does not insist.
    assert is_early(site, backend, "/p", TAG, {"Cache-Control": "max-age=0"})


def test_false_if_match_is_refused_early(site, backend):
    learn(site, backend)
    before = backend.count()
    a = site.get("/p", {"If-Match": OTHER})
    assert a.status == 412 and a.etag is None and backend.count() == before
    assert reaches(site, backend, "/p", {"If-Match": TAG}).status == 200


@pytest.mark.parametrize("fields", [
    ("url", f"{HOST}/shop/p"), ("url", f"https://{HOST}/shop/p"), ("prefix", f"{HOST}/shop/"), ("host", HOST),
    ("tag", "product-42"), ("all", "1"), ("url", "other.example/", "tag", "product-42", "why", "test"),
    ("mistyped", "x"), ("prefix", "/shop/")])
def test_invalidation(site, backend, etagd, fields):
    restart(site, site.config + "ETagGroupHeader Surrogate-Key\n")
    backend.page("/shop/p", PAGE, HTML + [("Surrogate-Key", "product-42 shop")])
    learn(site, backend, "/shop/p")
    xadd(etagd, *fields)
    assert reaches(site, backend, "/shop/p", {"If-None-Match": TAG}).status == 304, "late: the page is the same"
    assert is_early(site, backend, "/shop/p", TAG), "and learned again"
    new = b"<p>changed</p>\n"
    backend.page("/shop/p", new, HTML + [("Surrogate-Key", "product-42 shop")])
    xadd(etagd, *fields)
    a = site.get("/shop/p", {"If-None-Match": TAG})
    assert (a.status, a.etag, a.body) == (200, content_tag(new, "text/html"), new)


@pytest.mark.parametrize("fields", [
    ("url", f"{HOST}/shop"), ("url", f"{HOST}/shop/p/q"), ("prefix", f"{HOST}/shop/p/q/"), ("tag", "product-4"),
    ("host", "api.example.com"), ("by", "me", "why", "nothing", "x-mark", "1")])
def test_invalidation_of_something_else(site, backend, etagd, fields):
    here = with_alias(site, "other.example.com\nETagGroupHeader Surrogate-Key")
    restart(site, here + "<VirtualHost *>\nServerName api.example.com\n</VirtualHost>\n")
    backend.page("/shop/p", PAGE, HTML + [("Surrogate-Key", "product-42")])
    learn(site, backend, "/shop/p")
    xadd(etagd, *fields)
    assert is_early(site, backend, "/shop/p", TAG)


def test_url_covers_every_query(site, backend, etagd):
    for query in ("?a=1", "?a=2"):
        learn(site, backend, "/p" + query)
    xadd(etagd, "url", f"{HOST}/p?a=1")
    reaches(site, backend, "/p?a=1", {"If-None-Match": TAG})
    assert is_early(site, backend, "/p?a=2", TAG)
    xadd(etagd, "url", f"{HOST}/p")
    reaches(site, backend, "/p?a=2", {"If-None-Match": TAG})


def test_page_begun_before_an_invalidation_is_not_learned(site, backend, etagd):
    """What the application read before the record may be old: its answer must not outlive it."""
    arrived, go = threading.Event(), threading.Event()

    def slowly(request, send):
        arrived.set()
        go.wait(5)
        send(answer(PAGE, HTML, request=request))
        return True

    backend.routes["/slow"] = slowly
    got = []
    client = threading.Thread(target=lambda: got.append(site.get("/slow")))
    client.start()
    assert arrived.wait(5)
    xadd(etagd, "url", f"{HOST}/slow")
    go.set()
    client.join()
    assert (got[0].status, got[0].etag) == (200, TAG)
    reaches(site, backend, "/slow", {"If-None-Match": TAG})


@pytest.mark.parametrize("method, status, forgets", [
    ("POST", 200, True), ("PUT", 201, True), ("PUT", 204, True), ("DELETE", 204, True), ("PATCH", 200, True),
    ("POST", 303, True), ("POST", 404, False), ("PUT", 412, False), ("DELETE", 500, True), ("PUT", 504, True), ("OPTIONS", 200, False)])
def test_writes(site, backend, method, status, forgets):
    """Read your writes: once the answer is here, no old tag is confirmed."""
    learn(site, backend)

    def both(request, send):
        send(answer(PAGE, HTML, 200 if request.method == "GET" else status, request))
        return True

    backend.routes["/p"] = both
    for _ in range(10):
        assert reaches(site, backend, "/p", method=method).status == status
        assert is_early(site, backend, "/p", TAG) != forgets
        if forgets:
            backend.page("/p", PAGE)
            learn(site, backend)
            backend.routes["/p"] = both


def test_writes_cover_location_and_content_location(site, backend):
    for path in ("/a", "/b", "/c"):
        backend.page(path, PAGE)
        learn(site, backend, path)
    backend.page("/w", b"", HTML + [("Location", "/a"), ("Content-Location", f"http://{HOST}/b")], status=201)
    assert reaches(site, backend, "/w", method="POST").status == 201
    assert not is_early(site, backend, "/a", TAG) and not is_early(site, backend, "/b", TAG)
    assert is_early(site, backend, "/c", TAG)
    backend.page("/w", b"", HTML + [("Location", "http://elsewhere.example/c")], status=201)
    reaches(site, backend, "/w", method="POST")
    assert is_early(site, backend, "/c", TAG), "another site's URL is not ours to invalidate"


def test_write_under_a_strange_host_counts(site, backend):
    learn(site, backend)
    assert reaches(site, backend, "/p", {"Host": "10.0.0.7"}, method="POST").status == 200
    assert not is_early(site, backend, "/p", TAG)


def test_ttl(site, backend):
    restart(site, "ETagTTL 1s\n" + site.config)
    learn(site, backend)
    begin = time.monotonic()
    wait_for(lambda: not is_early(site, backend, "/p", TAG), "ETagTTL to pass", 5)
    assert 0.5 < time.monotonic() - begin < 3


def test_killed_etagd_means_no_early_answer_beyond_the_lease(site, backend, etagd):
    site.expect_log("etagd")
    learn(site, backend)
    new = b"<p>changed</p>\n"
    etagd.kill()
    begin = time.monotonic()
    backend.page("/p", new)
    believed = []  # when a request went out that was; a child that never attached believes nothing
    while (asked := time.monotonic() - begin) < LEASE + 1:
        a = site.get("/p", {"If-None-Match": TAG})
        if a.status == 304:
            believed.append(asked)
        else:
            assert (a.status, a.etag, a.body) == (200, content_tag(new, "text/html"), new)
    assert believed and believed[-1] < LEASE
    etagd.start()
    tag = content_tag(new, "text/html")
    wait_for(lambda: site.get("/p").status == 200 and is_early(site, backend, "/p", tag), "to learn again", 10)
    assert site.get("/p", {"If-None-Match": TAG}).status == 200
