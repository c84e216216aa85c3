# SPDX-License-Identifier: Apache-2.0
"""What may be learned, and whom an early answer is for."""
import pytest
from env.backend import Backend, answer
from env.tags import content_tag
from test_early import (HOST, HTML, PAGE, TAG, is_early, learn, reaches, restart, site,  # noqa: F401 (site is a fixture)
                        with_alias)


@pytest.mark.parametrize("headers, status", [
    ([("Set-Cookie", "a=b")], 200), ([("Cache-Control", "no-store")], 200), ([("Cache-Control", "max-age=9, Private")], 200),
    ([("Cache-Control", 'private="x"')], 200), ([("Vary", "*")], 200), ([("Vary", "Accept-Language, *")], 200),
    ([("Access-Control-Allow-Origin", "https://a.example")], 200), ([], 203), ([], 500), ([], 404),
    ([("Content-Range", "bytes 0-9/100")], 206), ([("ETag", '"own"'), ("Set-Cookie", "a=b")], 200)])
def test_never_learned(site, backend, etagd, headers, status):
    backend.page("/n", PAGE, HTML + headers, status=status)
    tag = dict(headers).get("ETag", TAG)
    for _ in range(3):
        a = reaches(site, backend, "/n", {"If-None-Match": tag})
        assert a.status == (304 if status == 200 else status), a
        reaches(site, backend, "/n")
    assert etagd.call("ETAG", "GET", f"http://{HOST}/n") is None


@pytest.mark.parametrize("control", ["no-cache", "max-age=0", "max-age=60, must-revalidate", "public, s-maxage=9"])
def test_learned_all_the_same(site, backend, control):
    """These speak to caches; we are part of the origin."""
    backend.page("/c", PAGE, HTML + [("Cache-Control", control)])
    learn(site, backend, "/c")


def test_upstream_and_version_tags_are_early_too(site, backend):
    backend.page("/own", PAGE, HTML + [("ETag", 'W/"app-7"')])
    assert site.get("/own").etag == 'W/"app-7"'
    assert is_early(site, backend, "/own", 'W/"app-7"')
    reaches(site, backend, "/own", {"If-None-Match": '"app-6"'})
    restart(site, "ETagSource version\n" + site.config)
    backend.page("/v", PAGE, HTML + [("ETag-Version", "r42")])
    tag = site.get("/v").etag
    assert tag.startswith('W/"v') and is_early(site, backend, "/v", tag)


def test_vary_makes_variants(site, backend):
    def by_language(request, send):
        body = f"<p>{request.header('Accept-Language')}</p>".encode()
        send(answer(body, HTML + [("Vary", "accept-language, Accept-Encoding")], request=request))
        return True

    backend.routes["/v"] = by_language
    tags = {}
    for language in ("de", "en", None):
        ask = {"Accept-Language": language} if language else {}
        tags[language] = learn(site, backend, "/v", f"<p>{language}</p>".encode(), ask)
    for language in tags:
        ask = {"Accept-Language": language} if language else {}
        for other, tag in tags.items():
            if other == language:
                assert is_early(site, backend, "/v", tag, ask)
            else:
                a = reaches(site, backend, "/v", {**ask, "If-None-Match": tag})
                assert (a.status, a.etag) == (200, tags[language])


def test_vary_that_appears_later(site, backend):
    """A record without names is not the answer to a request that a name would select."""
    learn(site, backend)
    backend.page("/p", PAGE, HTML + [("Vary", "X-Kind")])
    reaches(site, backend, "/p")
    assert not is_early(site, backend, "/p", TAG, {"X-Kind": "b"})
    assert is_early(site, backend, "/p", TAG)
    assert is_early(site, backend, "/p", TAG, {"X-Kind": "b"}), "learned for b by the request before"


def test_etagvary(site, backend):
    restart(site, "ETagVary X-Tenant cookie:theme\n" + site.config)
    learn(site, backend, headers={"X-Tenant": "a"})
    assert not is_early(site, backend, "/p", TAG, {"X-Tenant": "b"})
    assert is_early(site, backend, "/p", TAG, {"X-Tenant": "b"})
    learn(site, backend, headers={"Cookie": "theme=dark"})
    assert not is_early(site, backend, "/p", TAG, {"Cookie": "theme=light"})
    for _ in range(2):
        assert not is_early(site, backend, "/p", TAG, {"Cookie": "theme=dark; session=1"}), "another cookie is a credential"


def test_cookies(site, backend):
    learn(site, backend)
    for _ in range(2):
        assert not is_early(site, backend, "/p", TAG, {"Cookie": "_ga=1"})
        assert not is_early(site, backend, "/p", TAG, {"Cookie": "session=1"})
    backend.page("/only", PAGE)
    site.get("/only", {"Cookie": "_ga=1"})
    assert not is_early(site, backend, "/only", TAG), "a response to credentials teaches nothing"
    restart(site, "ETagIgnoreCookies _ga _gid*\n" + site.config)
    learn(site, backend)
    for ignored in ("_ga=1", "_gid_x=2; _ga=1", "_ga=\"a b\""):
        assert is_early(site, backend, "/p", TAG, {"Cookie": ignored})
    for _ in range(2):
        for counts in ("session=1", "_ga=1; session=1", "session=1; _ga=1", "_gax=1", "x"):
            assert not is_early(site, backend, "/p", TAG, {"Cookie": counts})
    restart(site, "ETagIgnoreCookies All\n" + site.config.replace("ETagIgnoreCookies _ga _gid*\n", ""))
    learn(site, backend)
    assert is_early(site, backend, "/p", TAG, {"Cookie": "session=1"})


@pytest.mark.parametrize("name, value", [("Authorization", "Bearer x"), ("Proxy-Authorization", "Basic x"),
                                         ("X-Api-Key", "k"), ("X-Auth-Token", "t"), ("Cookie", "a=b")])
def test_credentials(site, backend, name, value):
    learn(site, backend)
    for _ in range(2):
        assert not is_early(site, backend, "/p", TAG, {name: value})
    backend.page("/mine", PAGE)
    for _ in range(2):
        assert site.get("/mine", {name: value}).etag == TAG
    assert not is_early(site, backend, "/mine", TAG), "learned from a request with credentials"
    backend.page("/public", PAGE, HTML + [("Cache-Control", "public")])
    assert site.get("/public", {name: value}).etag == TAG
    assert is_early(site, backend, "/public", TAG), "public may be learned from it"


def test_request_content_is_never_early(site, backend):
    learn(site, backend)
    before = backend.count()
    a = site.request("GET", "/p", {"If-None-Match": TAG}, body=b"query")
    assert a.status == 304 and backend.count() == before + 1


@pytest.mark.parametrize("host", ["evil.example", f"{HOST}.evil.example", f"{HOST}:1234", "127.0.0.1", "[::1]"])
def test_unknown_host_is_never_learned(site, backend, etagd, host):
    learn(site, backend)
    for _ in range(3):
        assert not is_early(site, backend, "/p", TAG, {"Host": host})
    assert is_early(site, backend, "/p", TAG)


def test_names_of_one_host(site, backend):
    restart(site, with_alias(site, "*.example.org"))
    learn(site, backend)
    for same in (f"{HOST}:{site.port}", HOST.upper(), HOST + "."):
        a = site.get("/p", {"Host": same, "If-None-Match": TAG})
        assert (a.status, a.etag) == (304, TAG)
    learn(site, backend, headers={"Host": "a.example.org"})


def test_invented_hosts_do_not_grow_the_store(site, backend, etagd):
    learn(site, backend)
    before = int(etagd.info()["records"])
    done = 0
    while done < 10_000:
        with site.connect() as c:
            for _ in range(90):  # MaxKeepAliveRequests is 100
                assert c.get("/p", {"Host": f"h{done}.evil.example"}).status == 200
                done += 1
    assert int(etagd.info()["records"]) == before
    assert is_early(site, backend, "/p", TAG)


def test_304_repeats_the_headers_of_the_200(site, backend):
    backend.page("/h", PAGE, HTML + [
        ("Cache-Control", "max-age=60"), ("Vary", "Origin"), ("Access-Control-Allow-Origin", "https://a.example"),
        ("Access-Control-Allow-Credentials", "true"), ("Access-Control-Expose-Headers", "ETag"),
        ("Timing-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "same-site"), ("Content-Location", "/h.html"),
        ("Content-Language", "de"), ("Date", "Sat, 01 Nov 2025 00:00:00 GMT"), ("Expires", "Sat, 01 Nov 2025 00:01:00 GMT")])
    restart(site, site.config + "Header merge Vary Accept\nHeader set X-Mark m\nHeader always set X-Always a\n"
                  "Header append Cache-Control public\n")
    ask = {"Origin": "https://a.example"}
    full = site.get("/h", ask)
    before = backend.count()
    short = site.get("/h", {**ask, "If-None-Match": full.etag})
    assert short.status == 304 and backend.count() == before
    for name in ("Cache-Control", "Vary", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
                 "Access-Control-Expose-Headers", "Timing-Allow-Origin", "Cross-Origin-Resource-Policy",
                 "Content-Location", "X-Mark", "X-Always"):
        assert short.all(name) == full.all(name) != [], name
    assert not short.all("Content-Language") and not short.all("Content-Type")
    from email.utils import parsedate_to_datetime as when
    assert (when(short.header("Expires")) - when(short.header("Date"))).total_seconds() == 60


def test_mod_expires_runs_once_on_both(site, backend):
    restart(site, site.config + 'ExpiresActive On\nExpiresByType text/html "access plus 1 hour"\n')
    full = site.get("/p")
    before = backend.count()
    short = site.get("/p", {"If-None-Match": full.etag})
    assert short.status == 304 and backend.count() == before
    assert short.all("Cache-Control") == full.all("Cache-Control") == ["max-age=3600"]
    assert short.header("Expires") is not None


@pytest.mark.parametrize("how", ["cookie", "if"])
def test_another_backend_chosen_by_the_request(site, backend, how):
    """Same URL, other resource: a record belongs to the resource that made it."""
    with Backend() as second:
        other = b"<p>the other backend</p>\n"
        second.page("/p", other)
        if how == "cookie":
            rule = (f"ETagIgnoreCookies All\nRewriteEngine On\nRewriteCond %{{HTTP_COOKIE}} backend=b\n"
                    f"RewriteRule ^/(.*) {second.url}/$1 [P]\n")
            choose = {"Cookie": "backend=b"}
        else:
            rule = (f"RewriteEngine On\nRewriteCond %{{HTTP:X-Kind}} b\nRewriteRule ^/(.*) {second.url}/$1 [P]\n"
                    "<If \"%{HTTP:X-Kind} == 'b'\">\nETagSalt b\n</If>\n")
            choose = {"X-Kind": "b"}
        restart(site, rule + site.config)
        learn(site, backend)
        a = site.get("/p", {**choose, "If-None-Match": TAG})
        assert (a.status, a.body) == (200, other) and second.count() == 1
        assert site.get("/p", {**choose, "If-None-Match": a.etag}).status == 304 and second.count() == 1
        b = reaches(site, backend, "/p", {"If-None-Match": a.etag})
        assert (b.status, b.etag, b.body) == (200, TAG, PAGE)


def test_ignored_query(site, backend):
    restart(site, "ETagIgnoreQuery utm_source fbclid\n" + site.config)
    learn(site, backend, "/p?a=1&utm_source=x")
    for same in ("/p?a=1", "/p?utm_source=y&a=1", "/p?a=1&fbclid=2"):
        assert is_early(site, backend, same, TAG), same
    for other in ("/p?a=2", "/p", "/p?a=1&b=2", "/p?utm=1&a=1"):
        reaches(site, backend, other, {"If-None-Match": TAG})


def test_body_over_the_limit_has_no_tag(site, backend):
    """A tag from the store on bytes that are not yet hashed could be that of other bytes."""
    body = b"z" * 200_000
    backend.page("/long", body)
    restart(site, "ETagBufferLimit 64K\n" + site.config)
    for headers in ({}, {}, {"If-None-Match": '"x"'}):
        a = reaches(site, backend, "/long", headers)
        assert (a.status, a.etag, a.body) == (200, None, body)
