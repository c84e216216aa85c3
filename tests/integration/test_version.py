# SPDX-License-Identifier: Apache-2.0
"""Named versions (ETagVersion with etag_version()): told in the log, known on every node, used before the handler."""
import threading

import pytest
from env import machine
from env.backend import answer
from env.node import LOG
from env.process import wait_for
from env.versions import (HOST, JSON, OURS, PROXY, VERSION, Page, configuration, early, every, make, tag_of, untagged)

TWO = 'ETagVersion "expr=%{etag_version:Patient}/%{etag_version:Encounter}"\n'


@pytest.fixture
def cluster(redis, new_etagd, new_httpd, backend):
    def start(nodes=3, modules=PROXY, **how):
        daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(nodes)]
        sites = [new_httpd(configuration(backend, **how), modules=modules, etagd=d).start() for d in daemons]
        return make(redis, daemons, sites, backend)

    return start


@pytest.fixture
def single(new_httpd, etagd, backend):
    """One node with the embedded store: (httpd, page)."""

    def start(modules=PROXY, **how):
        return new_httpd(configuration(backend, **how), modules=modules, etagd=etagd).start(), Page(backend)

    return start


def tell(etagd, *versions):
    etagd.call("XADD", LOG, "*", *[f for v in versions for f in ("version", v)])


def described(pairs):
    return pairs and {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}


def version(daemon, name):
    """ETAG VERSION, None when nothing is known."""
    return described(daemon.call("ETAG", "VERSION", name))


def table(daemon, key):
    return described(daemon.call("ETAG", "GET", key))


# ---- all nodes ----

def test_told_once_known_everywhere(cluster):
    c = cluster()
    assert all(untagged(n.get("/p")) for n in c.nodes), "nobody has told a version"
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(c, tag) and {tag_of(n.get("/p")) for n in c.nodes} == {tag}
    c.page.row = "two"
    c.tell("Patient 8124")
    for node in c.nodes:
        assert not early(node, c.page, tag)
        assert node.get("/p", {"If-None-Match": tag}).body == b'{"row": "two"}'
    new = tag_of(c.nodes[1].get("/p"))
    # What a 304 repeats was learned with the first version: the second one needs nothing of any store.
    asked = c.page.asked()
    assert new != tag and all(early(n, c.page, new) for n in c.nodes) and c.page.asked() == asked


def test_a_304_repeats_what_the_200_said(cluster):
    c = cluster(nodes=2)
    c.page.headers += [("Vary", "Accept-Language"), ("Content-Location", "/p.json")]
    c.tell("Patient 1")
    full = c.nodes[0].get("/p")
    assert every(c, full.etag)
    c.tell("Patient 2")
    tag = tag_of(c.nodes[0].get("/p"))
    for node in c.nodes:
        a = node.get("/p", {"If-None-Match": tag})
        assert a.status == 304 and early(node, c.page, tag)
        for name in ("Cache-Control", "Vary", "Content-Location"):
            assert a.header(name) == full.header(name) is not None
        assert a.header("Content-Type") is None


def test_several_names_make_one_tag(cluster):
    c = cluster(nodes=2, version=TWO)
    c.tell("Patient 8123")
    assert all(untagged(n.get("/p")) for n in c.nodes), "one name of two is unknown"
    c.tell("Encounter 17")
    seen = set()
    for told in (("Patient 8124",), ("Encounter 18",), ("Patient 8125", "Encounter 19")):
        tag = tag_of(c.nodes[0].get("/p"))
        assert tag not in seen and every(c, tag)
        seen.add(tag)
        c.tell("Organization 1")
        assert all(early(n, c.page, tag) for n in c.nodes), "somebody else's version"
        c.tell(*told)
        assert not any(early(n, c.page, tag) for n in c.nodes)


def test_other_expressions_join(cluster):
    """A timestamp, a header that selects, a release of the server: all before the handler."""
    c = cluster(nodes=2, modules=PROXY + ["env"], more='SetEnv release 7\nETagVary x-tenant\n',
                version='ETagVersion "expr=etag_version(\'Patient\') %{req:X-Tenant}@%{TIME_YEAR} %{reqenv:release}"\n')
    c.tell("Patient 2026-11-24 21:13:05+00")
    full = c.nodes[0].get("/p", {"X-Tenant": "a"})
    one, two = tag_of(full), tag_of(c.nodes[0].get("/p", {"X-Tenant": "b"}))
    assert one != two and full.header("Vary") is None, "reading a header in an expression is no word to caches"
    for node in c.nodes:
        wait_for(lambda n=node: early(n, c.page, one, {"X-Tenant": "a"}), "early for one tenant")
        assert not early(node, c.page, one, {"X-Tenant": "b"})
    c.tell("Patient 2026-11-24 21:14:00+00")
    assert not any(early(n, c.page, one, {"X-Tenant": "a"}) for n in c.nodes)


def test_the_same_version_the_same_tag_whatever_else_is_forgotten(cluster):
    """The version is the producer's word: what is learned may go, the tag stays."""
    c = cluster(nodes=2)
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    for operation in (("url", f"{HOST}/p"), ("host", HOST), ("version", "Patient 8123")):
        assert every(c, tag)
        record = c.redis.cli("XADD", LOG, "*", *operation)
        for daemon in c.daemons:
            daemon.wait_info("applied", record)
        asked = c.page.asked()
        assert c.nodes[0].get("/p", {"If-None-Match": tag}).status == 304
        assert c.page.asked() == asked + (operation[0] != "version")
        assert tag_of(c.nodes[1].get("/p")) == tag


@pytest.mark.parametrize("record", [("all", "1"), ("version", "Patient"), ("version", "Patient  8124"),
                                    ("versoin", "Patient 8124")])
def test_all_and_what_counts_as_all_forgets_versions(cluster, record):
    """Also a version that cannot be read: something has changed, but what is not known."""
    c = cluster(nodes=2)
    c.tell("Patient 8123", "Encounter 1")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(c, tag)
    applied = c.redis.cli("XADD", LOG, "*", *record)
    for daemon in c.daemons:
        daemon.wait_info("applied", applied)
        assert daemon.info("Versions")["versions"] == "0" and version(daemon, "Patient") is None
        if record[0] != "all":
            assert f"record {applied} forgets everything" in daemon.tail()
    assert all(untagged(n.get("/p", {"If-None-Match": tag})) for n in c.nodes)
    c.tell("Patient 8123")
    assert every(c, tag), "told again, the same version has the same tag"


def test_all_and_a_version_in_one_record(cluster):
    c = cluster(nodes=2)
    c.tell("Patient 1", "Encounter 1")
    c.tell("Patient 2", more=("all", "1"))
    for daemon in c.daemons:
        assert version(daemon, "Patient")["value"] == "2" and version(daemon, "Encounter") is None


def test_what_goes_back_is_unknown(cluster):
    """Told twice and out of order: nobody can tell which value is present, so none is."""
    c = cluster(nodes=2)
    c.tell("Patient 8123")
    old = tag_of(c.nodes[0].get("/p"))
    c.page.row = "two"
    c.tell("Patient 8124")
    c.tell("Patient 8123")
    for node, daemon in zip(c.nodes, c.daemons):
        assert untagged(node.get("/p", {"If-None-Match": old}))
        assert daemon.info("Versions")["versions_doubted"] == "1"
        assert version(daemon, "Patient")["state"] == "in doubt"
        assert 'version Patient: "8123" was told before' in daemon.tail()
    c.tell("Patient 8125")
    assert every(c, tag_of(c.nodes[1].get("/p")))


def test_people_can_ask(cluster):
    c = cluster(nodes=2)
    assert version(c.daemons[0], "Patient") is None
    first = c.tell("Patient 8123")
    for daemon in c.daemons:
        assert version(daemon, "Patient") == {"state": "known", "value": "8123", "told": first}
        seen = daemon.info("Versions")
        assert (seen["versions"], seen["versions_told"]) == ("1", "1")
    answer_of = c.daemons[0].call
    with pytest.raises(Exception, match="a version is told to the log itself"):
        answer_of("ETAG", "INVALIDATE", "tag", "x", "version", "Patient 9")
    assert version(c.daemons[0], "Patient")["value"] == "8123"


def test_different_tags_for_one_version_are_counted(cluster, backend):
    """Two nodes' applications agree on the version, and not on what it is the version of."""
    c = cluster(nodes=2)
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    c.page.headers[0] = ("Content-Type", "text/html")
    other = tag_of(c.nodes[1].get("/p"))
    assert other != tag
    for daemon in c.daemons:
        wait_for(lambda d=daemon: not any(early(n, c.page, t) for n in c.nodes for t in (tag, other)), "no early answer")
    assert sum(int(d.info("Versions")["version_conflicts"]) for d in c.daemons) >= 1
    assert sum(d.tail().count("entity-tags that differ by more than the version") for d in c.daemons) == 1


# ---- before the handler, and never later (embedded store) ----

def test_evaluated_before_the_handler(single, etagd, backend):
    """A slow page has read the old row; the version told meanwhile is not its."""
    site, page = single()
    tell(etagd, "Patient 1")
    before = tag_of(site.get("/p"))
    begun, go, late = threading.Event(), threading.Event(), []

    def slow(request, send):
        begun.set()
        go.wait(10)
        send(answer('{"row": "one"}', JSON, request=request))
        return True

    backend.routes["/p"] = slow
    thread = threading.Thread(target=lambda: late.append(site.get("/p")))
    thread.start()
    assert begun.wait(10)
    backend.routes["/p"] = page.serve
    page.row = "two"
    tell(etagd, "Patient 2")
    go.set()
    thread.join()
    assert late[0].etag == before and late[0].body == b'{"row": "one"}'
    assert site.get("/p", {"If-None-Match": before}).body == b'{"row": "two"}'


def test_a_version_that_the_table_has_lost_is_put_back(single, etagd):
    """The table may forget; what was told is not learned again by any request."""
    site, page = single()
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    etagd.call("ETAG", "HOSTS", "a.example", "b.example", "b.example", HOST)  # another name of the site: a flush
    assert table(etagd, "=Patient")["state"] == "invalidated" and version(etagd, "Patient")["value"] == "1"
    assert tag_of(site.get("/p")) == tag and early(site, page, tag)
    assert table(etagd, "=Patient")["state"] == "hit"


@pytest.mark.parametrize("headers, sent", [
    ([("Set-Cookie", "a=b")], {}), ([("Cache-Control", "private")], {}), ([("Cache-Control", "no-store")], {}),
    ([("Vary", "*")], {}), ([("ETag-Cache-Control", "no-store")], {}), ([], {"Cookie": "session=1"}), ([], {"Authorization": "Basic eDp5"}),
    ([], {"X-Api-Key": "k"}), ([("Access-Control-Allow-Origin", "https://a.example")], {"Origin": "https://a.example"}),
], ids=str)
def test_what_may_be_one_clients_own_has_no_tag(single, etagd, headers, sent):
    """The next user of the same browser would get the former's page confirmed: section 6's rules hold for versions."""
    site, page = single(source="version digest")
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    page.headers = JSON[:1] + list(headers) if headers else JSON
    own = site.get("/p", sent)
    assert own.status == 200 and own.etag.startswith('"d')
    if not headers:
        assert not early(site, page, tag, sent)
    assert not early(site, page, own.etag, sent)


def test_public_despite_credentials(single, etagd):
    site, page = single()
    page.headers = JSON[:1] + [("Cache-Control", "public, max-age=0")]
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p", {"Authorization": "Basic eDp5"}))
    asked = page.asked()
    assert site.get("/p", {"If-None-Match": tag, "Authorization": "Basic eDp5"}).status == 304
    assert page.asked() == asked + 1, "credentials are never answered early"
    assert early(site, page, tag)


def test_variants_differ(single, etagd, backend):
    site, page = single()

    def serve(request, send):
        send(answer(request.header("Accept-Language") or "-", JSON + [("Vary", "Accept-Language")], request=request))
        return True

    backend.routes["/p"] = serve
    tell(etagd, "Patient 1")
    tags = {l: tag_of(site.get("/p", {"Accept-Language": l})) for l in ("de", "en")}
    assert len(set(tags.values())) == 2
    for l in tags:
        site.get("/p", {"Accept-Language": l})
        for m in tags:
            assert early(site, page, tags[m], {"Accept-Language": l}) == (l == m)


def test_urls_differ_and_methods(single, etagd, backend):
    site, page = single()
    other = Page(backend, "/q")
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    assert tag_of(site.get("/q")) != tag != tag_of(site.get("/p?x"))
    assert early(site, other, tag) is False
    assert site.head("/p").etag == tag and site.head("/p", {"If-None-Match": tag}).status == 304
    asked = page.asked()
    assert site.get("/p", {"If-None-Match": tag, "Cache-Control": "no-cache"}).status == 304
    assert page.asked() == asked + 1
    page.row = None
    backend.page("/p", "gone", status=404)
    assert site.get("/p", {"Cache-Control": "no-cache"}).etag is None


def test_writes(single, etagd, backend):
    """A weak tag never satisfies If-Match; If-None-Match that names a version's is refused: whether that is the present one
    is known to a GET alone."""
    site, page = single(source="version digest")
    strong = site.get("/p").etag
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    before = backend.count()
    for condition in ("If-Match", "If-None-Match"):
        assert site.request("PUT", "/p", {condition: tag}, body=b"x").status == 412
    assert all(r.method == "GET" for r in backend.requests[before:])
    tell(etagd, "Patient 2")
    assert site.request("PUT", "/p", {"If-None-Match": tag}, body=b"x").status == 412
    # The tag of the bytes, from when the version was unknown, is as true as before.
    assert strong.startswith('"d') and site.request("PUT", "/p", {"If-Match": strong}, body=b"x").status == 200
    page.row = "two"
    assert site.request("PUT", "/p", {"If-Match": strong}, body=b"x").status == 412


def test_codings(single, etagd):
    site, page = single(more="AddOutputFilterByType DEFLATE application/json\n", modules=PROXY + ["filter", "deflate"])
    page.row = 200 * "long "
    gzip = {"Accept-Encoding": "gzip"}
    tell(etagd, "Patient 1")
    plain, coded = tag_of(site.get("/p")), site.get("/p", gzip)
    assert coded.header("Content-Encoding") == "gzip" and coded.etag == plain[:-1] + '-gzip"'
    assert early(site, page, coded.etag, gzip) and not early(site, page, coded.etag)
    assert early(site, page, plain) and early(site, page, plain, gzip)


def test_what_the_server_adds_later(single, etagd):
    """mod_headers' Vary comes after the tag was made: it is made anew; its cookie takes the tag off."""
    site, page = single(more="Header append Vary X-Tenant\n")
    tell(etagd, "Patient 1")
    one, two = (tag_of(site.get("/p", {"X-Tenant": t})) for t in ("a", "b"))
    assert one != two and early(site, page, one, {"X-Tenant": "a"}) and not early(site, page, one, {"X-Tenant": "b"})
    site.config = 'Header add Set-Cookie "a=b"\n' + site.config
    site.graceful()
    wait_for(lambda: site.get("/p").etag is None, "no tag")


def test_secrets_and_salt(single, etagd, work):
    site, page = single()
    tell(etagd, "Patient 1")
    seen = {tag_of(site.get("/p"))}
    secret = machine.write(work / "secret", "a secret of sixteen bytes\n", 0o600)
    for more in (f"ETagSecretFile {secret}\n", "ETagSalt s\n"):
        site.config = more + site.config
        site.graceful()
        wait_for(lambda: tag_of(site.get("/p")) not in seen, "another tag")
        tag = tag_of(site.get("/p"))
        assert early(site, page, tag)
        seen.add(tag)


def test_order_of_sources(single, etagd):
    """The first that applies: upstream where the application has a tag, the digest where the version is unknown."""
    site, page = single(source="upstream version digest")
    assert site.get("/p").etag.startswith('"d')
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    page.headers = JSON + [("ETag", '"app-7"')]
    assert site.get("/p").etag == '"app-7"'
    page.headers = JSON
    assert tag_of(site.get("/p")) == tag


def test_another_expression_another_tag(single, etagd):
    site, page = single()
    tell(etagd, "Patient 1", "Encounter 1")
    tag = tag_of(site.get("/p"))
    site.config = site.config.replace(VERSION, TWO)
    site.graceful()
    wait_for(lambda: site.get("/p").etag != tag, "the other expression")
    assert not early(site, page, tag)


def test_without_etagd_a_name_is_unknown(new_httpd, new_etagd, backend):
    """An expression that names no version needs no daemon."""
    etagd = new_etagd().start()
    site = new_httpd(configuration(backend), modules=PROXY, etagd=etagd).start()
    page = Page(backend)
    tell(etagd, "Patient 1")
    tag = wait_for(lambda: site.get("/p").etag, "a tag")
    site.expect_log("etagd")
    etagd.stop()
    assert untagged(site.get("/p", {"If-None-Match": tag}))
    site.config = site.config.replace(VERSION, 'ETagVersion "expr=7"\n')
    site.graceful()
    fixed = wait_for(lambda: site.get("/p").etag, "a tag")
    asked = page.asked()
    assert site.get("/p", {"If-None-Match": fixed}).status == 304 and page.asked() == asked + 1


def test_included_pages(new_httpd, etagd):
    """What a filter makes of a file has the version's tag; the file itself has its digest."""
    site = new_httpd(modules=["include"], etagd=etagd)
    site.config = f"ETagEngine On\nETagSource version\n{VERSION}ETagBaseURL http://{HOST}/\n<Directory {site.docs}>\n" \
                  "Options +Includes\nAddType text/html .shtml\nAddOutputFilter INCLUDES .shtml\n</Directory>\n"
    site.add("p.shtml", 'now: <!--#echo var="DATE_LOCAL" -->\n')
    site.add("f.txt", "a file\n")
    site.start()
    tell(etagd, "Patient 1")
    tag = wait_for(lambda: site.get("/p.shtml").etag, "a tag")
    assert OURS.match(tag) and site.get("/p.shtml", {"If-None-Match": tag}).status == 304
    assert site.get("/f.txt").etag.startswith('"d')
    tell(etagd, "Patient 2")
    assert site.get("/p.shtml", {"If-None-Match": tag}).status == 200


def test_where_an_internal_redirect_ends(new_httpd, etagd):
    """DirectoryIndex: the version of the resource that answers, under the URL that was asked for."""
    site = new_httpd(modules=["cgid", "dir"], etagd=etagd)
    site.config = f"ETagEngine On\nETagSource version\n{VERSION}ETagBaseURL http://{HOST}/\nDirectoryIndex index.cgi\n" \
                  f"<Directory {site.docs}>\nOptions +ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n"
    machine.write(site.docs / "index.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n", 0o755)
    site.start()
    tell(etagd, "Patient 1")
    tag = wait_for(lambda: site.get("/").etag, "a tag")
    assert OURS.match(tag) and site.get("/", {"If-None-Match": tag}).status == 304
    tell(etagd, "Patient 2")
    assert site.get("/", {"If-None-Match": tag}).status == 200


def test_detection_only_tells_and_changes_nothing(single, etagd):
    site, page = single()
    tell(etagd, "Patient 1")
    tag = tag_of(site.get("/p"))
    site.config = site.config.replace("ETagEngine On", "ETagEngine DetectionOnly").replace(
        VERSION, 'ETagVersion "expr=%{etag_version:Patient} %{req:X-Tenant}"\n')
    site.graceful()
    wait_for(lambda: site.get("/p").etag is None, "the engine to only look on")
    a = site.get("/p", {"If-None-Match": tag})
    assert (a.status, a.etag, a.header("Vary")) == (200, None, None)


def test_not_elsewhere(single, etagd):
    """In other directives' expressions the function is the empty text."""
    site, _ = single(more='Header set X-Version "expr=<%{etag_version:Patient}>"\n')
    tell(etagd, "Patient 1")
    assert site.get("/p").header("X-Version") == "<>"
