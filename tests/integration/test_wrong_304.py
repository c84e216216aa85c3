# SPDX-License-Identifier: Apache-2.0
"""Ways by which a wrong 304, a wrong 412 or a lost invalidation could come about."""
import gzip
import subprocess
import time

import pytest
from env import machine
from env.backend import answer
from env.process import wait_for
from env.tags import content_tag

PAGE = b"<p>a page of the application</p>\n"
NEW = b"<p>changed, and not of the same length</p>\n"
HTML = [("Content-Type", "text/html")]
HOST = "www.example.com"


def tag(body):
    return content_tag(body, "text/html")


TAG = tag(PAGE)


@pytest.fixture
def site(new_httpd, etagd, backend):
    """Not started: ETagEarly On for everything of the backend."""
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = f"ETagEngine On\nETagEarly On\nProxyPass / {backend.url}/\n"
    backend.page("/p", PAGE)
    return site


def xadd(etagd, *fields):
    command = [machine.program("redis-cli"), "-s", str(etagd.socket), "XADD", "{etag}:log", "*", *fields]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def learn(site, backend, target="/p", headers=()):
    """Gets PAGE until it is answered early: a loaded machine may be too slow for ETagTimeout."""
    def early():
        assert site.get(target, headers).etag == TAG
        before = backend.count()
        assert site.get(target, {**dict(headers), "If-None-Match": TAG}).status == 304
        return backend.count() == before

    wait_for(early, "the page to be learned")


def forgotten(site, target="/p", headers=()):
    return site.get(target, {**dict(headers), "If-None-Match": TAG}).status == 200


def script(site, name, text):
    site.add(name, "#!/bin/sh\n" + text).chmod(0o755)


# ---- what a filter makes of it ----

def test_content_changed_behind_us_has_no_tag(new_httpd, etagd):
    """mod_filter and mod_ext_filter let the administrator put any filter anywhere."""
    site = new_httpd(modules=["include", "filter", "ext_filter"], etagd=etagd)
    old = time.time() - 86400
    site.add("p.html", '<!--#include virtual="/part.txt" -->', mtime=old)
    site.add("q.html", "q", mtime=old)
    site.add("part.txt", "one", mtime=old)
    site.start(f'ETagEngine On\nExtFilterDefine add ftype=21 cmd="/bin/cat - {site.docs}/part.txt"\n'
               f"<Directory {site.docs}>\nOptions Includes\nFilterDeclare SSI CONTENT_SET\n"
               'FilterProvider SSI INCLUDES "%{CONTENT_TYPE} =~ m|^text/html|"\n</Directory>\n'
               "<Location /p.html>\nFilterChain SSI\n</Location>\n"
               "<Location /q.html>\nSetOutputFilter add\n</Location>\n")
    for target, before, after in (("/p.html", b"one", b"two"), ("/q.html", b"qone", b"qtwo")):
        site.add("part.txt", "one", mtime=old)
        first = site.get(target)
        assert (first.status, first.etag, first.body) == (200, None, before)
        site.add("part.txt", "two")
        for sent in (content_tag(site.docs.joinpath(target[1:]).read_bytes(), "text/html"), tag(before)):
            a = site.get(target, {"If-None-Match": sent})
            assert (a.status, a.etag, a.body) == (200, None, after)


def test_coding_given_to_a_file_later(new_httpd, etagd):
    site = new_httpd(etagd=etagd)
    site.add("p.html.gz", gzip.compress(PAGE, mtime=0), mtime=time.time() - 86400)
    site.start("ETagEngine On\nAddType text/html .gz\n")
    plain = site.get("/p.html.gz").etag
    site.stop()
    site.start("ETagEngine On\nAddType text/html .gz\nAddEncoding gzip .gz\n")
    a = site.get("/p.html.gz", {"If-None-Match": plain})
    assert a.status == 200 and a.header("Content-Encoding") == "gzip" and a.etag not in (None, plain)
    assert site.get("/p.html.gz", {"If-None-Match": a.etag}).status == 304


# ---- which request it belongs to ----

def test_coding_of_the_backend_is_not_confirmed_to_others(site, backend):
    packed = gzip.compress(PAGE, mtime=0)

    def either(request, send):
        vary = HTML + [("Vary", "Accept-Encoding")]
        if "gzip" in (request.header("Accept-Encoding") or ""):
            send(answer(packed, vary + [("Content-Encoding", "gzip")], request=request))
        else:
            send(answer(PAGE, vary, request=request))
        return True

    backend.routes["/z"] = either
    site.start()
    coded = content_tag(packed, "text/html", coding="gzip")
    assert site.get("/z", {"Accept-Encoding": "gzip"}).etag == coded
    a = site.get("/z", {"If-None-Match": coded})
    assert (a.status, a.etag, a.body) == (200, TAG, PAGE)
    before = backend.count()
    assert site.get("/z", {"Accept-Encoding": "gzip", "If-None-Match": coded}).status == 304
    assert backend.count() == before, "early where it is admitted"


def test_answer_to_request_content_is_not_learned(site, backend):
    def echo(request, send):
        send(answer(b"you said " + request.body, HTML, request=request))
        return True

    backend.routes["/q"] = echo
    site.start()
    said = tag(b"you said this")
    assert site.request("GET", "/q", body=b"this").etag == said
    assert site.get("/q", {"If-None-Match": said}).body == b"you said "


@pytest.mark.parametrize("early", ["On", "Off"])
def test_part_is_not_cut_out_of_another_body(site, backend, early):
    """If-Match with Range resumes a download: what comes must belong to what the client has."""
    def ranged(request, send):
        body = ranged.body
        if request.header("Range"):
            start = int(request.header("Range").split("=")[1].split("-")[0])
            content_range = ("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            send(answer(body[start:], HTML + [content_range], 206, request))
        else:
            send(answer(body, HTML, request=request))
        return True

    backend.routes["/r"], ranged.body = ranged, PAGE
    site.config += f"ETagEarly {early}\n"
    site.start()
    assert site.get("/r").etag == TAG
    a = site.get("/r", {"If-Match": TAG, "Range": "bytes=10-"})
    assert (a.status, a.etag, a.body) == (206, TAG, PAGE[10:])
    ranged.body = NEW
    xadd(site.etagd, "all", "1")
    assert site.get("/r", {"If-Match": TAG, "Range": "bytes=10-"}).status == 412


def test_signed_tags_of_learned_pages(site, backend):
    """A page's tag is one, whether it was looked up or not."""
    secret = machine.write(site.folder / "secret", "a secret of enough bytes 0123456789\n", 0o600)
    site.config += f"ETagSecretFile {secret}\n"
    site.start()
    first = site.get("/p").etag
    before = backend.count()
    assert site.get("/p", {"If-None-Match": first}).status == 304 and backend.count() == before
    assert site.get("/p", {"If-None-Match": '"x"'}).etag == first != TAG
    assert site.get("/p", {"If-Match": first}).status == 200
    assert site.get("/p", {"If-Match": TAG}).status == 412


# ---- invalidations ----

def test_tags_of_the_newest_response_count(site, backend, etagd):
    """The same body, now with one tag more: its record has to hear of that tag."""
    site.config += "ETagGroupHeader Surrogate-Key\n"
    site.start()
    backend.page("/p", PAGE, HTML + [("Surrogate-Key", "a")])
    learn(site, backend)
    backend.page("/p", PAGE, HTML + [("Surrogate-Key", "a b")])
    assert site.get("/p").etag == TAG
    learn(site, backend)
    backend.page("/p", NEW, HTML + [("Surrogate-Key", "a b")])
    xadd(etagd, "tag", "b")
    assert forgotten(site)


def test_headers_of_the_newest_response_are_repeated(site, backend):
    site.start()
    learn(site, backend)
    backend.page("/p", PAGE, HTML + [("Cache-Control", "max-age=5")])
    assert site.get("/p").header("Cache-Control") == "max-age=5"
    before = backend.count()
    a = site.get("/p", {"If-None-Match": TAG})
    assert (a.status, a.header("Cache-Control")) == (304, "max-age=5") and backend.count() == before


def test_write_that_ends_where_the_engine_is_off(new_httpd, etagd):
    site = new_httpd(modules=["cgid"], etagd=etagd)
    site.add("plain/done.html", "done")
    site.add("page", PAGE)
    script(site, "p.cgi", "test $REQUEST_METHOD != POST || "
                          "{ cat >/dev/null; printf 'Location: /plain/done.html\\n\\n'; exit; }\n"
                          "printf 'Content-Type: text/html\\n\\n'\ncat ${0%/*}/page\n")
    site.start(f"ETagEngine On\nETagEarly On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
               "</Directory>\n<Location /plain>\nETagEngine Off\n</Location>\n")
    assert site.get("/p.cgi").etag == TAG
    site.add("page", NEW)
    assert site.get("/p.cgi", {"If-None-Match": TAG}).status == 304, "learned, and nobody has said otherwise"
    assert site.request("POST", "/p.cgi", body=b"x").body == b"done"
    assert forgotten(site, "/p.cgi")


@pytest.mark.parametrize("method, target, destination", [
    ("DELETE", "/c/", None), ("DELETE", "/c", None), ("MOVE", "/c/", "/e/"), ("MOVE", "/a", "/c/p"),
    ("COPY", "/a/", f"http://{HOST}/c/")])
def test_writes_that_take_members_along(site, backend, method, target, destination):
    def done(request, send):
        send(answer(b"", (), 204, request))
        return True

    backend.page("/c/p", PAGE)
    backend.page("/c/p/q", PAGE)
    backend.page("/other", PAGE)
    backend.routes[target] = done
    site.start()
    for page in ("/c/p", "/other"):
        learn(site, backend, page)
    backend.page("/c/p", NEW)
    assert site.request(method, target, {"Destination": destination} if destination else ()).status == 204
    assert forgotten(site, "/c/p")
    assert not forgotten(site, "/other")


@pytest.mark.parametrize("addresses", ["*", "*:*"])
def test_host_typed_without_its_port(site, backend, etagd, addresses):
    """A virtual host for every port: its pages may be known under any port that is listened on."""
    site.config = f"<VirtualHost {addresses}>\nServerName shop.example\n{site.config}</VirtualHost>\n"
    site.start()
    host = {"Host": f"shop.example:{site.port}"}
    learn(site, backend, headers=host)
    backend.page("/p", NEW)
    xadd(etagd, "url", "shop.example/p")
    assert forgotten(site, headers=host)
