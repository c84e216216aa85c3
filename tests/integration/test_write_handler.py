# SPDX-License-Identifier: Apache-2.0
"""What a conditional write's handler still sees after the judgement, which methods are judged, and where."""

import pytest
from env.backend import answer
from env.tags import content_tag
from env.writes import NEW, OLD, put, sent_to


def test_a_list_with_tags_of_both(proxied, backend):
    """Ours are judged here, the application's by the application: each may stop the write."""
    site, page = proxied("ETagSource digest")
    own = '"v1"'

    def application(request, send):
        if request.method != "GET" and own in (request.header("If-None-Match") or ""):
            send(answer(b"", status=412))
            return True
        return page.serve(request, send)

    backend.routes["/r"] = application
    assert put(site, "/r", If_None_Match=f"{own}, {OLD}").status == 412 and not page.writes
    assert put(site, "/r", If_None_Match=f'"v0", {page.tag}').status == 412 and not page.writes
    assert put(site, "/r", If_None_Match=f'"v0", {OLD}').status == 204 and page.writes


def test_a_date_beside_if_none_match(proxied):
    """The date is still a condition, and the handler's."""
    site, page = proxied()
    date = "Tue, 14 Nov 2023 22:13:19 GMT"
    assert put(site, "/r", If_None_Match=OLD, If_Unmodified_Since=date).status == 204
    assert page.asked[-1].header("If-Unmodified-Since") == date and page.asked[0].header("If-Unmodified-Since") is None


def test_if_match_makes_a_date_void(dav):
    site = dav()
    site.add("f.txt", "one", mtime=1_700_000_000).chmod(0o666)
    conditions = {"If-Match": site.get("/f.txt").etag, "If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}
    assert site.request("PUT", "/f.txt", conditions, NEW).status == 204


def test_the_application_judges_its_own_tags_again(proxied, backend):
    """Tags of our form may be the application's, itself behind mod_etag: its own comparison is the one at the
    time of the write."""
    site, page = proxied()
    current, page.headers = '"d' + "C" * 22 + '"', [("ETag", '"d' + "C" * 22 + '"')]
    assert site.get("/r").etag == current
    assert put(site, "/r", If_Match=OLD).status == 412 and not page.writes
    assert put(site, "/r", If_Match=current).status == 204
    assert page.asked[-1].header("If-Match") == current


def test_the_application_s_coded_tags_of_our_form(proxied):
    site, page = proxied()
    base = "d" + "C" * 22
    page.headers = [("ETag", f'"{base}-gzip"')]
    for tag in (f'"{base}-gzip"', f'"{base}"', f'"{base}-br"'):
        assert put(site, "/r", If_Match=tag).status == 204
        assert page.asked[-1].header("If-Match") == tag
    assert put(site, "/r", If_Match=f'W/"{base}"').status == 412


def test_what_was_written_is_not_judged_again(scripted):
    """A script that redirects internally after its write: a 412 now would be a lie."""
    site = scripted()
    site.add("written", "Location: /done.html\n\n")
    site.add("done.html", "done")
    tag = site.get("/p.cgi").etag
    got = put(site, "/p.cgi", If_Match=tag)
    assert (got.status, got.body) == (200, b"done") and sent_to(site) == NEW


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "LOCK", "PROPPATCH", "MKCOL", "MOVE", "COPY", "FANCY"])
def test_methods(proxied, method):
    site, page = proxied()
    assert put(site, "/r", method=method, If_Match=OLD).status == 412 and not page.writes
    assert put(site, "/r", method=method, If_Match=page.tag).status == 204
    assert [r.method for r in page.asked] == ["GET", "GET", method]


@pytest.mark.parametrize("method", ["OPTIONS", "QUERY", "PROPFIND", "REPORT", "SEARCH"])
def test_methods_that_do_not_write(proxied, method):
    site, page = proxied()
    assert put(site, "/r", method=method, If_Match=OLD).status == 204
    assert [r.method for r in page.asked] == [method]


@pytest.mark.parametrize("directives", ["ETagEngine DetectionOnly", "SetEnvIf Request_URI . no-etag", "ETagEngine Off"])
def test_where_we_do_not_act(proxied, directives):
    site, page = proxied(directives, modules=["setenvif"])
    assert put(site, "/r", If_Match=OLD).status == 204
    assert [(r.method, r.header("If-Match")) for r in page.asked] == [("PUT", OLD)]


def test_absent(dav):
    site = dav("ErrorDocument 404 /e.html")
    site.add("e.html", "error")
    assert put(site, "/new.txt", If_Match=OLD).status == 412
    assert put(site, "/new.txt", method="DELETE", If_Match=OLD).status == 412
    assert put(site, "/new.txt", If_Match="*").status == 412
    assert put(site, "/new.txt", If_Match=f"*, {OLD}").status == 412
    assert not (site.docs / "new.txt").exists()
    assert put(site, "/new.txt", If_None_Match=OLD).status == 201
    assert put(site, "/new.txt", If_None_Match="*").status == 412
