# SPDX-License-Identifier: Apache-2.0
"""Every directive: where it may stand, how sections are merged, and what a wrong value is answered.

Pages are .asis files (headers and body in a file), so that <Directory> and .htaccess apply to generated
content too. Each directive is set to its value A for the server and to B in one section after the other.
"""
import select
import threading
from dataclasses import dataclass
from typing import Callable

import pytest

from env import machine
from env.backend import chunk
from env.files import how_kept
from env.http import request_bytes
from env.process import wait_for

TEXT = "some text that is long enough to be compressed, " * 8
PAGE = """\
Content-Type: text/html
X-Version-A: one
X-Version-B: two
Surrogate-Key: key-b
{extra}
<p>a page that an application made</p>
"""
SHOW = 'Header always set X-Etag "expr=%{reqenv:etag-status}/%{reqenv:etag-why}"\n'
PLACES = ("plain", "directory", "location", "both", "htaccess")
EARLY = "ETagEarly On\nETagSource digest\n"


def why(answer):
    return answer.header("X-Etag")


class Place:
    """One folder of the site as one virtual host shows it."""

    def __init__(self, httpd, folder, host=None):
        self.httpd, self.folder, self.host = httpd, folder, host

    def get(self, name, headers=()):
        return self.httpd.get(f"/{self.folder}/{name}", headers, host=self.host)

    def again(self, name, first=(), then=(), second=None):
        """Learns a page, and says how the same page is answered to its tag."""
        tag = self.get(name, dict(first)).etag
        return why(self.get(second or name, {"If-None-Match": tag, **dict(then)}))


# --- probes: what tells A from B ---


def tag_is_ours(place):
    tag = place.get("a.txt").etag
    return tag is not None and len(tag) == 25 and tag[1] == "d"


def tag_of_page(place):
    return place.get("tagged.asis").etag


def tag_of_file(place):
    return place.get("a.txt").etag


def coded_is_weak(place):
    answer = place.get("a.txt", {"Accept-Encoding": "gzip"})
    assert answer.header("Content-Encoding") == "gzip", answer
    return answer.etag.startswith("W/")


def has_date(place):
    return place.get("a.txt").header("Last-Modified") is not None


def has_cache_status(place):
    return place.get("a.txt").header("Cache-Status") is not None


def page_is_tagged(place):
    return place.get("page.asis").etag is not None


def file_is_tagged(place):
    return place.get("a.txt").etag is not None


def early(place):
    return place.again("page.asis")


def early_with_other_query(place):
    return place.again("page.asis?x=1&utm=1", second="page.asis?x=1&utm=2")


def early_with_other_language(place):
    return place.again("page.asis", {"X-Lang": "en"}, {"X-Lang": "de"})


def early_with_cookie(place):
    return place.again("page.asis", (), {"Cookie": "_ga_12=3; consent=1"})


def early_with_key(place):
    return place.again("page.asis", (), {"X-Api-Key": "k"})


def early_after(*operation):
    def probe(place):
        tag = place.get("page.asis").etag
        assert why(place.get("page.asis", {"If-None-Match": tag})) == "304/learned"
        place.httpd.etagd.call("XADD", "{etag}:log", "*", *operation)
        return why(place.get("page.asis", {"If-None-Match": tag}))

    return probe


def digest_kept(place):
    name = "b.txt" if place.host else "a.txt"  # what one host has made known the other one would find
    path = place.httpd.docs / place.folder / name

    def asked():
        assert place.get(name).etag
        return how_kept(place.httpd.etagd, path)

    return wait_for(asked, "the file to be old enough for its digest to be kept")


@dataclass
class Case:
    name: str
    a: str  # for the server
    b: str  # in the section
    probe: Callable
    of_a: object = None  # what the probe shows under A, None: whatever B does not show
    of_b: object = None
    around: str = ""  # besides, for the whole server
    htaccess: bool = False  # allowed in .htaccess without ETagAllowOverride


CASES = [
    Case("ETagEngine", "On", "Off", tag_is_ours, True, False),
    Case("ETagSource", "upstream digest", "digest upstream", tag_of_page, '"theirs"'),
    Case("ETagCoded", "strong", "weak", coded_is_weak, False, True, "SetOutputFilter DEFLATE\n", True),
    Case("ETagEarly", "Off", "On", early, "304/late", "304/learned", "ETagSource digest\n"),
    Case("ETagIgnoreQuery", "None", "utm", early_with_other_query, "304/late", "304/learned", EARLY),
    Case("ETagIgnoreQuery", "All", "None", early_with_other_query, "304/learned", "304/late", EARLY),
    Case("ETagVary", "None", "X-Lang", early_with_other_language, "304/learned", "304/late", EARLY, True),
    Case("ETagIgnoreCookies", "None", "_ga* consent", early_with_cookie, "304/late", "304/learned", EARLY),
    Case("ETagIgnoreCookies", "All", "_ga*", early_with_cookie, "304/learned", "304/late", EARLY),
    Case("ETagVary", "None", "cookie:_GA_12 cookie:consent", early_with_cookie, "304/learned", "304/late",
         EARLY + "ETagIgnoreCookies All\n", True),
    Case("ETagCredentials", "X-Api-Key", "None", early_with_key, "304/late", "304/learned", EARLY),
    Case("ETagSalt", "a", "b", tag_of_file, htaccess=True),
    Case("ETagLastModified", "Pass", "Off", has_date, True, False, "", True),
    Case("ETagGroups", "group-a", "group-b group-c", early_after("tag", "group-c"), "304/learned", "304/late", EARLY),
    Case("ETagGroups", "group-a", '"expr=group-%{req:X-None}b"', early_after("tag", "group-b"), "304/learned", "304/late",
         EARLY),
    Case("ETagGroupHeader", "None", "Surrogate-Key", early_after("tag", "key-b"), "304/learned", "304/late", EARLY),
    Case("ETagVersion", "header:X-Version-A", "header:X-Version-B", tag_of_page, around="ETagSource version\n"),
    Case("ETagBufferLimit", "1K", "20", page_is_tagged, True, False, "ETagSource digest\n"),
    Case("ETagInlineLimit", "1K", "0", file_is_tagged, True, False, "ETagDaemon /nowhere/etagd.sock\n"),
    Case("ETagTrustFS", "All", "None", digest_kept, "for good", "for a minute"),
    Case("ETagCacheStatus", "Off", "On", has_cache_status, False, True, "", True),
]
NEVER = ("ETagEngine", "ETagTrustFS")  # in .htaccess
IDS = [f"{c.name}-{c.b}" for c in CASES]


def line(case, value):
    return f"{case.name} {value}\n"


def fill(httpd):
    for place in PLACES:
        httpd.add(f"{place}/a.txt", TEXT, mtime=1_700_000_000)
        httpd.add(f"{place}/b.txt", TEXT, mtime=1_700_000_000)
        httpd.add(f"{place}/page.asis", PAGE.format(extra=""))
        httpd.add(f"{place}/tagged.asis", PAGE.format(extra='ETag: "theirs"\n'))


def sections(httpd, case):
    """A for the server; B in a section of the first virtual host, and in the second one."""
    a, b, docs = line(case, case.a), line(case, case.b), httpd.docs
    common = f"DocumentRoot {docs}\n"
    return (f"ETagEngine On\nETagTimeout 2s\nAddHandler send-as-is .asis\n{SHOW}{case.around}{a}"
            f"<VirtualHost *:{httpd.port}>\nServerName www.example.com\n{common}"
            f"<Directory {docs}/directory>\n{b}</Directory>\n"
            f"<Location /location>\n{b}</Location>\n"
            f"<Directory {docs}/both>\n{b}</Directory>\n<Location /both>\n{a}</Location>\n"
            f"<Directory {docs}/htaccess>\nAllowOverride FileInfo\n</Directory>\n</VirtualHost>\n"
            f"<VirtualHost *:{httpd.port}>\nServerName other.example.com\n{common}{b}</VirtualHost>\n")


@pytest.fixture
def site(new_httpd, etagd):
    httpd = new_httpd(modules=["headers", "asis", "deflate"], etagd=etagd)
    httpd.expect_log("working without etagd.*/nowhere/")
    fill(httpd)
    return httpd


def restart(httpd, config=None):
    """Not graceful: for a moment that leaves children with the old configuration at work."""
    httpd.expect_log("AH0309[23]: |exit signal Segmentation fault")  # the event MPM's own race at its end
    httpd.stop()
    httpd.start(config)


def expected(case, seen, of):
    return seen == of if of is not None else seen is not None


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_merge(site, case):
    site.start(sections(site, case))
    seen = {p: case.probe(Place(site, p)) for p in PLACES}
    seen["other host"] = case.probe(Place(site, "plain", "other.example.com"))
    under_a = {seen[p] for p in ("plain", "both", "htaccess")}
    under_b = {seen[p] for p in ("directory", "location", "other host")}
    assert len(under_a) == len(under_b) == 1 and under_a != under_b, seen
    assert expected(case, under_a.pop(), case.of_a) and expected(case, under_b.pop(), case.of_b), seen


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_htaccess(site, case):
    """Harmless directives work there; decisions of trust only with ETagAllowOverride On; those of NEVER not even then."""
    site.add("htaccess/.htaccess", line(case, case.b))
    site.expect_log(r"\.htaccess: .*not (allowed|occur)|cannot occur within htaccess")
    config = sections(site, case)
    site.start(config)
    refused = Place(site, "htaccess").get("a.txt").status == 500
    assert refused is not case.htaccess
    if refused:
        said = site.log_lines(r"\.htaccess: ")
        assert any(("ETagAllowOverride On" in s) is (case.name not in NEVER) for s in said), said
    restart(site, "ETagAllowOverride On\n" + config)
    place = Place(site, "htaccess")
    if case.name in NEVER:
        assert place.get("a.txt").status == 500
    else:
        assert case.probe(place) == case.probe(Place(site, "location")) != case.probe(Place(site, "plain"))


def test_ttl(site):
    """ETagTTL: the short life ends by itself, the long one does not."""
    config = sections(site, Case("ETagTTL", "1h", "1s", None, around=EARLY))
    site.start(config)
    long, short = Place(site, "plain"), Place(site, "location")
    kept = long.get("page.asis").etag
    tag = short.get("page.asis").etag
    assert why(short.get("page.asis", {"If-None-Match": tag})) == "304/learned"
    wait_for(lambda: why(short.get("page.asis", {"If-None-Match": tag})) == "304/late", "the tag to expire", 10)
    assert why(long.get("page.asis", {"If-None-Match": kept})) == "304/learned"


def test_buffer_time(new_httpd, etagd, backend):
    """ETagBufferTime: the backend sends a part and waits until the client has seen it, for a second at most."""
    seen = threading.Event()

    def halting(_request, send):
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"the first part"))
        seen.wait(1)
        send(chunk(b"the rest") + chunk(b""))

    site = new_httpd(modules=["proxy", "proxy_http", "headers"], etagd=etagd)
    config = (f"ETagEngine On\nETagSource digest\n{SHOW}ETagBufferTime 30s\n"
              f"<Location /a>\nProxyPass {backend.url}/p\n</Location>\n"
              f"<Location /b>\nProxyPass {backend.url}/p\nETagBufferTime 0\n</Location>\n"
              f"<Location /b/a>\nETagBufferTime 30s\n</Location>\n"
              f"<VirtualHost *:{site.port}>\nServerName www.example.com\n</VirtualHost>\n"
              f"<VirtualHost *:{site.port}>\nServerName other.example.com\nETagBufferTime 0\n</VirtualHost>\n")
    backend.routes["/p"] = backend.routes["/p/a"] = halting
    site.start(config)

    def held(target, host="www.example.com"):
        seen.clear()
        with site.connect(host=host) as c:
            c.send_raw(request_bytes("GET", target, host=host))
            readable, _, _ = select.select([c.sock], [], [], 0.5)
            if readable:
                seen.set()
            answer = c.read()
        assert answer.body == b"the first partthe rest"
        assert (answer.etag is None) is bool(readable), answer
        return not readable

    assert [held("/a"), held("/b"), held("/b/a"), held("/a", "other.example.com")] == [True, False, True, False]


# --- virtual hosts ---


def hosts(httpd, server, first, second):
    docs = f"DocumentRoot {httpd.docs}\n"
    return (f"ETagEngine On\nETagTimeout 2s\nAddHandler send-as-is .asis\n{SHOW}{EARLY}{server}"
            f"<VirtualHost *:{httpd.port}>\nServerName www.example.com\n{docs}{first}</VirtualHost>\n"
            f"<VirtualHost *:{httpd.port}>\nServerName other.example.com\n{docs}{second}</VirtualHost>\n")


def secret_file(httpd, name, *secrets):
    path = httpd.folder / name
    path.write_text("\n".join(secrets) + "\n")
    path.chmod(0o600)
    machine.give(path)
    return path


def test_secret_file(site):
    """ETagSecretFile: inherited by virtual hosts, replaced there, and rotated without a change of tags for who has them."""
    one, two = secret_file(site, "one", "a" * 32), secret_file(site, "two", "b" * 32)
    site.start(hosts(site, f"ETagSecretFile {one}\n", "", f"ETagSecretFile {two}\n"))
    first = site.get("/plain/a.txt").etag
    assert first != site.get("/plain/a.txt", host="other.example.com").etag
    assert first != site.get("/both/a.txt").etag, "equal bytes under two URLs do not show as equal"
    secret_file(site, "one", "c" * 32, "a" * 32)  # rotation: the new one signs, the old one is recognised
    restart(site)
    assert site.get("/plain/a.txt").etag != first
    assert site.get("/plain/a.txt", {"If-None-Match": first}).status == 304
    secret_file(site, "one", "c" * 32)
    restart(site)
    assert site.get("/plain/a.txt", {"If-None-Match": first}).status == 200


def test_base_url(site):
    """ETagBaseURL: any Host counts as the site; not inherited by virtual hosts."""
    base = "ETagBaseURL https://shop.example.com\n"
    site.start(hosts(site, base, "", base))
    named, based = Place(site, "plain", "www.example.com"), Place(site, "plain", "other.example.com")
    assert named.again("page.asis") == based.again("page.asis") == "304/learned"
    # A Host that nobody names goes to the first virtual host, which has no ETagBaseURL.
    assert Place(site, "plain", "stranger.example.com").again("page.asis") == "304/late"
    restart(site, hosts(site, "", base, ""))
    assert Place(site, "both", "stranger.example.com").again("page.asis") == "304/learned"
    tag = named.get("page.asis").etag
    site.etagd.call("XADD", "{etag}:log", "*", "url", "shop.example.com/plain/page.asis")
    assert why(named.get("page.asis", {"If-None-Match": tag})) == "304/late"


def test_a_port_that_nobody_listens_on_has_no_key(site):
    site.start(hosts(site, "", "", ""))
    for port, how in ((site.port, "learned"), (80, "learned"), (site.port + 1, "late")):
        assert Place(site, "plain", f"www.example.com:{port}").again("page.asis") == f"304/{how}", port
