# SPDX-License-Identifier: Apache-2.0
"""Applications as the common guides have them make entity-tags, behind httpd that compresses."""
import gzip
import hashlib
import itertools
import json

import pytest
from env.backend import Backend, answer
from env.etagd import Etagd
from env.httpd import Httpd
from env.tags import OURS, content_tag

PAGE = b"<p>" + b"as the guide says, " * 40 + b"</p>\n"
NEW = b"<p>" + b"changed since then, " * 40 + b"</p>\n"
HTML = ("Content-Type", "text/html")
FILTERS = {"gzip": "DEFLATE", "br": "BROTLI_COMPRESS"}


class App:
    """Holds one body; counts how often it had to send it."""

    def __init__(self, make_tag):
        self.body, self.make_tag, self.bodies, self.seen, self.writes = PAGE, make_tag, 0, [], []

    @property
    def tag(self):
        return self.make_tag(self.body)

    def serve(self, request, send):
        asked = request.header("If-None-Match")
        self.seen.append((asked, request.header("If-Match")))
        if request.method not in ("GET", "HEAD"):
            if request.header("If-Match") not in (None, self.tag):
                send(answer(b"", status=412))
            else:
                self.writes.append(request.body)
                self.body = request.body
                send(answer(b"", [("ETag", self.tag)], 204))
        elif asked == self.tag:  # one string, as the guides have it: no list, no weak comparison
            send(answer(b"", [("ETag", self.tag)], 304))
        else:
            self.bodies += 1
            send(answer(self.body, [HTML, ("ETag", self.tag)], request=request))
        return True


def md5(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


def weak(body):
    """As Express makes them: length and digest."""
    return f'W/"{len(body):x}-{hashlib.sha1(body).hexdigest()[:27]}"'


def unquoted(body):
    return hashlib.sha1(body).hexdigest()[:12]


@pytest.fixture(scope="module")
def sites(shared_servers):
    """By filter: two servers of ours in front of one application."""
    with Backend() as backend:
        made = {"backend": backend}
        for coding, name in FILTERS.items():
            made[coding] = [shared_servers(
                Httpd, f"ETagEngine On\nAddOutputFilterByType {name} text/html application/json\n<Location /early/>\n"
                f"ETagEarly On\n</Location>\nProxyPass / {backend.url}/ disablereuse=on\n",
                modules=["filter", "deflate", "brotli", "proxy", "proxy_http"], etagd=shared_servers(Etagd).start()).start()
                for _ in range(2)]
        yield made


@pytest.fixture
def app(sites):
    number = itertools.count()

    def make(make_tag, prefix="/"):
        target, application = f"{prefix}g{make_tag.__name__}{next(number)}{id(number)}", App(make_tag)
        sites["backend"].routes[target] = application.serve
        return target, application

    return make


def got(a):
    body = gzip.decompress(a.body) if a.header("Content-Encoding") == "gzip" else a.body
    return a.status, a.etag, body


@pytest.mark.parametrize("coding", FILTERS)
@pytest.mark.parametrize("make_tag", [md5, weak])
def test_the_application_answers_304_itself(sites, app, make_tag, coding):
    """What goes out compressed comes back to it as the tag that it made: httpd's suffix is no business of its."""
    target, application = app(make_tag)
    one, two = sites[coding]
    ask = {"Accept-Encoding": coding}
    first = one.get(target, ask)
    assert first.status == 200 and first.header("Content-Encoding") == coding
    assert first.etag.endswith(f'-{coding}"') and first.etag != application.tag[:-1] + f'-{coding}"'
    for site in (one, two):
        for sent in (first.etag, "W/" + first.etag.removeprefix("W/")):
            before = application.bodies
            late = site.get(target, {**ask, "If-None-Match": sent})
            assert (late.status, late.etag, late.body) == (304, sent, b"") and "Accept-Encoding" in late.header("Vary")
            if sent == first.etag:
                assert application.bodies == before and application.seen[-1] == (application.tag, None)
        # A list is beyond the application, not beyond us.
        for sent in (f'"x", {first.etag}', f"{first.etag}, {application.tag}"):
            late = site.get(target, {**ask, "If-None-Match": sent})
            assert (late.status, late.etag, late.body) == (304, first.etag, b"")
    plain = one.get(target)
    assert got(plain) == (200, application.tag, PAGE)
    assert one.get(target, {"If-None-Match": application.tag}).status == 304
    # Who cannot decode it gets no confirmation of what is compressed.
    assert got(one.get(target, {"If-None-Match": first.etag})) == (200, application.tag, PAGE)
    assert application.seen[-1] == (None, None)
    application.body = NEW
    changed = one.get(target, {**ask, "If-None-Match": first.etag})
    assert changed.status == 200 and changed.etag not in (first.etag, None)


@pytest.mark.parametrize("coding", FILTERS)
def test_early(sites, app, coding):
    target, application = app(md5, "/early/")
    one = sites[coding][0]
    ask = {"Accept-Encoding": coding}
    tag = one.get(target, ask).etag
    asked = len(application.seen)
    late = one.get(target, {**ask, "If-None-Match": tag})
    assert (late.status, late.etag, late.body) == (304, tag, b"") and "Accept-Encoding" in late.header("Vary")
    assert one.get(target, {**ask, "If-None-Match": application.tag}).status == 304
    assert len(application.seen) == asked
    assert one.get(target, {"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("coding", FILTERS)
def test_who_received_it_compressed_can_write(sites, app, coding):
    """The application compares, at the time of the write, and with the tag that it knows."""
    target, application = app(md5)
    one, two = sites[coding]
    tag = one.get(target, {"Accept-Encoding": coding}).etag
    old = application.tag
    assert two.request("PUT", target, {"If-Match": tag}, NEW).status == 204 and application.writes == [NEW]
    assert application.seen[-1] == (None, old)
    assert one.request("PUT", target, {"If-Match": tag}, b"lost").status == 412 and application.writes == [NEW]
    assert application.seen[-1] == (None, old)
    assert one.request("PUT", target, {"If-Match": tag[:-6] + 'x-gzip"'}, b"lost").status == 412


def test_compressed_tags_are_never_ranged(sites, app):
    target, application = app(md5)
    one = sites["gzip"][0]
    tag = one.get(target, {"Accept-Encoding": "gzip"}).etag
    for ask in ({"Accept-Encoding": "gzip"}, {}):
        assert one.get(target, {**ask, "Range": "bytes=0-9", "If-Range": tag}).status == 200


@pytest.mark.parametrize("prefix", ["/", "/early/"])
def test_a_page_about_gzip(sites, app, prefix):
    """The application's tags are names of pages: "v1" and "v1-gzip" are two of them, and never taken for one another."""
    target, application = app(page_name, prefix)
    one = sites["gzip"][0]
    ask = {"Accept-Encoding": "gzip"}
    application.body = NEW
    assert got(one.get(target)) == (200, '"v1-gzip"', NEW)
    assert one.get(target, {"If-None-Match": '"v1-gzip"'}).status == 304
    coded_new = one.get(target, ask).etag
    one.etagd.call("XADD", "{etag}:log", "*", "all", "1")
    application.body = PAGE
    coded = one.get(target, ask).etag
    assert len({coded, coded_new, '"v1-gzip"', '"v1"', '"v1-gzip-gzip"'}) == 5
    for sent in ('"v1-gzip"', coded_new, '"v1-gzip-gzip"'):
        for who in (ask, {}):
            assert one.get(target, {**who, "If-None-Match": sent}).status == 200, sent
    assert one.get(target, {**ask, "If-None-Match": coded}).status == 304


def page_name(body):
    return '"v1-gzip"' if body == NEW else '"v1"'


@pytest.mark.parametrize("coding", FILTERS)
def test_a_hex_tag_without_quotes(sites, app, coding):
    """No entity-tag at all: ours stands in, and the application is not bothered with it."""
    target, application = app(unquoted)
    one, two = sites[coding]
    assert got(one.get(target)) == (200, content_tag(PAGE, "text/html"), PAGE)
    for ask in ({}, {"Accept-Encoding": coding}):
        tag = one.get(target, ask).etag
        assert OURS.match(tag.replace(f"-{coding}", ""))
        assert two.get(target, {**ask, "If-None-Match": tag}).status == 304
    # Who has the hex from elsewhere asks the application, which knows what it meant.
    bodies = application.bodies
    assert one.get(target, {"If-None-Match": unquoted(PAGE)}).status == 304 and application.bodies == bodies


def test_json_with_a_timestamp(sites):
    """Never the same bytes twice: a tag each time and no 304. Where ETagEarly promises that a page changes only when
    somebody says so, two tags without a word between them show that it does not."""
    one, two = sites["gzip"]
    clock = itertools.count(1700000000)
    for prefix in ("/", "/early/"):
        def page(request, send):
            send(answer(json.dumps({"now": next(clock), "rows": list(range(99))}), [("Content-Type", "application/json")],
                        request=request))
            return True

        sites["backend"].routes[prefix + "stamped"] = page
        tags = [site.get(prefix + "stamped").etag for site in (one, two, one, two)]
        assert len(set(tags)) == 4 and all(OURS.match(t) for t in tags)
        assert [one.get(prefix + "stamped", {"If-None-Match": t}).status for t in tags] == [200] * 4
        newest = one.get(prefix + "stamped").etag
        assert one.get(prefix + "stamped", {"If-None-Match": newest}).status == 200
