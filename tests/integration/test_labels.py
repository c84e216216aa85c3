# SPDX-License-Identifier: Apache-2.0
"""What a response is invalidated by (ETagGroups, ETagGroupHeader), versions, and keys for several queries."""
import subprocess

import pytest
from env import machine
from env.backend import answer

PAGE = b"<p>labelled</p>\n"


def xadd(etagd, *fields):
    subprocess.run([machine.program("redis-cli"), "-s", str(etagd.socket), "XADD", "{etag}:log", "*", *fields], check=True,
                   capture_output=True, timeout=30)


@pytest.fixture
def start(new_httpd, etagd, backend):
    """A site in front of the backend, with more directives."""

    def site(directives):
        s = new_httpd(modules=["proxy", "proxy_http", "headers"], etagd=etagd)
        s.config = f"ETagEngine On\nETagEarly On\nETagTimeout 2s\n{directives}\nProxyPass / {backend.url}/\n"
        return s.start()

    return site


def learned(site, backend, target="/p"):
    """Gets the page; returns its tag once a request with it did not reach the backend."""
    first = site.get(target)
    assert (first.status, first.body) == (200, PAGE)
    before = backend.count()
    assert site.get(target, {"If-None-Match": first.etag}).status == 304 and backend.count() == before
    return first


def forgotten(site, backend, tag, target="/p"):
    before = backend.count()
    assert site.get(target, {"If-None-Match": tag}).status == 304  # late: the page is the same
    return backend.count() == before + 1


@pytest.mark.parametrize("header,value,group", [
    ("Surrogate-Key", "product-42 category-7", False),
    ("xkey", "category-7 product-42", False),
    ("Cache-Tag", "category-7,product-42", False),
    ("Cache-Groups", '"category-7", "product-42"', True),
])
def test_each_label_invalidates(start, backend, etagd, header, value, group):
    backend.page("/p", PAGE, [("Content-Type", "text/html"), (header, value)])
    site = start(f"ETagGroupHeader {header}")
    for name in ("category-7", "product-42"):
        first = learned(site, backend)
        assert first.header(header) == value
        xadd(etagd, *(("group", f"{site.host} x") if group else ("tag", "category")))
        assert not forgotten(site, backend, first.etag)
        xadd(etagd, *(("group", f"{site.host} {name}") if group else ("tag", name)))
        assert forgotten(site, backend, first.etag)


@pytest.mark.parametrize("field, name", [
    (r'"a \"b\"", "c"', 'a "b"'), (r'"a \"b\"", "c";x=1', "c"), (r'"a\\b"', r"a\b"), (r'"\\", "c"', "c"),
    (r'"a";x=1;y , "c"', "c"), ('"a,b"', "a,b")])
def test_group_names_are_structured_fields(start, backend, etagd, field, name):
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Cache-Groups", field)])
    site = start("")
    first = learned(site, backend)
    xadd(etagd, "group", f"{site.host} another", "group", f"{site.host} {field}")
    assert not forgotten(site, backend, first.etag)
    xadd(etagd, "group", f"{site.host} {name}")
    assert forgotten(site, backend, first.etag)


@pytest.mark.parametrize("field", ['"c", not-a-string', r'"c\d"', '"c', '"c" "d"', '"c", "\x80"'])
def test_group_names_that_cannot_be_read_may_be_any(start, backend, etagd, field):
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Cache-Groups", field)])
    site = start("")
    first = learned(site, backend)
    xadd(etagd, "group", f"{site.host} anything")
    assert forgotten(site, backend, first.etag)


@pytest.mark.parametrize("field, forgets", [(r'"a \"b\""', True), (r'"a b"', False), (r'"x", "a \"b\"";p=1', True)])
def test_groups_that_a_write_names(start, backend, field, forgets):
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Cache-Groups", r'"a \"b\""')])
    backend.page("/w", b"x" * 300000, [("Cache-Group-Invalidation", field)])
    site = start("")
    first = learned(site, backend)
    assert site.request("POST", "/w").status == 200
    assert forgotten(site, backend, first.etag) is forgets


def test_a_long_response_to_a_write_invalidates_once(start, backend, etagd):
    backend.page("/w", b"x" * 300000)
    site = start("")

    def length():
        return int(subprocess.run([machine.program("redis-cli"), "-s", str(etagd.socket), "XLEN", "{etag}:log"], check=True,
                                  capture_output=True, timeout=30).stdout)

    before = length()
    assert len(site.request("POST", "/w").body) == 300000
    assert length() == before + 1


@pytest.mark.parametrize("header,value,forgets", [
    ("Location", "q", True), ("Location", "./x/../q", True), ("Content-Location", "/a/q", True),
    ("Location", "http://www.example.com/a/q", True), ("Location", "http://elsewhere.example/a/q", False),
    ("Location", "/a/q2", False), ("Location", "/a/q?x=1", False), ("Location", "//www.example.com/a/q", True),
    ("Location", "//elsewhere.example/a/q", False), ("Location", "?", False), ("Location", "../../a/q", True),
    ("Cache-Group-Invalidation", '"g"', True),
    ("Cache-Group-Invalidation", '"other"', False), ("Cache-Group-Invalidation", '"other", ?', True)])
def test_a_write_names_what_else_it_changed(start, backend, header, value, forgets):
    backend.page("/a/q", PAGE, [("Content-Type", "text/html"), ("Cache-Groups", '"g"')])
    backend.page("/a/w", b"", [(header, value)], status=201)
    site = start("")
    first = learned(site, backend, "/a/q")
    assert site.request("POST", "/a/w").status == 201
    assert forgotten(site, backend, first.etag, "/a/q") is forgets


def test_a_reference_where_the_host_has_a_port(start, backend):
    backend.page("/a/q", PAGE)
    backend.page("/a/w", b"", [("Location", "q")], status=201)
    site = start("")
    site.host = f"{site.host}:{site.port}"
    first = learned(site, backend, "/a/q")
    assert site.request("POST", "/a/w").status == 201
    assert forgotten(site, backend, first.etag, "/a/q")


def test_a_reference_without_a_path_is_the_root(start, backend):
    backend.page("/", PAGE)
    backend.page("/a/w", b"", [("Location", "http://www.example.com")], status=201)
    site = start("")
    first = learned(site, backend, "/")
    assert site.request("POST", "/a/w").status == 201
    assert forgotten(site, backend, first.etag, "/")


def test_an_encoded_slash_is_none(start, backend):
    answer_everything(backend, "http://elsewhere.example/")
    site = start("AllowEncodedSlashes NoDecode")
    first = learned(site, backend, "/a%2Fb/q")
    assert site.request("POST", "/a%2Fb/q", host="10.0.0.7").status == 201
    assert forgotten(site, backend, first.etag, "/a%2Fb/q")


ODD = pytest.mark.parametrize("folder", ["/a%20b", "/100%25", "/a%3Fb", "/%C3%A9", "/a%3Bb", "/%7Ea"])


def answer_everything(backend, location):
    """Every path, whatever the proxy makes of its spelling."""

    def both(request, send):
        if request.method == "GET":
            send(answer(PAGE, [("Content-Type", "text/html")]))
        else:
            send(answer(b"", [("Location", location)], 201))
        return True

    backend.routes = type("Everything", (dict,), {"get": lambda self, path: both})()


@ODD
@pytest.mark.parametrize("reference", ["q", "./x/../q"])
def test_a_reference_is_resolved_against_the_url_as_it_was_sent(start, backend, folder, reference):
    """Decoded, "%3F" would be a "?", and "%25" the beginning of an escape that is none."""
    answer_everything(backend, reference)
    site = start("")
    first = learned(site, backend, f"{folder}/q")
    assert site.request("POST", f"{folder}/w").status == 201
    assert forgotten(site, backend, first.etag, f"{folder}/q")


@ODD
@pytest.mark.parametrize("detour", ["", "/x/%2e%2e"])
def test_a_write_under_a_strange_host_or_spelling(start, backend, folder, detour):
    answer_everything(backend, "http://elsewhere.example/")
    site = start("")
    first, other = learned(site, backend, f"{folder}/q"), learned(site, backend, "/other")
    assert site.request("POST", f"{detour}{folder}/q", host=None if detour else "10.0.0.7").status == 201
    assert forgotten(site, backend, first.etag, f"{folder}/q")
    assert not forgotten(site, backend, other.etag, "/other"), "one write is not a reason to forget all"


def test_an_if_match_that_cannot_be_judged_gets_the_whole(start, backend):
    """Too long to be held back, so its tag is not known: never a part, never a 412 that may be wrong."""
    backend.page("/long", PAGE * 100)
    site = start("ETagBufferLimit 1K\nETagEarly Off")
    for condition in ('"d' + "A" * 22 + '"', '"d' + "B" * 22 + '", "x"'):
        got = site.get("/long", {"If-Match": condition, "Range": "bytes=0-9"})
        assert (got.status, got.body, got.etag) == (200, PAGE * 100, None)


def test_headers_are_stripped_where_asked(start, backend, etagd):
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Surrogate-Key", "a"), ("Cache-Groups", '"g"')])
    site = start("ETagGroupHeader Surrogate-Key Cache-Groups strip")
    first = learned(site, backend)
    assert first.header("Surrogate-Key") is None and first.header("Cache-Groups") == '"g"'
    xadd(etagd, "tag", "a")
    assert forgotten(site, backend, first.etag)


def test_groups_of_the_configuration(start, backend, etagd):
    backend.page("/p", PAGE)
    site = start("ETagGroups catalog")
    first = learned(site, backend)
    xadd(etagd, "tag", "catalog")
    assert forgotten(site, backend, first.etag)


def test_version_by_expression(start, backend):
    backend.page("/p", PAGE)
    site = start('ETagSource version\nETagVersion "expr=%{req:X-Release}"\nETagVary x-release')
    one, two = (site.get("/p", {"X-Release": r}) for r in ("1", "2"))
    assert one.etag.startswith('W/"v') and two.etag.startswith('W/"v') and one.etag != two.etag
    before = backend.count()
    assert site.get("/p", {"X-Release": "1", "If-None-Match": one.etag}).status == 304
    assert backend.count() == before
    assert site.get("/p", {"X-Release": "2", "If-None-Match": one.etag}).status == 200
    assert site.get("/p").etag is None  # no version, no tag


def test_any_query_that_shares_the_key_invalidates(start, backend, etagd):
    """The key stands for /p?lang=de whatever utm says: forgetting one such URL must forget it."""
    backend.page("/p", PAGE)
    site = start("ETagIgnoreQuery utm")
    first = learned(site, backend, "/p?lang=de&utm=1")
    xadd(etagd, "url", f"{site.host}/q?lang=de&utm=2")
    assert not forgotten(site, backend, first.etag, "/p?lang=de")
    xadd(etagd, "url", f"{site.host}/p?lang=de&utm=2")
    assert forgotten(site, backend, first.etag, "/p?lang=de")
