# SPDX-License-Identifier: Apache-2.0
"""Content codings: a coded variant's tag goes out, comes back, and is understood on every node."""
import gzip
import os
import time

import pytest
from env import machine
from env.process import wait_for
from env.tags import OURS, content_tag

BODY = b"<p>" + b"compress me, compress me " * 100 + b"</p>\n"
SUFFIX = {"gzip": "-gzip", "br": "-br"}
FILTER = {"gzip": "DEFLATE", "br": "BROTLI_COMPRESS"}
SCRIPT = """#!/bin/sh
printf 'Content-Type: text/html\\r\\n'
[ -z "$QUERY_STRING" ] || printf '%s\\r\\n' "ETag: \\"$QUERY_STRING\\""
printf '\\r\\n'
cat {body}
"""


def by_type(coding):
    return f"AddOutputFilterByType {FILTER[coding]} text/html\n"


def by_force(coding):
    return f"SetOutputFilter {FILTER[coding]}\n"


def tag(coding=None):
    return content_tag(BODY, "text/html", suffix=SUFFIX.get(coding, ""))


@pytest.fixture
def node(new_httpd, new_etagd):
    """Makes a running node with this configuration; its document root holds p.html and p.cgi."""

    def make(config):
        site = new_httpd(modules=["filter", "deflate", "brotli", "cgid", "headers"], etagd=new_etagd().start())
        site.add("p.html", BODY, mtime=time.time() - 86400)
        body = machine.write(site.folder / "body", BODY)
        site.add("p.cgi", SCRIPT.format(body=body)).chmod(0o755)
        site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                       f"</Directory>\n{config}")
        return site.start()

    return make


def decoded(answer):
    return gzip.decompress(answer.body) if answer.header("Content-Encoding") == "gzip" else answer.body


def coded(answer, coding, want=None):
    assert (answer.status, answer.etag) == (200, want or tag(coding)), answer
    assert answer.header("Content-Encoding") == coding and "Accept-Encoding" in answer.header("Vary"), answer
    assert len(answer.body) < len(BODY)
    if coding == "gzip":
        assert gzip.decompress(answer.body) == BODY
    return answer


def not_modified(answer, want):
    assert (answer.status, answer.etag, answer.body) == (304, want, b""), answer
    assert not any(answer.all(n) for n in ("Content-Encoding", "Content-Type", "Content-Length")), answer
    return answer


both = pytest.mark.parametrize("how", [by_type, by_force])
each = pytest.mark.parametrize("coding", ["gzip", "br"])
targets = pytest.mark.parametrize("target", ["/p.html", "/p.cgi"])


@both
@each
@targets
def test_coded_tag_comes_back(node, how, coding, target):
    nodes = [node(how(coding)) for _ in range(2)]
    ask = {"Accept-Encoding": coding}
    first = coded(nodes[0].get(target, ask), coding)
    for site in nodes:
        answer = not_modified(site.get(target, {**ask, "If-None-Match": tag(coding)}), tag(coding))
        assert answer.header("Vary") == first.header("Vary"), "RFC 9110 15.4.5: Vary as on the 200"
        weak = not_modified(site.get(target, {**ask, "If-None-Match": "W/" + tag(coding)}), "W/" + tag(coding))
        assert "Accept-Encoding" in weak.header("Vary")


@both
@each
@targets
def test_304_without_a_tag_of_the_clients(node, how, coding, target):
    """15.4.5: it names the ETag and Vary of the 200 that the client would get."""
    site = node(how(coding))
    for ask in ({"Accept-Encoding": coding}, {}):
        first = site.get(target, ask)
        conditions = [{"If-None-Match": "*"}]
        if first.header("Last-Modified"):
            conditions.append({"If-Modified-Since": first.header("Last-Modified")})
        for condition in conditions:
            answer = not_modified(site.get(target, {**ask, **condition}), tag(coding if ask else None))
            assert answer.header("Vary") == first.header("Vary"), condition


@both
@each
@targets
def test_identity_tag_and_lists(node, how, coding, target):
    site = node(how(coding))
    ask = {"Accept-Encoding": coding}
    plain = site.get(target)
    assert (plain.status, plain.etag, plain.body) == (200, tag(), BODY), plain
    not_modified(site.get(target, {"If-None-Match": tag()}), tag())
    not_modified(site.get(target, {**ask, "If-None-Match": tag()}), tag())
    # Of several, the one that would be sent now.
    for sent in (f"{tag()}, {tag(coding)}", f"{tag(coding)}, {tag()}"):
        not_modified(site.get(target, {**ask, "If-None-Match": sent}), tag(coding))
        not_modified(site.get(target, {"If-None-Match": sent}), tag())


@each
@targets
def test_coding_no_longer_admitted(node, coding, target):
    """A client that cannot decode must not be told to use its coded copy."""
    site = node(by_type(coding))
    for accept in ({}, {"Accept-Encoding": "identity"}, {"Accept-Encoding": f"{coding};q=0, identity"}):
        answer = site.get(target, {**accept, "If-None-Match": tag(coding)})
        assert (answer.status, answer.etag, answer.body) == (200, tag(), BODY), answer


@targets
def test_one_coding_is_not_the_other(node, target):
    site = node("AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html\n")
    coded(site.get(target, {"Accept-Encoding": "gzip, br"}), "br")
    coded(site.get(target, {"Accept-Encoding": "gzip"}), "gzip")
    coded(site.get(target, {"Accept-Encoding": "gzip", "If-None-Match": tag("br")}), "gzip")
    coded(site.get(target, {"Accept-Encoding": "br", "If-None-Match": tag("gzip")}), "br")
    # Either is admitted: the client still holds a copy of what would be sent.
    ask = {"Accept-Encoding": "gzip, br"}
    not_modified(site.get(target, {**ask, "If-None-Match": tag("gzip")}), tag("gzip"))
    not_modified(site.get(target, {**ask, "If-None-Match": f"{tag('gzip')}, {tag('br')}"}), tag("br"))


@both
@each
@targets
def test_coded_bodies_are_never_ranged(node, how, coding, target):
    site = node(how(coding))
    ask = {"Accept-Encoding": coding, "Range": "bytes=0-9"}
    for more in ({}, {"If-Range": tag(coding)}, {"If-Range": tag()}):
        answer = coded(site.get(target, {**ask, **more}), coding)
        assert answer.header("Accept-Ranges") == "none"
    part = site.get(target, {"Range": "bytes=0-9", "If-Range": tag()})
    assert (part.status, part.etag, part.body) == (206, tag(), BODY[:10]), part
    # The tag of a coded copy vouches for no byte of the identity.
    whole = site.get(target, {"Range": "bytes=0-9", "If-Range": tag(coding)})
    assert (whole.status, whole.etag, whole.body) == (200, tag(), BODY), whole


@each
@targets
def test_if_match_with_a_coded_tag(node, coding, target):
    """Who received a coded copy holds the current representation: it may write."""
    site = node(by_type(coding))
    for ask in ({"Accept-Encoding": coding}, {}):
        assert site.get(target, {**ask, "If-Match": tag(coding)}).status == 200
        assert site.get(target, {**ask, "If-Match": "W/" + tag(coding)}).status == 412
        assert site.get(target, {**ask, "If-Match": tag()[:-1] + '-zip"'}).status == 412


@both
@targets
def test_etagcoded_weak(node, how, target):
    site = node(how("gzip") + "ETagCoded weak\n")
    ask = {"Accept-Encoding": "gzip"}
    weak = "W/" + tag("gzip")
    coded(site.get(target, ask), "gzip", weak)
    assert site.get(target).etag == tag(), "identity stays strong"
    not_modified(site.get(target, {**ask, "If-None-Match": weak}), weak)
    not_modified(site.get(target, {**ask, "If-None-Match": tag("gzip")}), tag("gzip"))
    assert site.get(target, {**ask, "If-Match": weak}).status == 412


def test_an_applications_own_tag_that_looks_coded(node):
    """"x-gzip" of the application's making is one tag, not a coding of "x"."""
    site = node("")
    for name in ("x", "x-gzip", "d0123456789-gzip"):
        own = f'"{name}"'
        answer = site.get(f"/p.cgi?{name}")
        assert (answer.status, answer.etag, answer.body) == (200, own, BODY), answer
        not_modified(site.get(f"/p.cgi?{name}", {"If-None-Match": own}), own)
        assert site.get(f"/p.cgi?{name}", {"If-None-Match": f'"{name}-gzip"'}).status == 200
    assert site.get("/p.cgi?x", {"If-None-Match": '"x-gzip"'}).status == 200
    assert site.get("/p.cgi?x-gzip", {"If-None-Match": '"x"'}).status == 200


def test_small_body_that_deflate_leaves_alone(node):
    """Below its smallest size mod_deflate sends identity: no suffix, no coding."""
    site = node(by_force("gzip"))
    site.add("s.html", b"<p>s</p>")
    small = content_tag(b"<p>s</p>", "text/html")
    answer = site.get("/s.html", {"Accept-Encoding": "gzip"})
    assert answer.status == 200 and answer.etag in (small, small[:-1] + '-gzip"')
    assert decoded(answer) == b"<p>s</p>"
    assert (answer.header("Content-Encoding") == "gzip") == answer.etag.endswith('-gzip"')
    not_modified(site.get("/s.html", {"Accept-Encoding": "gzip", "If-None-Match": answer.etag}), answer.etag)


@pytest.mark.parametrize("setting, shown", [("NoChange", True), ("Remove", False)])
def test_deflatealteretag(node, setting, shown):
    """The known workarounds give two codings one tag, or none: announced at start, and never ranged."""
    site = node(by_type("gzip") + f"DeflateAlterETag {setting}\n")
    site.wait_log("DeflateAlterEtag")
    zipped = site.get("/p.html", {"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    assert (zipped.status, zipped.etag) == (200, tag() if shown else None) and decoded(zipped) == BODY
    assert site.get("/p.html", {"Accept-Encoding": "gzip", "If-None-Match": tag()}).status == 304
    assert site.get("/p.html").etag == tag()


@pytest.mark.parametrize("coding", FILTER)
@pytest.mark.parametrize("setting", ["AddSuffix", "NoChange", "Remove"])
@targets
def test_altered_tags(node, coding, setting, target):
    """Whatever the directive makes of the tag: what is sent back gives 304 where anything was sent, and no parts."""
    directive = {"gzip": "DeflateAlterETag", "br": "BrotliAlterETag"}[coding]
    site = node(by_type(coding) + f"{directive} {setting}\n")
    if setting != "AddSuffix":
        site.wait_log(f"(?i){directive}")
    sent = {"AddSuffix": tag(coding), "NoChange": tag(), "Remove": None}[setting]
    ask = {"Accept-Encoding": coding}
    first = site.get(target, {**ask, "Range": "bytes=0-9"})
    assert (first.status, first.etag, first.header("Content-Encoding")) == (200, sent, coding), first
    for known in filter(None, (sent, sent and f'"x", {sent}', sent and "W/" + sent)):
        late = site.get(target, {**ask, "If-None-Match": known})
        assert (late.status, late.body) == (304, b"") and late.etag.removeprefix("W/") == sent, (known, late)
        assert late.header("Vary") == first.header("Vary")
    changed = site.get(target, {**ask, "If-None-Match": '"x"'})
    assert (changed.status, changed.etag) == (200, sent)


def test_zstd_of_a_backend(new_httpd, etagd, backend):
    """A coding that httpd has no filter for: the backend's own tag stays it, whatever its end; without one the coded
    bytes have a tag of their own, and ours with -zstd is understood."""
    site = new_httpd("ETagEngine On\nAddOutputFilterByType DEFLATE text/html\n", modules=["filter", "deflate", "proxy",
                     "proxy_http"], etagd=etagd)
    coded = b"(\xb5/\xfd" + bytes(range(200))
    headers = [("Content-Type", "text/html"), ("Content-Encoding", "zstd"), ("Vary", "Accept-Encoding")]
    mine = content_tag(BODY, "text/html")
    tags = {"/own": '"v1-zstd"', "/none": content_tag(coded, "text/html", coding="zstd"), "/ours": mine[:-1] + '-zstd"'}
    backend.page("/own", coded, headers + [("ETag", tags["/own"])])
    backend.page("/none", coded, headers)
    backend.page("/ours", coded, headers + [("ETag", tags["/ours"])])  # a mod_etag behind with a coder of its own
    site.config += f"ProxyPass / {backend.url}/\n"
    site.start()
    ask = {"Accept-Encoding": "zstd, gzip"}
    for path, own in tags.items():
        answer = site.get(path, ask)
        assert (answer.status, answer.etag, answer.body) == (200, own, coded), answer
        not_modified(site.get(path, {**ask, "If-None-Match": own}), own)
        assert site.get(path, {**ask, "If-None-Match": '"v1"'}).status == 200
        assert site.get(path, {**ask, "If-Match": own}).status == 200
        assert site.get(path, {**ask, "If-Match": '"v1"'}).status == 412


def test_negotiated_codings_and_languages(new_httpd, etagd):
    """MultiViews and type-map: the tag is whole, and each variant's is that of its own bytes."""
    site = new_httpd(modules=["negotiation", "filter", "deflate"], etagd=etagd)
    site.add("en.html.en", BODY, mtime=time.time() - 86400)
    site.add("p.html.html", BODY, mtime=time.time() - 86400)
    packed = gzip.compress(BODY, mtime=0)
    site.add("p.html.gz", packed, mtime=time.time() - 86400)
    site.add("map.var", "URI: p.html.html\nContent-Type: text/html\n\n"
                        "URI: p.html.gz\nContent-Type: text/html\nContent-Encoding: x-gzip\n")
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions MultiViews\nAddEncoding x-gzip .gz\n"
                   "AddHandler type-map .var\n</Directory>\n")
    site.start()
    for target in ("/p.html", "/map.var"):
        plain = site.get(target, {"Accept-Encoding": "identity"})
        zipped = site.get(target, {"Accept-Encoding": "gzip, x-gzip"})
        assert (plain.body, zipped.body) == (BODY, packed) and zipped.header("Content-Encoding") in ("gzip", "x-gzip")
        assert plain.etag == tag() and OURS.match(zipped.etag) and zipped.etag != plain.etag
        for answer, accept in ((plain, "identity"), (zipped, "gzip, x-gzip")):
            ask = {"Accept-Encoding": accept}
            late = not_modified(site.get(target, {**ask, "If-None-Match": answer.etag}), answer.etag)
            assert late.header("Vary") == answer.header("Vary") and late.header("Content-Location") == answer.header(
                "Content-Location")
            part = site.get(target, {**ask, "Range": "bytes=0-9", "If-Range": answer.etag})
            assert (part.status, part.etag, part.body) == (206, answer.etag, answer.body[:10])
        assert site.get(target, {"Accept-Encoding": "identity", "If-None-Match": zipped.etag}).status == 200
        assert site.get(target, {"Accept-Encoding": "gzip, x-gzip", "If-None-Match": plain.etag}).status == 200


def test_coding_made_by_the_application(node):
    """A body that arrives coded is hashed as it is, its coding mixed in, without a suffix."""
    site = node(by_type("gzip"))
    packed = gzip.compress(BODY, mtime=0)
    where = machine.write(site.folder / "packed", packed)
    site.add("z.cgi", "#!/bin/sh\nprintf 'Content-Type: text/html\\r\\nContent-Encoding: gzip\\r\\n\\r\\n'\n"
                      f"cat {where}\n").chmod(0o755)
    own = content_tag(packed, "text/html", coding="gzip")
    answer = site.get("/z.cgi", {"Accept-Encoding": "gzip"})
    assert (answer.status, answer.etag, answer.body) == (200, own, packed), answer
    not_modified(site.get("/z.cgi", {"Accept-Encoding": "gzip", "If-None-Match": own}), own)


def test_precompressed_file(node):
    """p.html.gz by AddEncoding: bytes of a file, reproducible, ranged."""
    site = node("AddEncoding x-gzip .gz\nAddType text/html .gz\n")
    packed = gzip.compress(os.urandom(500), mtime=0)
    site.add("q.html.gz", packed)
    first = site.get("/q.html.gz")
    assert first.status == 200 and first.body == packed and OURS.match(first.etag), first
    wait_for(lambda: not_modified(site.get("/q.html.gz", {"If-None-Match": first.etag}), first.etag), "304")
    part = site.get("/q.html.gz", {"Range": "bytes=0-9", "If-Range": first.etag})
    assert (part.status, part.etag, part.body) == (206, first.etag, packed[:10]), part


def test_a_sealed_tag_through_an_internal_redirect(node):
    """What the application is shown in its place is shown to the redirect's target too; the 304 says what the client has."""
    site = node("SetOutputFilter DEFLATE\nLoadModule actions_module /usr/lib/apache2/modules/mod_actions.so\n"
                "Action made /made.cgi\n<Files *.made>\nSetHandler made\n</Files>\n")
    site.add("made.cgi", site.docs.joinpath("p.cgi").read_text().replace("$QUERY_STRING", "v1")).chmod(0o755)
    site.add("x.made", "")
    sealed = site.get("/x.made", {"Accept-Encoding": "gzip"}).etag
    assert sealed.startswith('"v1~') and sealed.endswith('-gzip"')
    not_modified(site.get("/x.made", {"Accept-Encoding": "gzip", "If-None-Match": sealed}), sealed)
    assert site.get("/x.made", {"If-None-Match": sealed}).status == 200


def test_tags_of_a_mod_etag_behind(node):
    """Told apart by suffix, as our own are."""
    site = node("SetOutputFilter DEFLATE\n")
    own = content_tag(b"x")
    target = f"/p.cgi?{own[1:-1]}"
    sent = own[:-1] + '-gzip"'
    assert site.get(target).etag == own
    coded(site.get(target, {"Accept-Encoding": "gzip"}), "gzip", sent)
    not_modified(site.get(target, {"Accept-Encoding": "gzip", "If-None-Match": sent}), sent)
    assert site.get(target, {"If-None-Match": sent}).status == 200
