# SPDX-License-Identifier: Apache-2.0
"""mod_cache in quick and normal mode, on disk and in shared memory: it revalidates by our tags, and never stores,
confirms or repeats what it would not without them."""
import base64
import gzip
import hashlib
import subprocess
import time

import pytest
from env import machine
from env.backend import Backend, answer
from env.etagd import Etagd
from env.httpd import Httpd
from env.process import wait_for
from env.tags import content_tag

BODY = b"<p>" + b"cache me if you can, " * 60 + b"</p>\n"
NEW = b"<p>" + b"another page by now, " * 60 + b"</p>\n"
TAG, NEW_TAG = content_tag(BODY, "text/html"), content_tag(NEW, "text/html")
HTML = [("Content-Type", "text/html")]
STALE = HTML + [("Cache-Control", "max-age=0")]  # stored, and asked for anew each time
FRESH = HTML + [("Cache-Control", "max-age=600")]
MODULES = ["cache", "cache_disk", "cache_socache", "socache_shmcb", "proxy", "proxy_http", "headers", "deflate", "filter",
           "auth_basic", "authn_file", "authz_user", "authz_host", "rewrite"]
MODES = ("quick", "normal")
STORES = ("disk", "socache")


def host(mode):
    return f"{mode}.example.com"


CONFIG = """\
<VirtualHost *:*>
ServerName {host}
DocumentRoot {docs}
CacheQuickHandler {quick}
CacheHeader On
CacheRoot {root}
CacheMaxFileSize 9000000
CacheSocache shmcb:{folder}/socache-{mode}(512000)
CacheSocacheMinTime 60
CacheEnable {store} /
CacheDisable /direct
Alias /direct {docs}/plain
ProxyPass /app {backend}/app
AddOutputFilterByType DEFLATE text/html
<Location /plain/>
CacheDefaultExpire 0
Include plain.conf
</Location>
<Location /files/>
Header set Cache-Control max-age=0
</Location>
<Location /app/early/>
CacheDefaultExpire 0
Include early.conf
</Location>
<Location /app/closed/>
AuthType Basic
AuthName site
AuthUserFile {folder}/users
Require valid-user
</Location>
<Location /app/denied/>
Require all denied
</Location>
<Directory {docs}/open>
Options FollowSymLinks
RewriteEngine On
RewriteRule ^(.*)$ /app/closed/$1
</Directory>
</VirtualHost>
"""


def modules(mpm):
    return MODULES + ([] if mpm == "prefork" else ["http2"])


def config(site, backend, store):
    protocols = "" if site.mpm == "prefork" else "Protocols h2c http/1.1\n"
    return protocols + "".join(CONFIG.format(
        mode=mode, host=host(mode), quick="On" if mode == "quick" else "Off", store=store, docs=site.docs,
        folder=site.folder, root=machine.own_folder(site.folder, "cache-" + mode), backend=backend.url) for mode in MODES)


@pytest.fixture(scope="module")
def sites(shared_servers, mpm):
    """By store and own: servers with one configuration in front of one application."""
    with Backend() as backend:
        made = {"backend": backend}
        for store, own in [(s, o) for s in STORES for o in (True, False)]:
            how = {"etagd": shared_servers(Etagd).start()} if own else {"own": False}
            site = shared_servers(Httpd, modules=modules(mpm), mpm=mpm, **how)
            site.add("files/p.html", BODY, mtime=time.time() - 86400)
            site.add("plain/p.html", BODY, mtime=time.time() - 86400)
            site.add("open/unused", "")
            machine.write(site.folder / "early.conf", "ETagEarly On\n" if own else "")
            machine.write(site.folder / "plain.conf", "ETagLastModified Pass\n" if own else "")  # a day ago, as stock
            hashed = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
            machine.write(site.folder / "users", f"anna:{{SHA}}{hashed}\n")
            site.config = ("ETagEngine On\nETagCacheStatus On\n" if own else "") + config(site, backend, store)
            site.expect_log("AH01617|AH01797|AH01630|AH00717")  # the last: stock, of what it has invalidated
            made[store, own] = site.start()
        yield made


@pytest.fixture(params=[(m, s) for m in MODES for s in STORES], ids="-".join)
def cache(request, sites):
    """One cache of ours: its server, its mode, its store, and what stands behind it."""
    return Cache(sites, *request.param)


class Cache:
    counter = 0

    def __init__(self, sites, mode, store, own=True):
        self.sites, self.mode, self.store = sites, mode, store
        self.site, self.backend = sites[store, own], sites["backend"]

    def fresh_path(self, kind=""):
        """One that no test has asked for yet."""
        Cache.counter += 1
        return f"/app/{kind}p{Cache.counter}"

    def request(self, method, target, headers=(), body=b""):
        return self.site.request(method, target, headers, body, host=host(self.mode))

    def get(self, target, headers=()):
        return self.request("GET", target, headers)

    def stock(self):
        return Cache(self.sites, self.mode, self.store, own=False)


def revalidated(cache):
    """What X-Cache says of an entry that had gone stale. mod_cache_socache loses the body when a 304 confirms it, in stock
    httpd as well, and serves an empty page from then on: it is given the whole instead."""
    return "REVALIDATE" if cache.store == "disk" else "MISS"


def confirmed(cache, tag, body):
    """What who has the page gets through an entry that had gone stale."""
    return (304, tag, b"", "REVALIDATE") if cache.store == "disk" else (200, tag, body, "MISS")


def x_cache(a):
    return (a.header("X-Cache") or "none").split()[0]


def got(a):
    body = gzip.decompress(a.body) if a.header("Content-Encoding") == "gzip" and a.body else a.body
    return a.status, a.etag, body, x_cache(a)


def basic(password):
    return {"Authorization": "Basic " + base64.b64encode(f"anna:{password}".encode()).decode()}


@pytest.mark.parametrize("ask, suffix", [({}, ""), ({"Accept-Encoding": "gzip"}, "-gzip")], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", ["file", "generated"])
def test_revalidates_by_our_tag(cache, kind, ask, suffix):
    """What went stale is confirmed by 304, each time, and costs one question."""
    target = "/files/p.html" if kind == "file" else cache.fresh_path()
    if kind == "generated":
        cache.backend.page(target, BODY, STALE)
    tag = TAG[:-1] + suffix + '"'
    first = cache.get(target, ask)
    assert got(first)[:3] == (200, tag, BODY), first
    for _ in range(3):
        before = cache.backend.count()
        again = cache.get(target, ask)
        assert got(again) == (200, tag, BODY, revalidated(cache)) and again.header("Vary") == first.header("Vary")
        late = cache.get(target, {**ask, "If-None-Match": tag})
        assert got(late) == confirmed(cache, tag, BODY) and late.header("Vary") == first.header("Vary")
        assert cache.backend.count() - before == (0 if kind == "file" else 2)
    other = cache.get(target, {**ask, "If-None-Match": '"x"'})
    assert got(other)[:3] == (200, tag, BODY)


def test_new_content_replaces_the_old(cache):
    target = cache.fresh_path()
    for body, tag in ((BODY, TAG), (NEW, NEW_TAG)) * 2:
        cache.backend.page(target, body, STALE)
        assert got(cache.get(target))[:3] == (200, tag, body)
        assert got(cache.get(target)) == (200, tag, body, revalidated(cache))
        assert got(cache.get(target, {"If-None-Match": tag})) == confirmed(cache, tag, body)


def test_dates_that_change_while_the_bytes_do_not(cache):
    """Last-Modified is the time of the request, as naive applications send it: one question each time, and never a
    304 for who asked without condition."""
    target = cache.fresh_path()
    clock = iter(range(60))

    def page(request, send):
        date = ("Last-Modified", f"Mon, 23 Nov 2026 10:00:{next(clock):02d} GMT")
        send(answer(BODY, STALE + [date], request=request))
        return True

    cache.backend.routes[target] = page
    assert got(cache.get(target))[:3] == (200, TAG, BODY)
    for _ in range(3):
        before = cache.backend.count()
        assert got(cache.get(target)) == (200, TAG, BODY, revalidated(cache))
        assert got(cache.get(target, {"If-None-Match": TAG})) == confirmed(cache, TAG, BODY)
        assert cache.backend.count() - before == 2


def test_304_that_mod_cache_rejects(cache):
    """It asks anew without condition, and the client gets the whole."""
    target = cache.fresh_path()
    cache.backend.page(target, BODY, STALE)
    assert got(cache.get(target))[:3] == (200, TAG, BODY)
    cache.backend.page(target, BODY, STALE + [("Cache-Control", "no-store")])
    for _ in range(2):
        assert got(cache.get(target))[:3] == (200, TAG, BODY)


def test_304_freshens(cache):
    """The headers of the 304 are those that the next hit shows."""
    target = cache.fresh_path()
    cache.backend.page(target, BODY, FRESH)
    assert got(cache.get(target))[3] == "MISS"
    assert got(cache.get(target)) == (200, TAG, BODY, "HIT")
    cache.backend.page(target, BODY, HTML + [("Cache-Control", "max-age=900")])
    assert got(cache.get(target, {"Cache-Control": "max-age=0"})) == (200, TAG, BODY, revalidated(cache))
    before = cache.backend.count()
    hit = cache.get(target)
    assert got(hit) == (200, TAG, BODY, "HIT") and hit.header("Cache-Control") == "max-age=900"
    assert got(cache.get(target, {"If-None-Match": TAG})) == (304, TAG, b"", "HIT")
    assert cache.backend.count() == before


def test_freshness_by_date_survives_a_304(cache):
    """A file without Cache-Control is fresh for a tenth of its age, before a 304 and after."""
    direct = {"If-None-Match": TAG}
    wait_for(lambda: '"304 file"' in cache.get("/direct/p.html", direct).header("Cache-Status"), "the file to be known")
    for side in (cache, cache.stock()):
        seen = [x_cache(side.get("/plain/p.html", h)) for h in ({}, {}, {"Cache-Control": "max-age=0"}, {})]
        assert seen[1:] == ["HIT", revalidated(cache) if side is cache else "REVALIDATE", "HIT"], seen


def test_freshness_by_date_survives_an_early_304(cache):
    """A page that names its date and no lifetime: the 304 for which nobody asked the application keeps the date."""
    target = cache.fresh_path("early/")
    cache.backend.page(target, BODY, HTML + [("Last-Modified", "Sun, 01 Nov 2026 10:00:00 GMT")])
    asks = ({}, {}, {"Cache-Control": "max-age=0"}, {})
    assert [x_cache(cache.get(target, h)) for h in asks] == ["MISS", "HIT", revalidated(cache), "HIT"]
    assert cache.backend.count(target) == (1 if cache.store == "disk" else 2)


def test_vary_on_a_304_over_http2(cache):
    """httpd's own test h2_201_03, which its authors skip."""
    if cache.site.mpm == "prefork":
        pytest.skip("mod_http2 does not support it")
    target = cache.fresh_path()
    cache.backend.page(target, BODY, FRESH + [("Vary", "Accept-Language")])

    def over_http2(*more):
        argv = [machine.program("curl"), "-si", "--http2-prior-knowledge", "-H", f"Host: {host(cache.mode)}", *more]
        head = subprocess.run([*argv, cache.site.url(target)], capture_output=True, timeout=30).stdout.split(b"\r\n\r\n")[0]
        lines = head.decode().lower().split("\r\n")
        return lines[0].split()[1], sorted(n for n in lines if n.startswith(("vary:", "etag:")))

    want = [f"etag: {TAG.lower()}", "vary: accept-language,accept-encoding"]
    for _ in range(2):
        assert over_http2() == ("200", want)
        assert over_http2("-H", f"If-None-Match: {TAG}") == ("304", want)


def test_a_304_confirms_only_what_it_names(cache):
    """The stored page has no tag (it was too long to be kept back); a client who has the new one is told so, and the
    old one is not taken for it."""
    target = cache.fresh_path()
    old = b"o" * 1_100_000
    cache.backend.page(target, old, FRESH)
    assert got(cache.get(target))[:3] == (200, None, old)
    if cache.store == "disk":  # the other has a limit of its own
        wait_for(lambda: got(cache.get(target)) == (200, None, old, "HIT"), "the entry to be written")
    cache.backend.page(target, NEW, FRESH)
    assert got(cache.get(target, {"If-None-Match": NEW_TAG}))[:2] in ((304, NEW_TAG), (200, NEW_TAG))
    for _ in range(2):
        after = cache.get(target)
        assert got(after)[:3] in ((200, NEW_TAG, NEW), (200, None, old)), after


def test_vary_is_kept(cache):
    target = cache.fresh_path()

    def page(request, send):
        language = request.header("Accept-Language") or "en"
        send(answer(b"<p>%s</p>" % language.encode(), STALE + [("Vary", "Accept-Language")], request=request))
        return True

    cache.backend.routes[target] = page
    for language in ("de", "fr") * 2:
        ask, body = {"Accept-Language": language}, f"<p>{language}</p>".encode()
        tag = content_tag(body, "text/html")
        first = cache.get(target, ask)
        assert got(first)[:3] == (200, tag, body)
        again = cache.get(target, ask)
        late = cache.get(target, {**ask, "If-None-Match": tag})
        assert got(again) == (200, tag, body, revalidated(cache)) and got(late) == confirmed(cache, tag, body)
        assert first.all("Vary") == again.all("Vary") == late.all("Vary") != []


def test_early_304_passes_through_the_cache(cache):
    """The application is not asked at all: our table confirms what mod_cache holds."""
    target = cache.fresh_path("early/")
    for body, tag in ((BODY, TAG), (NEW, NEW_TAG)):
        cache.backend.page(target, body, STALE)
        assert got(cache.get(target))[:3] == (200, tag, body)
        before = cache.backend.count()
        for _ in range(2):
            assert got(cache.get(target)) == (200, tag, body, revalidated(cache))
            assert got(cache.get(target, {"If-None-Match": tag})) == confirmed(cache, tag, body)
        assert cache.backend.count() == before + (0 if cache.store == "disk" else 4)
        cache.site.etagd.call("XADD", "{etag}:log", "*", "url", host(cache.mode) + target)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_writes_invalidate_the_cache(cache, method):
    target = cache.fresh_path()
    cache.backend.page(target, BODY, FRESH)
    cache.get(target)
    assert got(cache.get(target)) == (200, TAG, BODY, "HIT")
    cache.backend.page(target, b"no", HTML, status=403)
    assert cache.request(method, target, body=b"x").status == 403
    assert got(cache.get(target)) == (200, TAG, BODY, "HIT"), "a write that was refused changes nothing"
    cache.backend.page(target, NEW, FRESH)
    assert cache.request(method, target, body=b"x").status == 200
    assert cache.backend.last().method == method and cache.backend.last().body == b"x"
    assert got(cache.get(target))[:3] == (200, NEW_TAG, NEW)
    assert got(cache.get(target, {"If-None-Match": TAG}))[:3] == (200, NEW_TAG, NEW)


@pytest.mark.parametrize("headers, stored", [
    ([], False), ([("Set-Cookie", "session=1")], False), ([("Cache-Control", "no-cache")], False),
    ([("Cache-Control", "private, max-age=600")], False), ([("Cache-Control", "no-store, max-age=600")], False),
    ([("Cache-Control", "max-age=600")], True), ([("ETag", '"own"')], True),
    ([("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")], True), ([("Last-Modified", "on Monday")], False),
    ([("Cache-Control", 'max-age="600"')], False), ([("Cache-Control", "max-age= 600")], False),
    ([("Cache-Control", "max-age=600s")], False), ([("Cache-Control", "max-age=")], False),
    ([("Cache-Control", 'extension="a, max-age=600"')], False),
    ([("Cache-Control", r'extension="\", max-age=600"')], False),
    ([("Cache-Control", "public S-MaxAge=600")], True), ([("Cache-Control", 'a="b" , max-age=600')], True)], ids=lambda v: str(v)[:40])
def test_our_tag_makes_nothing_storable(cache, headers, stored):
    """A page of which nothing says how long it holds is not kept by stock: a tag is no such word."""
    target = cache.fresh_path()
    counter = iter(range(100))

    def page(request, send):
        send(answer(b"<p>for user %d</p>" % next(counter), HTML + headers, request=request))
        return True

    cache.backend.routes[target] = page
    seen = {}
    for name, side in (("ours", cache), ("stock", cache.stock())):
        first, second = side.get(target, {"Cookie": "user=1"}), side.get(target)
        seen[name] = first.body == second.body, x_cache(second)
    assert seen["ours"] == seen["stock"] == (stored, "HIT" if stored else "MISS")


@pytest.mark.parametrize("when", ["hit", "changed meanwhile"])
def test_coded_bodies_are_not_ranged_by_the_cache(cache, when):
    target = cache.fresh_path()
    ask = {"Accept-Encoding": "gzip"}
    cache.backend.page(target, BODY, FRESH if when == "hit" else STALE)
    assert got(cache.get(target, ask))[:3] == (200, TAG[:-1] + '-gzip"', BODY)
    body, tag = (BODY, TAG) if when == "hit" else (NEW, NEW_TAG)
    if body is NEW:
        cache.backend.page(target, NEW, STALE)
    for more in ({}, {"If-Range": tag[:-1] + '-gzip"'}):
        part = cache.get(target, {**ask, "Range": "bytes=0-9", **more})
        assert got(part)[:3] == (200, tag[:-1] + '-gzip"', body), part
        assert part.header("Accept-Ranges") == "none"
    if when == "hit":
        assert got(cache.get(target))[:3] == (200, tag, body)
        plain = cache.get(target, {"Range": "bytes=0-9"})
        assert (plain.status, plain.etag, plain.body, x_cache(plain)) == (206, tag, body[:10], "HIT"), plain


@pytest.mark.parametrize("how", ["closed", "rewritten", "denied"])
@pytest.mark.parametrize("public", [False, True])
def test_who_may_not_see_it_learns_nothing(cache, how, public):
    """In normal mode authorization comes first; in quick mode it comes first unless the page says public, as in stock
    httpd. A tag changes neither."""
    path = cache.fresh_path("denied/" if how == "denied" else "closed/")
    target = path.replace("/app/closed/", "/open/") if how == "rewritten" else path
    cache.backend.page(path, BODY, HTML + [("Cache-Control", "public, max-age=600" if public else "max-age=600")])
    conditions = [{}, {"If-None-Match": TAG}, {"If-None-Match": "*"}, {"If-None-Match": 'W/' + TAG}]
    statuses = {}
    for name, side in (("ours", cache), ("stock", cache.stock())):
        for _ in range(2):
            allowed = side.get(target, basic("secret"))
            assert allowed.status == (403 if how == "denied" else 200)
        statuses[name] = [side.get(target, {**who, **c}).status
                          for c in conditions for who in ({}, basic("wrong"))]
        if name == "ours" and not (public and cache.mode == "quick"):
            assert set(statuses[name]) == {403 if how == "denied" else 401}
    # Where stock's quick mode hands out the stored page, a matching tag of ours saves sending it.
    for ours, stock in zip(statuses["ours"], statuses["stock"]):
        assert ours == stock or (ours, stock) == (304, 200), statuses


@pytest.mark.parametrize("early", ["On", "Off"])
def test_marked_place_of_the_cache(new_httpd, etagd, backend, mpm, early):
    """SetOutputFilter CACHE stores what is not tagged yet: no 304 of ours confirms that."""
    engine = f"ETagEngine On\nETagEarly {early}\nProxyPass / {backend.url}/\n"
    caching = new_httpd(modules=MODULES, etagd=etagd, mpm=mpm)
    caching.config = engine + (f"CacheQuickHandler Off\nCacheEnable disk /\nCacheRoot {machine.own_folder(caching.folder, 'c')}\n"
                               "CacheHeader On\n<Location />\nSetOutputFilter CACHE\n</Location>\n")
    other = new_httpd(engine, modules=["proxy", "proxy_http"], etagd=etagd)
    caching.start(), other.start()
    backend.page("/p", BODY, FRESH)
    assert got(caching.get("/p"))[:3] == (200, TAG, BODY)
    assert got(caching.get("/p")) == (200, TAG, BODY, "HIT")
    backend.page("/p", NEW, FRESH)
    etagd.call("XADD", "{etag}:log", "*", "all", "1")
    assert other.get("/p").etag == NEW_TAG
    late = caching.get("/p", {"If-None-Match": NEW_TAG})
    assert got(late)[:2] in ((304, NEW_TAG), (200, NEW_TAG))
    for _ in range(2):
        after = caching.get("/p")
        assert got(after)[:3] in ((200, TAG, BODY), (200, NEW_TAG, NEW)), after
        again = caching.get("/p", {"If-None-Match": after.etag})
        assert again.status in (200, 304) and again.etag in (TAG, NEW_TAG)


@pytest.mark.parametrize("ask", [{}, {"Accept-Encoding": "gzip"}], ids=["plain", "gzip"])
def test_an_application_with_tags_of_its_own(cache, ask):
    """It is asked with the tag that it made, and answers 304 itself; mod_cache hears the one that it holds."""
    target, bodies, asked = cache.fresh_path(), [], []

    def page(request, send):
        asked.append(request.header("If-None-Match"))
        if asked[-1] == '"v1"':
            send(answer(b"", [("ETag", '"v1"'), ("Cache-Control", "max-age=0")], 304))
        else:
            bodies.append(1)
            send(answer(BODY, STALE + [("ETag", '"v1"')], request=request))
        return True

    cache.backend.routes[target] = page
    first = cache.get(target, ask)
    assert got(first)[::2] == (200, BODY) and (first.etag == '"v1"') == (not ask)
    for _ in range(2):
        assert got(cache.get(target, ask)) == (200, first.etag, BODY, revalidated(cache))
        assert got(cache.get(target, {**ask, "If-None-Match": first.etag})) == confirmed(cache, first.etag, BODY)
    if cache.store == "disk":
        assert len(bodies) == 1 and set(asked) == {None, '"v1"'}


@pytest.mark.parametrize("mode", ["On", "Off"])
@pytest.mark.parametrize("target", ["/p.html", "/app/p"])
def test_a_lock_that_cannot_be_had(new_httpd, etagd, backend, mpm, mode, target):
    """mod_cache then leaves its conditions in the request, and nobody who would take the 304 for them."""
    site = new_httpd(modules=MODULES, etagd=etagd, mpm=mpm)
    site.config = ("ETagEngine On\nHeader set Cache-Control max-age=0\nCacheEnable disk /\nCacheHeader On\nCacheLock On\n"
                   f"CacheLockPath {site.folder}/httpd.conf/no-folder\nCacheQuickHandler {mode}\n"
                   f"CacheRoot {machine.own_folder(site.folder, 'c')}\nProxyPass /app {backend.url}\n")
    site.add("p.html", BODY, mtime=time.time() - 86400)
    backend.page("/p", BODY, HTML)
    site.expect_log("AH0|lock")
    site.start(site.config.replace("CacheLock On", "CacheLock Off"))
    assert got(site.get(target))[:3] == (200, TAG, BODY)
    site.graceful(site.config.replace("CacheLock Off", "CacheLock On"))
    for _ in range(6):  # of the children of before, too
        assert got(site.get(target))[:3] == (200, TAG, BODY)
        assert got(site.get(target, {"If-None-Match": TAG}))[:3] in ((304, TAG, b""), (200, TAG, BODY))


@pytest.mark.parametrize("mode", ["On", "Off"])
def test_a_script_that_redirects_today(new_httpd, etagd, mpm, mode):
    """What mod_cache asked of the script is not what the client asked of the page it leads to."""
    site = new_httpd(modules=[*MODULES, "cgi" if mpm == "prefork" else "cgid"], etagd=etagd, mpm=mpm)
    site.config = ("ETagEngine On\nHeader set Cache-Control max-age=0\nCacheEnable disk /\nCacheHeader On\n"
                   f"CacheQuickHandler {mode}\nCacheRoot {machine.own_folder(site.folder, 'c')}\n<Directory {site.docs}>\n"
                   "Options ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n")
    site.add("p.html", BODY, mtime=time.time() - 86400)
    site.add("go.cgi", f"#!/bin/sh\nif [ -e {site.folder}/moved ]; then printf 'Location: /p.html\\n\\n'; exit; fi\n"
                       f"printf 'Content-Type: text/html\\n\\n'; cat {site.docs}/p.html\n").chmod(0o755)
    site.start()
    assert got(site.get("/go.cgi"))[:3] == (200, TAG, BODY)
    assert got(site.get("/go.cgi")) == (200, TAG, BODY, "REVALIDATE")
    machine.write(site.folder / "moved", "")
    for _ in range(3):
        assert got(site.get("/go.cgi"))[:3] == (200, TAG, BODY)
    assert site.get("/go.cgi", {"If-None-Match": TAG}).status in (200, 304)
