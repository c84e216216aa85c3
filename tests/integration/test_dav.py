# SPDX-License-Identifier: Apache-2.0
"""mod_dav with mod_dav_fs: tags of GET and tags of PROPFIND both guard a write."""
import re
import time

import pytest
from env import machine
from env.etagd import Etagd
from env.httpd import Httpd
from env.tags import content_tag

OLD = '"d' + "A" * 22 + '"'
PROPFIND = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
LOCK = (b'<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>'
        b'<locktype><write/></locktype></lockinfo>')


@pytest.fixture(scope="module")
def sites(shared_servers):
    """(ours, stock) with one configuration."""
    made = []
    for own in (True, False):
        site = shared_servers(Httpd, modules=["dav", "dav_fs", "deflate", "filter"], own=own,
                              etagd=shared_servers(Etagd).start() if own else None)
        site.docs.chmod(0o777)
        site.config = ("ETagEngine On\n" if own else "") + (
            f"DavLockDB {site.folder}/lock\n<Location />\nDav On\nRequire all granted\n</Location>\n"
            "<Location /digest/>\nFileETag Digest\n</Location>\n<Location /none/>\nFileETag None\n</Location>\n"
            "AddOutputFilterByType DEFLATE text/html\n")
        for folder in ("digest", "none"):
            machine.own_folder(site.docs, folder)
        site.expect_log(r"\[dav|AH0054[01]: XML [Pp]arser")  # mod_dav tells each refusal as an error
        made.append(site.start())
    return made


@pytest.fixture
def dav(sites):
    return sites[0]


class File:
    """A new file of the server, and what there is to know of it."""

    counter = 0

    def __init__(self, site, folder="", content=b"one", suffix="txt"):
        File.counter += 1
        self.site, self.target = site, f"/{folder}f{File.counter}.{suffix}"
        self.path = site.add(self.target, content, mtime=time.time() - 86400)

    @property
    def getetag(self):
        found = re.search(r"getetag>([^<]*)<", self.site.request("PROPFIND", self.target, {"Depth": "0"}, PROPFIND).body.decode())
        return found and found.group(1).replace("&quot;", '"')

    def get(self):
        return self.site.get(self.target)

    def put(self, body, **fields):
        return self.site.request("PUT", self.target, {k.replace("_", "-"): v for k, v in fields.items()}, body).status


def test_either_tag_guards_a_write(dav):
    for guard in ("If_Match", "If"):
        for kind in ("etag", "getetag"):
            f = File(dav)
            tag = f.get().etag if kind == "etag" else f.getetag
            old = tag
            value = (lambda t: t) if guard == "If_Match" else (lambda t: f"([{t}])")
            assert f.put(b"no", **{guard: value(OLD)}) == 412 and f.get().body == b"one"
            assert f.put(b"two", **{guard: value(tag)}) == 204, (guard, kind)
            assert f.get().body == b"two"
            assert f.put(b"no", **{guard: value(old)}) == 412 and f.get().body == b"two"


@pytest.mark.parametrize("field, status", [
    ("([{tag}])", 204), ("([{old}])", 412), ("([W/{old}])", 412), ("([{old}]) ([{tag}])", 204), ("([{old}][{tag}])", 412),
    ("(Not [{tag}])", 412), ("(Not [{old}])", 204), ("(Not [{old}] [{tag}])", 204), ("([{core}])", 204),
    ("([{core}][{tag}])", 204), ("<{url}> ([{tag}])", 204), ("<{url}> ([{old}])", 412), ("</other> ([{old}])", 204),
    ("</other> ([{tag}])", 204), ("<{url}> ([{old}]) </other> ([{tag}])", 412), ("([{tag}]", 400), ("([{tag})", 400),
    ("([{tag}]) x", 400), ("(<urn:x>[{tag}])", 412), ("<http://[> ([{tag}])", 400), ("", 204)])
def test_the_if_field(dav, sites, field, status):
    """Ours, with the tag of GET, answers what stock answers to its own."""
    for site in sites:
        f = File(site)
        known = {"tag": f.get().etag, "old": OLD, "core": f.getetag, "url": site.url(f.target)}
        assert f.put(b"two", If=field.format(**known)) == status, (field, site is dav)
        assert f.get().body == (b"two" if status == 204 else b"one")


@pytest.mark.parametrize("why", ["mod_dav has no tag", "not hashed yet", "a handler's page"])
def test_not_where_mod_dav_could_not_be_told(dav, new_httpd, why):
    """Who names the present content behind Not is refused, also where mod_dav would not find it equal."""
    if why == "mod_dav has no tag":
        f = File(dav, "none/")
    else:
        site = new_httpd(modules=["dav", "dav_fs"])
        site.docs.chmod(0o777)
        site.expect_log(r"\[dav")
        site.start(f"ETagEngine On\nETagDaemon {site.folder}/none\nETagInlineLimit 2\nDavLockDB {site.folder}/lock\n"
                   "<Location />\nDav On\nRequire all granted\n</Location>\n"
                   + ("<Files *.txt>\nSetHandler made\n</Files>\n" if why != "not hashed yet" else ""))
        f = File(site)
        site.expect_log("without etagd")
    tag = content_tag(b"one", "text/plain")
    for field in ("(Not [{tag}])", "([{old}]) (not[{tag}])", "([{old}]) (Not [{tag}])", "(Not\t[{old}] Not  [{tag}])"):
        assert f.put(b"no", If=field.format(tag=tag, old=OLD)) in (400, 412), field
        assert f.path.read_bytes() == b"one"
    fresh = f.target + ".new"
    assert f.site.request("PUT", fresh, {"If": f"(Not [{tag}])"}, b"two").status == 201, "nothing is there yet"


def test_the_absolute_form(dav):
    f = File(dav)
    target, tag = f"http://{dav.host}{f.target}", f.get().etag
    assert dav.request("PUT", target, {"If": f"([{OLD}])"}, b"x").status == 412
    assert dav.request("PUT", target, {"If": f"([{tag}])"}, b"two").status == 204
    assert f.get().body == b"two"


def test_who_received_gzip_holds_the_tag(dav):
    f = File(dav, content=b"<p>long enough</p>" * 50, suffix="html")
    tag = dav.get(f.target, {"Accept-Encoding": "gzip"}).etag
    assert tag.endswith('-gzip"') and f.put(b"no", If=f"([{tag[:-1]}x\"])") == 412
    assert f.put(b"two", If=f"([{tag}])") == 204


@pytest.mark.parametrize("folder", ["", "digest/", "none/"])
def test_propfind_and_get(sites, folder):
    """getetag is core's FileETag, as in stock; with Digest it agrees between nodes, as GET's tag always does."""
    pair = [File(site, folder) for site in sites]
    assert pair[0].get().etag == content_tag(b"one", "text/plain")
    shown = [f.getetag for f in pair]
    assert bool(shown[0]) == bool(shown[1]) == (folder != "none/")
    if folder == "digest/":
        assert shown[0] == shown[1] == pair[1].get().etag
    elif not folder:
        assert shown[1] == pair[1].get().etag


def test_signed_tags(new_httpd, etagd):
    """A signature is over the URL, the port of which a subrequest does not inherit."""
    site = new_httpd(modules=["dav", "dav_fs"], etagd=etagd)
    site.docs.chmod(0o777)
    secret = machine.write(site.folder / "secret", "a secret of enough bytes 0123456\n", 0o400)
    site.start(f"ETagEngine On\nETagSecretFile {secret}\nDavLockDB {site.folder}/lock\n<Location />\nDav On\n</Location>\n")
    site.expect_log(r"\[dav")
    f = File(site)
    for host in (site.host, f"{site.host}:{site.port}"):
        tag = site.get(f.target, host=host).etag
        for field in (f"([{tag}])", f"<{site.url(f.target)}> ([{tag}])"):
            assert site.request("PUT", f.target, {"If": field}, b"one", host=host).status == 204, (host, field)
            assert site.request("PUT", f.target, {"If": f"([{content_tag(b'one', 'text/plain')}])"}, b"no", host=host).status == 412


def test_locks(dav):
    f = File(dav)
    tag = f.get().etag
    locked = dav.request("LOCK", f.target, {"Depth": "0"}, LOCK)
    token = locked.header("Lock-Token")
    assert locked.status == 200 and token and locked.etag is None
    assert f.put(b"no", If_Match=tag) == 423
    assert f.put(b"no", If=f"({token}[{OLD}])") == 412
    assert f.get().body == b"one"
    assert f.put(b"two", If=f"({token}[{tag}])") == 204
    assert f.put(b"no", If=f"({token}[{tag}])") == 412
    assert dav.request("LOCK", f.target, {"If": f"({token})"}).status == 200
    assert dav.request("UNLOCK", f.target, {"Lock-Token": token}).status == 204
    assert f.put(b"three", If_Match=f.get().etag) == 204


def test_lists_about_the_destination(sites):
    """A tagged list is about the resource that it names: over a file that changed meanwhile nothing is copied."""
    for site in sites:
        for fields, status in (("<{b}> ([{b_tag}])", 204), ("<{b}> ([{a_tag}])", 412), ("<{b}> ([{old}])", 412),
                               ("<{a}> ([{a_tag}]) <{b}> ([{b_tag}])", 204), ("<{a}> ([{b_tag}])", 412)):
            a, b = File(site, content=b"one"), File(site, content=b"another")
            known = {"a": site.url(a.target), "b": site.url(b.target), "a_tag": a.get().etag, "b_tag": b.get().etag, "old": OLD}
            got = site.request("COPY", a.target, {"Destination": site.url(b.target), "If": fields.format(**known),
                                                  "Host": f"127.0.0.1:{site.port}"})
            assert got.status == status, (fields, site is sites[0], got)
            assert b.get().body == (b"one" if status == 204 else b"another")


def shape(answer):
    drop = ("date", "server", "lock-token", "etag", "last-modified")
    return answer.status, [(n, v) for n, v in answer.headers if n.lower() not in drop]


@pytest.mark.parametrize("method, fields, body", [
    ("PUT", {}, b"x"), ("PUT", {"If-None-Match": "*"}, b"x"), ("PROPFIND", {"Depth": "0"}, PROPFIND), ("OPTIONS", {}, b""),
    ("LOCK", {"Depth": "0"}, LOCK), ("UNLOCK", {"Lock-Token": "<opaquelocktoken:x>"}, b""), ("MKCOL", {}, b""),
    ("PROPPATCH", {}, PROPFIND), ("DELETE", {}, b""), ("GET", {}, b""), ("HEAD", {}, b"")])
def test_answers_are_those_of_stock(sites, method, fields, body):
    """For a file that is there, and for one that is not; only the tag of GET is another."""
    for there in (True, False):
        answers = []
        for site in sites:
            f = File(site)
            if not there:
                f.path.unlink()
            host = {"Host": "www.example.com"}  # pages of errors and Location name it
            answers.append(site.request(method, f.target, {**fields, **host}, body))
        ours, stock = [(s, re.sub(r"f\d+\.txt", "f.txt", str(h))) for s, h in map(shape, answers)]
        assert ours == stock, method
        if method not in ("GET", "HEAD"):
            assert answers[0].all("ETag") == answers[1].all("ETag")
