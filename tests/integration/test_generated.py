# SPDX-License-Identifier: Apache-2.0
"""Generated content without ETagEarly: the handler runs, the tag is made of its bytes, 304 saves the transfer."""
import pytest
from env.backend import answer, chunk
from env.tags import OURS, content_tag, version_tag

PAGE = b"<p>" + b"generated content. " * 100 + b"</p>\n"
TAG = content_tag(PAGE, "text/html")
OTHER = '"d' + "A" * 22 + '"'
HTML = [("Content-Type", "text/html")]
PROXY = ["proxy", "proxy_http", "headers"]


@pytest.fixture
def site(new_httpd, etagd, backend):
    """httpd in front of the backend; running."""
    site = new_httpd(f"ETagEngine On\nProxyPass / {backend.url}/\n", modules=PROXY, etagd=etagd)
    backend.page("/p", PAGE)
    return site.start()


def script(site, name, text):
    site.add(name, text if text.startswith("#!") else "#!/bin/sh\n" + text).chmod(0o755)


@pytest.fixture(params=["cgi", "cgid"])
def cgi(request, new_httpd, etagd):
    """httpd with CGI scripts; not started."""
    site = new_httpd(modules=[request.param], etagd=etagd)
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                   "</Directory>\n")
    script(site, "p.cgi", "printf 'Content-Type: text/html\\n\\n'; cat ${0%/*}/page\n")
    site.add("page", PAGE)
    return site


def got(a):
    return a.status, a.etag, a.body


def test_cgi(cgi):
    cgi.start()
    first = cgi.get("/p.cgi")
    assert got(first) == (200, TAG, PAGE)
    assert first.header("Content-Length") == str(len(PAGE)), "a body held back need not be chunked"
    for sent in (TAG, f'"x", {TAG}', "*"):
        late = cgi.get("/p.cgi", {"If-None-Match": sent})
        assert got(late) == (304, TAG, b"") and late.header("Content-Type") is None
    assert got(cgi.get("/p.cgi", {"If-None-Match": OTHER})) == (200, TAG, PAGE)
    assert got(cgi.get("/p.cgi", {"If-Match": TAG})) == (200, TAG, PAGE)
    refused = cgi.get("/p.cgi", {"If-Match": OTHER})
    assert refused.status == 412 and refused.etag is None and PAGE not in refused.body


def test_cgi_can_be_ranged(cgi):
    cgi.start()
    part = cgi.get("/p.cgi", {"Range": "bytes=3-11", "If-Range": TAG})
    assert got(part) == (206, TAG, PAGE[3:12])
    assert got(cgi.get("/p.cgi", {"Range": "bytes=3-11", "If-Range": OTHER})) == (200, TAG, PAGE)


def test_head_of_generated_content_has_no_tag(cgi):
    """Only GET's bytes make a tag; that of an empty body would be a lie."""
    cgi.start()
    for headers in ({}, {"If-None-Match": TAG}):
        head = cgi.head("/p.cgi", headers)
        assert got(head) == (200, None, b"")


def test_two_nodes_agree(cgi, new_httpd, new_etagd, backend):
    """A script here, an application there: equal bytes, equal tag."""
    backend.page("/p.cgi", PAGE)
    other = new_httpd(f"ETagEngine On\nProxyPass / {backend.url}/\n", modules=PROXY, etagd=new_etagd().start())
    cgi.start()
    other.start()
    assert cgi.get("/p.cgi").etag == other.get("/p.cgi").etag == TAG


def test_cgi_that_knows_dates(cgi):
    """A date alone is the application's business, as ever."""
    script(cgi, "d.cgi", "printf 'Content-Type: text/html\\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\\n\\n'; echo x\n")
    cgi.start()
    assert cgi.get("/d.cgi", {"If-Modified-Since": "Sat, 01 Nov 2025 00:00:00 GMT"}).status == 304
    assert cgi.get("/d.cgi", {"If-Modified-Since": "Fri, 31 Oct 2025 00:00:00 GMT"}).status == 200
    tag = content_tag(b"x\n", "text/html")
    for date in ("Fri, 31 Oct 2025 00:00:00 GMT", "Sun, 02 Nov 2025 00:00:00 GMT"):
        assert cgi.get("/d.cgi", {"If-None-Match": tag, "If-Modified-Since": date}).status == 304
        assert cgi.get("/d.cgi", {"If-None-Match": OTHER, "If-Modified-Since": date}).status == 200


def test_proxied_page(site, backend):
    assert got(site.get("/p")) == (200, TAG, PAGE)
    late = site.get("/p", {"If-None-Match": TAG, "If-Modified-Since": "Sat, 01 Nov 2025 00:00:00 GMT"})
    assert got(late) == (304, TAG, b"") and late.header("Content-Type") is None
    assert backend.count("/p") == 2, "the handler runs"
    # It would compare with a tag that ours replaces.
    assert backend.last().header("If-None-Match") is None and backend.last().header("If-Modified-Since") is None
    assert got(site.get("/p", {"If-None-Match": OTHER})) == (200, TAG, PAGE)
    assert got(site.head("/p")) == (200, None, b"")


def test_upstream_tag_is_kept(site, backend):
    backend.page("/own", PAGE, HTML + [("ETag", '"app-7"')])
    backend.page("/weak", PAGE, HTML + [("ETag", 'W/"app-7"')])
    for path, tag in (("/own", '"app-7"'), ("/weak", 'W/"app-7"')):
        assert got(site.get(path)) == (200, tag, PAGE)
        assert site.head(path).etag == tag, "HEAD's own, from the application"
        # This application does not compare: we do.
        late = site.get(path, {"If-None-Match": tag})
        assert late.status == 304 and late.etag == tag and late.header("Content-Type") is None
        assert got(site.get(path, {"If-None-Match": '"app-6"'})) == (200, tag, PAGE)


def test_backend_that_compares_for_itself(site, backend):
    def own(request, send):
        if request.header("If-None-Match") == '"app-7"':
            send(answer(headers=[("ETag", '"app-7"'), ("X-By", "app")], status=304))
        else:
            send(answer(PAGE, HTML + [("ETag", '"app-7"')], request=request))
        return True

    backend.routes["/own"] = own
    late = site.get("/own", {"If-None-Match": '"app-7"'})
    assert got(late) == (304, '"app-7"', b"") and late.header("X-By") == "app"


def test_malformed_upstream_tag_is_replaced(site, backend):
    backend.page("/bad", PAGE, HTML + [("ETag", "unquoted")])
    assert site.get("/bad").etag in (TAG, None)


@pytest.mark.parametrize("name, directive", [("ETag-Version", ""), ("X-Revision", "ETagVersion header:X-Revision\n")])
def test_version_header(site, backend, name, directive):
    backend.page("/v", PAGE, HTML + [(name, "r42")])
    site.stop()
    site.start(f"ETagEngine On\nETagSource version digest\n{directive}ProxyPass / {backend.url}/\n")
    tag = version_tag("r42", "text/html")
    first = site.get("/v")
    assert got(first) == (200, tag, PAGE) and first.header(name) is None
    late = site.get("/v", {"If-None-Match": tag})
    assert got(late) == (304, tag, b"") and late.header(name) is None
    assert site.get("/v", {"If-None-Match": tag[2:]}).status == 304, "weak comparison"
    assert site.get("/v", {"If-Match": tag}).status == 412, "strong comparison"
    assert got(site.get("/p")) == (200, TAG, PAGE), "no version: the digest"
    backend.page("/v", PAGE, HTML + [(name, "r43")])
    assert got(site.get("/v", {"If-None-Match": tag})) == (200, version_tag("r43", "text/html"), PAGE)


def test_version_header_of_a_script(cgi):
    """Scripts' headers lie in the other of httpd's two tables."""
    script(cgi, "v.cgi", "printf 'Content-Type: text/html\\nETag-Version: r42\\n\\n'; echo x\n")
    cgi.config += "ETagSource version\n"
    cgi.start()
    first = cgi.get("/v.cgi")
    assert got(first) == (200, version_tag("r42", "text/html"), b"x\n") and first.header("ETag-Version") is None


def test_other_methods_keep_what_the_handler_sent(site, backend):
    for path, tag in (("/own", '"after-write"'), ("/none", None)):
        backend.page(path, b"done", HTML + ([("ETag", tag)] if tag else []), status=201)
        for method in ("POST", "PUT", "PATCH"):
            assert got(site.request(method, path, body=b"x")) == (201, tag, b"done")


def test_statuses_other_than_200_get_no_tag(site, backend):
    for status in (203, 206, 301, 404, 500, 503):
        more = [("Content-Range", "bytes 0-9/100")] if status == 206 else [("Location", "/p")]
        backend.page(f"/s{status}", b"0123456789", HTML + more, status=status)
        for headers in ({}, {"If-None-Match": content_tag(b"0123456789", "text/html")}):
            assert got(site.get(f"/s{status}", headers)) == (status, None, b"0123456789")
    backend.page("/own206", b"0123456789", HTML + [("Content-Range", "bytes 0-9/100"), ("ETag", '"app"')], status=206)
    assert got(site.get("/own206", {"Range": "bytes=0-9"})) == (206, '"app"', b"0123456789")


def test_body_over_the_limit_streams_untagged(site, backend):
    body = b"x" * 70_000
    site.stop()
    site.start(f"ETagEngine On\nETagBufferLimit 64K\nProxyPass / {backend.url}/\n")
    backend.page("/long", body)
    backend.raw("/chunked", b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n",
                *[chunk(body[i:i + 7000]) for i in range(0, 70_000, 7000)], b"0\r\n\r\n")
    backend.page("/short", body[:65_536])
    for path in ("/long", "/chunked"):
        assert got(site.get(path, {"If-None-Match": content_tag(body, "text/html")})) == (200, None, body)
    assert got(site.get("/short")) == (200, content_tag(body[:65_536], "text/html"), body[:65_536])


def test_chunked_body_and_trailers(site, backend):
    backend.raw("/c", b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n",
                *[chunk(PAGE[i:i + 100]) for i in range(0, len(PAGE), 100)], b"0\r\nX-Trailer: t\r\n\r\n")
    for _ in range(2):
        assert got(site.get("/c")) == (200, TAG, PAGE)
    assert got(site.get("/c", {"If-None-Match": TAG})) == (304, TAG, b"")


def test_empty_body(site, backend):
    backend.page("/empty", b"")
    tag = content_tag(b"", "text/html")
    assert OURS.match(tag) and got(site.get("/empty")) == (200, tag, b"")
    assert got(site.get("/empty", {"If-None-Match": tag})) == (304, tag, b"")


def test_detection_only_changes_nothing(site, backend):
    backend.page("/own", PAGE, HTML + [("ETag", '"app"')])
    site.stop()
    site.start(f"ETagEngine DetectionOnly\nETagEarly On\nProxyPass / {backend.url}/\n")
    for headers in ({}, {"If-None-Match": TAG}):
        assert got(site.get("/p", headers)) == (200, None, PAGE)
    for headers in ({}, {"If-None-Match": '"app"'}):
        assert got(site.get("/own", headers)) == (200, '"app"', PAGE)
    assert backend.last().header("If-None-Match") == '"app"', "the application sees what the client sent"
