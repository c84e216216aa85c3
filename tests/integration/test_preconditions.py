# SPDX-License-Identifier: Apache-2.0
"""Conditions that stock httpd, or a handler, would judge by other rules than RFC 9110's; one test each. All of them
together are in test_matrix.py."""
import itertools
import time

import pytest
from env.backend import answer
from env.tags import content_tag

PAGE = b"<p>" + b"0123456789" * 5 + b"</p>\n"
MODIFIED = "Thu, 09 Oct 2025 08:53:20 GMT"
EARLIER = "Wed, 08 Oct 2025 08:53:20 GMT"
OTHER = '"d' + "A" * 22 + '"'
HTML = [("Content-Type", "text/html")]
WRITES = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.fixture
def site(new_httpd, etagd, backend):
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = f"ETagEngine On\nProxyPass / {backend.url}/\n"
    return site.start()


@pytest.fixture
def script(new_httpd, etagd):
    """A CGI script that sends these headers; returns a site that runs."""

    def start(*headers):
        site = new_httpd(modules=["cgid"], etagd=etagd)
        site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                       "</Directory>\n")
        lines = " ".join(f"'{h}'" for h in ("Content-Type: text/html", *headers))
        text = f"#!/bin/sh\nprintf '%s\\n' {lines} ''\nprintf '%s\\n' '{PAGE.decode().strip()}'\n"
        site.add("p.cgi", text).chmod(0o755)
        return site.start()

    return start


# --- writes ---

@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
def test_a_list_that_names_nothing_stops_a_write(site, backend, method, field):
    backend.page("/r", "performed")
    for value in ("abc", "", ", ,", 'w/"x"', '"x', "*, abc"):
        got = site.request(method, "/r", {field: value}, b"x")
        assert (got.status, backend.count("/r")) == (412, 0), value
    for value in ('"x"', 'abc, "x"', "*"):
        assert site.request(method, "/r", {field: value}, b"x").status == 200, value
        assert backend.last().header(field) == value


# --- ranges (14.2) ---

@pytest.mark.parametrize("method", ["HEAD", "QUERY", "OPTIONS", *WRITES])
def test_only_a_get_is_answered_with_a_part(site, backend, method):
    backend.page("/r", PAGE)
    for value in ("bytes=2-5", "bytes=99999-"):
        got = site.request(method, "/r", {"Range": value})
        assert (got.status, got.header("Content-Range")) == (200, None)
        assert got.body == (b"" if method == "HEAD" else PAGE)


def test_head_of_a_file_is_not_cut(httpd):
    httpd.add("f.txt", PAGE)
    httpd.start()
    got = httpd.head("/f.txt", {"Range": "bytes=2-5"})
    assert (got.status, got.header("Content-Length")) == (200, str(len(PAGE)))
    assert httpd.get("/f.txt", {"Range": "bytes=2-5"}).body == PAGE[2:6]


def test_conditions_go_before_a_range_that_the_backend_would_cut(site, backend):
    """A backend that knows ranges must not see one without its condition."""

    def serve(request, send):
        if request.header("Range"):
            send(answer(PAGE[2:6], [*HTML, ("Content-Range", f"bytes 2-5/{len(PAGE)}")], 206))
        else:
            send(answer(PAGE, HTML, request=request))
        return True

    backend.routes["/r"] = serve
    tag = content_tag(PAGE, "text/html")
    for condition in ("*", tag, f'"x", {tag}'):
        got = site.get("/r", {"If-None-Match": condition, "Range": "bytes=2-5"})
        assert (got.status, got.body, got.etag) == (304, b"", tag), condition
    got = site.get("/r", {"If-None-Match": content_tag(b"old", "text/html"), "Range": "bytes=2-5"})
    assert (got.status, got.body) == (206, PAGE[2:6])
    assert site.get("/r", {"Range": "bytes=2-5"}).body == PAGE[2:6] and backend.last().header("Range")


# --- QUERY (RFC 10008) ---

def test_a_query_is_compared_with_the_tag_of_its_own_result(site, backend):
    def serve(request, send):
        send(answer(request.method, [*HTML, ("ETag", f'"{request.method.lower()}"')], request=request))
        return True

    backend.routes["/r"] = serve
    assert site.get("/r").etag == '"get"'
    for field, value, status in (("If-Match", '"query"', 200), ("If-Match", '"get"', 412), ("If-Match", "*", 200),
                                 ("If-None-Match", '"get"', 200), ("If-None-Match", 'W/"query"', 304),
                                 ("If-None-Match", "*", 304), ("If-None-Match", "abc", 200)):
        got = site.request("QUERY", "/r", {field: value}, b"q")
        assert (got.status, got.body == b"QUERY") == (status, status == 200), (field, value)
        if status == 304:
            assert (got.etag, got.header("Content-Type")) == (value if value != "*" else '"query"', None)


def test_a_query_whose_result_is_compressed(new_httpd, etagd, backend):
    """The tag that the client got for it comes back, and counts where it would be sent so again."""
    site = new_httpd(modules=["proxy", "proxy_http", "filter", "deflate"], etagd=etagd)
    site.config = f"ETagEngine On\nSetOutputFilter DEFLATE\nProxyPass / {backend.url}/\n"
    backend.page("/r", PAGE * 9, [*HTML, ("ETag", '"q"')])
    site.start()
    gzip = {"Accept-Encoding": "gzip"}
    got = site.request("QUERY", "/r", gzip, b"q")
    assert got.header("Content-Encoding") == "gzip" and got.etag.startswith('"q') and got.etag.endswith('-gzip"')
    again = site.request("QUERY", "/r", {**gzip, "If-None-Match": got.etag}, b"q")
    assert (again.status, again.etag, again.header("Vary")) == (304, got.etag, "Accept-Encoding")
    assert again.header("Content-Encoding") is None
    assert site.request("QUERY", "/r", {"If-None-Match": got.etag}, b"q").body == PAGE * 9


def test_a_query_whose_result_has_no_tag_is_the_applications_business(site, backend):
    backend.page("/r", PAGE)
    for field in ("If-Match", "If-None-Match"):
        got = site.request("QUERY", "/r", {field: site.get("/r").etag}, b"q")
        assert (got.status, got.body, got.etag) == (200, PAGE, None)


def test_a_query_is_never_early_and_invalidates_nothing(new_httpd, etagd, backend):
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = f"ETagEngine On\nETagEarly On\nETagCacheStatus On\nProxyPass / {backend.url}/\n"
    backend.page("/r", PAGE)
    site.start()
    tag = site.get("/r").etag
    assert tag == content_tag(PAGE, "text/html")

    def early():
        got = site.get("/r", {"If-None-Match": tag})
        return got.status == 304 and got.header("Cache-Status").startswith("mod_etag; hit")

    assert early()
    for fields, content in itertools.product(({}, {"If-None-Match": tag}, {"If-None-Match": "*"}, {"If-Match": OTHER}),
                                             (b"q", b"")):
        asked = backend.count("/r")
        got = site.request("QUERY", "/r", fields, content)
        assert (got.status, got.body) == (200, PAGE) and backend.count("/r") == asked + 1, fields
        assert backend.last().method == "QUERY" and early()
    assert site.request("PUT", "/r", {}, b"x").status == 200 and not early()


# --- scripts, whose conditions core would evaluate ---

def test_a_script_with_an_etag(script):
    """Core looks for it among headers where a script's are not."""
    site = script('ETag: "v1,a"', f"Last-Modified: {MODIFIED}")
    for headers, status in (({"If-Match": '"v1,a"'}, 200), ({"If-Match": '"x"'}, 412),
                            ({"If-Match": '"v1,a"', "If-Unmodified-Since": EARLIER}, 200),
                            ({"If-None-Match": '"v1"'}, 200), ({"If-None-Match": '"v1,a"'}, 304),
                            ({"If-None-Match": '"x"', "If-Modified-Since": MODIFIED}, 200)):
        assert site.get("/p.cgi", headers).status == status, headers


def test_a_script_with_a_date(script):
    site = script(f"Last-Modified: {MODIFIED}", "Vary: X-Select")
    for headers, status in (({"If-Modified-Since": MODIFIED}, 304), ({"If-Modified-Since": EARLIER}, 200),
                            ({"If-Modified-Since": f"{MODIFIED}, {MODIFIED}"}, 200),
                            ({"If-Modified-Since": MODIFIED.replace("GMT", "+0100")}, 200),
                            ({"If-Unmodified-Since": EARLIER}, 412), ({"If-Unmodified-Since": MODIFIED}, 200)):
        got = site.get("/p.cgi", headers)
        assert got.status == status, headers
        if status == 304:
            assert (got.etag, got.header("Vary")) == (content_tag(PAGE, "text/html"), "X-Select")


def test_a_script_without_a_date(script):
    """13.1.3, 13.1.4: then dates are ignored; core takes the time of the request for its date."""
    site = script()
    for field in ("If-Modified-Since", "If-Unmodified-Since"):
        assert site.get("/p.cgi", {field: EARLIER}).status == 200


def test_a_script_that_names_its_status_has_judged(script):
    site = script("Status: 200", f"Last-Modified: {MODIFIED}")
    assert site.get("/p.cgi", {"If-Modified-Since": MODIFIED}).status == 200
    assert site.get("/p.cgi", {"If-None-Match": content_tag(PAGE, "text/html")}).status == 304


def test_no_error_is_logged_for_a_412(new_httpd, etagd, servers):
    """mod_proxy_fcgi takes a filter's error for its own; httpd's log is judged after the test."""
    from env.php import Php
    site = new_httpd(modules=["proxy", "proxy_fcgi"], etagd=etagd)
    site.config = (f'ETagEngine On\n<FilesMatch "\\.php$">\n'
                   f'SetHandler "{servers(Php).start().handler}"\n</FilesMatch>\n')
    site.add("p.php", "<?php header('ETag: \"v1\"'); header('Cache-Control: public, max-age=60'); echo 'page';")
    site.start()
    assert site.get("/p.php", {"If-Match": '"v1"'}).body == b"page"
    refused = site.get("/p.php", {"If-Match": '"x"'})
    assert (refused.status, refused.header("Cache-Control"), refused.etag) == (412, None, None)


# --- TRACE, and lists as long as httpd allows ---

def test_trace_ignores_conditions(httpd):
    httpd.add("f.txt", PAGE)
    httpd.start()
    for field in ("If-Match", "If-None-Match"):
        got = httpd.request("TRACE", "/f.txt", {field: '"x"', "Range": "bytes=2-5"})
        assert got.status == 200 and field.encode() in got.body


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
def test_connect_ignores_conditions(new_httpd, etagd, backend, field):
    """Also where it is no tunnel that is asked for."""
    site = new_httpd(modules=["proxy", "proxy_connect"], etagd=etagd)
    site.config = f"ETagEngine On\nProxyRequests On\nAllowCONNECT {backend.port}\n"
    site.start()
    backend.raw("/p", answer(PAGE, HTML))
    value = OTHER if field != "If-Unmodified-Since" else EARLIER
    with site.connect() as c:
        c.sock.sendall(f"CONNECT 127.0.0.1:{backend.port} HTTP/1.1\r\nHost: 127.0.0.1:{backend.port}\r\n"
                       f"{field}: {value}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += c.sock.recv(1)
        assert head.startswith(b"HTTP/1.0 200") or head.startswith(b"HTTP/1.1 200"), head
        c.sock.sendall(b"GET /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert PAGE in b"".join(iter(lambda: c.sock.recv(65536), b""))
    stock = site.request("CONNECT", "/p")
    assert site.request("CONNECT", "/p", {field: value}).status == stock.status


@pytest.mark.parametrize("filling", ['"x", ', ",", '"', "W/", 'W/"', '"a,b",', "abc,", '""', "x\\\",", "\xe9,"])
def test_lists_of_64_kilobytes(httpd, filling):
    """A well-formed last member is found behind any filling that ends; the time does not grow with its square."""
    httpd.config += "LimitRequestFieldSize 131072\n"
    httpd.add("f.txt", PAGE)
    httpd.start()
    tag = content_tag(PAGE, "text/plain")
    hidden = filling.count('"') % 2  # quotes that open anew hide what follows
    for size in (65536, 131000 - len(tag)):
        text = (filling * (size // len(filling)))
        begun = time.monotonic()
        got = httpd.get("/f.txt", {"If-None-Match": f"{text}, {tag}"})
        assert time.monotonic() - begun < 2
        assert got.status == 304 if not hidden else got.status in (200, 304)
        assert httpd.get("/f.txt", {"If-Match": f"{text}, {OTHER}"}).status == 412
