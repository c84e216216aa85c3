# SPDX-License-Identifier: Apache-2.0
"""If-Match and If-None-Match of unsafe methods that name a tag of ours: judged before handlers that know other
tags (mod_dav, a backend with ETags) or none, against what a GET would answer now."""
import gzip

import pytest
from env.backend import answer
from env.process import wait_for
from env.tags import content_tag

OLD = '"d' + "A" * 22 + '"'
NEW = b"<p>new</p>\n"


class Store:
    """An application with one resource at /r; knows entity-tags of its own or not."""

    def __init__(self, backend, own_tags):
        self.body, self.version, self.own_tags, self.writes = b"<p>old</p>\n", 1, own_tags, []
        self.seen = []
        backend.routes["/r"] = self.serve

    @property
    def etag(self):
        return f'"v{self.version}"'

    def serve(self, request, send):
        headers = [("Content-Type", "text/html")] + ([("ETag", self.etag)] if self.own_tags else [])
        self.seen.append((request.method, request.header("If-Match"), request.header("If-None-Match")))
        if request.method == "GET":
            send(answer(self.body or b"", headers, 200 if self.body is not None else 404))
            return True
        condition = request.header("If-Match")
        if self.own_tags and condition and condition != self.etag:
            send(answer(b"", status=412))
            return True
        self.writes.append(request.body)
        self.body, self.version = request.body, self.version + 1
        send(answer(b"", [("ETag", self.etag)] if self.own_tags else [], 204))
        return True


@pytest.fixture
def proxied(new_httpd, etagd, backend):
    def start(own_tags, directives=""):
        store = Store(backend, own_tags)
        site = new_httpd(modules=["proxy", "proxy_http", "deflate", "filter"], etagd=etagd)
        site.config = f"ETagEngine On\n{directives}\nProxyPass / {backend.url}/\n"
        return site.start(), store

    return start


@pytest.fixture
def dav(new_httpd, etagd, work):
    site = new_httpd(modules=["dav", "dav_fs"], etagd=etagd)
    site.config = f"ETagEngine On\nDavLockDB {site.folder}/lock\n<Location />\nDav On\nRequire all granted\n</Location>\n"
    site.docs.chmod(0o777)
    return site.start()


def put(site, target, body, **conditions):
    return site.request("PUT", target, {k.replace("_", "-"): v for k, v in conditions.items()}, body)


# --- the tag just received is good, an older one is not ---

@pytest.mark.parametrize("source", ["digest", "upstream digest"])
def test_a_backend_that_knows_nothing_of_etags(proxied, source):
    site, store = proxied(False, f"ETagSource {source}")
    tag = site.get("/r").etag
    assert tag == content_tag(store.body, "text/html")
    assert put(site, "/r", NEW, If_Match=OLD).status == 412 and not store.writes
    assert put(site, "/r", NEW, If_Match=f'{OLD}, {tag}').status == 204 and store.writes == [NEW]
    assert put(site, "/r", b"lost update", If_Match=tag).status == 412 and store.writes == [NEW]
    assert put(site, "/r", NEW, If_None_Match=content_tag(NEW, "text/html")).status == 412
    assert put(site, "/r", b"other", If_None_Match=tag).status == 204


def test_a_backend_with_etags_of_its_own(proxied):
    """Its own tags pass untouched; ours (where the digest is the source) are judged and hidden."""
    site, store = proxied(True, "ETagSource digest")
    tag = site.get("/r").etag
    assert tag == content_tag(store.body, "text/html")
    assert put(site, "/r", NEW, If_Match=OLD).status == 412 and not store.writes
    assert put(site, "/r", NEW, If_Match=tag).status == 204 and store.writes == [NEW]
    assert store.seen[-1] == ("PUT", None, None)
    assert put(site, "/r", b"x", If_Match='"v1"').status == 412 and store.seen[-1] == ("PUT", '"v1"', None)
    assert put(site, "/r", b"x", If_Match='"v2"').status == 204


def test_upstream_tags_are_the_applications_business(proxied):
    site, store = proxied(True)
    assert site.get("/r").etag == '"v1"'
    before = len(store.seen)
    assert put(site, "/r", NEW, If_Match='"v1"').status == 204
    assert store.seen[before:] == [("PUT", '"v1"', None)]  # no GET was made for it
    assert put(site, "/r", NEW, If_Match='"v1"').status == 412
    assert put(site, "/r", NEW).status == 204


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_every_unsafe_method(proxied, method):
    site, store = proxied(False)
    assert site.request(method, "/r", {"If-Match": OLD}, b"x").status == 412 and not store.writes
    assert site.request(method, "/r", {"If-Match": site.get("/r").etag}, b"x").status == 204


def test_who_received_gzip_can_write(proxied):
    site, store = proxied(False, "SetOutputFilter DEFLATE")
    store.body = b"<p>long enough to be compressed</p>\n" * 20
    got = site.get("/r", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(got.body) == store.body and got.etag.endswith('-gzip"')
    assert put(site, "/r", NEW, If_Match=got.etag).status == 204 and store.writes == [NEW]
    assert put(site, "/r", b"x", If_Match=got.etag).status == 412


def test_weak_tags_do_not_hold_for_writes(proxied):
    site, store = proxied(False)
    assert put(site, "/r", NEW, If_Match="W/" + site.get("/r").etag).status == 412 and not store.writes


def test_no_current_representation(proxied):
    site, store = proxied(False)
    store.body = None
    assert put(site, "/r", NEW, If_Match=OLD).status == 412 and not store.writes
    assert put(site, "/r", NEW, If_None_Match=OLD).status == 204


def test_what_cannot_be_known_is_refused(proxied, backend):
    site, store = proxied(False)
    tag = site.get("/r").etag
    serve = backend.routes["/r"]

    def failing(request, send):
        if request.method != "GET":
            return serve(request, send)
        send(answer(b"", status=500))
        return True

    backend.routes["/r"] = failing
    got = put(site, "/r", NEW, If_Match=tag)
    assert got.status == 503 and got.header("Retry-After") and not store.writes
    backend.raw("/r", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<p>o")
    site.expect_log("prematurely|truncated|incomplete|AH0")
    assert put(site, "/r", NEW, If_Match=tag).status == 503 and not store.writes


def test_older_secrets_are_recognised(proxied, work):
    from env import machine
    secrets = machine.write(work / "secrets", "first secret of sixteen bytes\n", 0o600)
    site, store = proxied(False, f"ETagSecretFile {secrets}")
    tag = site.get("/r").etag
    machine.write(secrets, "another secret, the newer one\nfirst secret of sixteen bytes\n", 0o600)
    site.graceful()
    newest = wait_for(lambda: site.get("/r").etag not in (tag, None) and site.get("/r").etag, "the children of before to end")
    assert put(site, "/r", b"x", If_Match=tag, If_None_Match=newest).status == 412
    assert put(site, "/r", b"x", If_None_Match=tag).status == 412
    assert put(site, "/r", NEW, If_Match=tag).status == 204
    assert put(site, "/r", b"x", If_Match=tag).status == 412


# --- mod_dav ---

def test_dav(dav):
    dav.add("f.txt", "one").chmod(0o666)
    tag = dav.get("/f.txt").etag
    assert tag == content_tag(b"one", "text/plain")
    assert put(dav, "/f.txt", b"two", If_Match=OLD).status == 412
    assert dav.get("/f.txt").body == b"one"
    assert put(dav, "/f.txt", b"two", If_Match=tag).status == 204
    assert dav.get("/f.txt").body == b"two"
    assert put(dav, "/f.txt", b"three", If_Match=tag).status == 412
    assert dav.get("/f.txt").body == b"two"
    assert dav.request("DELETE", "/f.txt", {"If-Match": tag}).status == 412
    assert dav.request("DELETE", "/f.txt", {"If-Match": dav.get("/f.txt").etag}).status == 204
    assert put(dav, "/g.txt", b"new", If_None_Match="*").status == 201
    assert put(dav, "/g.txt", b"new", If_None_Match="*").status == 412


def test_included_pages(new_httpd, etagd):
    """A page of two files, one of them by a subrequest of the subrequest."""
    site = new_httpd(modules=["dav", "dav_fs", "include"], etagd=etagd)
    site.docs.chmod(0o777)
    site.add("p.shtml", 'one <!--#include virtual="a.txt" -->').chmod(0o666)
    site.add("a.txt", "two").chmod(0o666)
    site.start(f"ETagEngine On\nDavLockDB {site.folder}/lock\nAddType text/html .shtml\n"
               f"AddOutputFilter INCLUDES .shtml\n<Location />\nDav On\nOptions +Includes\nRequire all granted\n</Location>\n")
    tag = site.get("/p.shtml").etag
    assert tag == content_tag(b"one two", "text/html")
    site.add("a.txt", "three")
    assert put(site, "/p.shtml", NEW, If_Match=tag).status == 412
    assert put(site, "/p.shtml", NEW, If_Match=content_tag(b"one three", "text/html")).status == 204
    assert site.get("/p.shtml").body == NEW
