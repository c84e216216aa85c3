# SPDX-License-Identifier: Apache-2.0
"""ETagSource generation: one tag on all nodes from one invalidation to the next, whatever the bytes are."""
import re
import threading

import pytest
from env import machine
from env.backend import answer, chunk
from env.generation import HOST, attached, configuration
from env.node import LOG
from env.process import wait_for

OURS = re.compile(r'^W/"g[A-Za-z0-9_-]{22}"$')
HTML = [("Content-Type", "text/html")]
PROXY = ["proxy", "proxy_http", "headers"]


class Pages:
    """Pages that are never byte-identical, from one application for all nodes."""

    def __init__(self, backend):
        self.backend, self.n = backend, 0

    def add(self, path="/p", headers=()):
        def page(request, send):
            self.n += 1
            send(answer(f"<p>page number {self.n}</p>\n" + 100 * "and so on ", HTML + list(headers), request=request))
            return True

        self.backend.routes[path] = page


class Cluster:
    def __init__(self, redis, daemons, nodes, backend):
        self.redis, self.daemons, self.nodes, self.backend = redis, daemons, nodes, backend
        self.pages = Pages(backend)
        self.pages.add()

    def forget(self, *fields):
        record = self.redis.cli("XADD", LOG, "*", *fields)
        for daemon in self.daemons:
            daemon.wait_info("applied", record)


@pytest.fixture
def make_cluster(redis, new_etagd, new_httpd, backend):
    def make(more="", nodes=3, modules=PROXY):
        daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(nodes)]
        servers = [new_httpd(configuration(backend, more), modules=modules, etagd=d).start() for d in daemons]
        for daemon in daemons:
            daemon.wait_info("state", "held", 15)
        for server in servers:
            wait_for(lambda s=server: attached(s), "every child to be attached")
        for daemon in daemons:
            daemon.wait_info("hosts", "1")
            daemon.wait_info("applied", lambda v: v == redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][0].decode())
        return Cluster(redis, daemons, servers, backend)

    return make


@pytest.fixture
def single(new_httpd, etagd, backend):
    """One node with the embedded store: (httpd, application)."""

    def start(more="", modules=PROXY):
        site = new_httpd(configuration(backend, more), modules=modules, etagd=etagd).start()
        pages = Pages(backend)
        pages.add()
        return site, pages

    return start


def forget(etagd, *fields):
    etagd.call("XADD", LOG, "*", *fields)


def tag_of(a):
    assert a.status == 200 and OURS.match(a.etag or ""), a
    return a.etag


def confirms(node, tag, target="/p", headers=None):
    a = node.get(target, {"If-None-Match": tag, **(headers or {})})
    assert a.status in (200, 304) and (a.status == 200 or a.etag == tag and a.body == b""), a
    return a.status == 304


# ---- all nodes ----

def test_a_race_of_first_requests_on_three_nodes(make_cluster):
    cluster = make_cluster()
    for operation in (None, ("url", f"{HOST}/p"), ("all", "1")):
        if operation:
            cluster.forget(*operation)
        start, got = threading.Barrier(20), []

        def one(i):
            start.wait()
            got.append(cluster.nodes[i % 3].get("/p"))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len({tag_of(a) for a in got}) == 1 and len(got) == 20
        assert len({a.body for a in got}) == 20, "the pages differ"
        for node in cluster.nodes:
            assert confirms(node, got[0].etag) and tag_of(node.get("/p")) == got[0].etag


def test_each_operation_ends_a_generation_everywhere(make_cluster):
    cluster = make_cluster()
    cluster.pages.add("/dir/p", [("Surrogate-Key", "product-42 catalog"), ("Cache-Groups", '"news desk"')])
    seen = set()
    for operation in (("url", f"{HOST}/dir/p"), ("prefix", f"{HOST}/dir/"), ("tag", "catalog"), ("tag", "product-42"),
                      ("group", f"{HOST} news desk"), ("host", HOST), ("all", "1"), ("typo", "x")):
        tag = tag_of(cluster.nodes[0].get("/dir/p"))
        assert tag not in seen
        seen.add(tag)
        assert all(confirms(n, tag, "/dir/p") for n in cluster.nodes)
        cluster.forget("tag", "somebody-elses")
        assert all(confirms(n, tag, "/dir/p") for n in cluster.nodes)
        cluster.forget(*operation)
        assert not any(confirms(n, tag, "/dir/p") for n in cluster.nodes), operation


def test_a_node_asks_once(make_cluster):
    """Then its table answers, through invalidations of other things too."""
    cluster = make_cluster(nodes=2)
    tag = tag_of(cluster.nodes[0].get("/p"))
    for node, daemon in zip(cluster.nodes, cluster.daemons):
        assert tag_of(node.get("/p")) == tag
        asked = daemon.info("Store")["name_asks"]
        for i in range(5):
            cluster.forget("url", f"{HOST}/other{i}")
            assert tag_of(node.get("/p")) == tag and confirms(node, tag)
        assert daemon.info("Store")["name_asks"] == asked == "1"


def test_early_on_another_node(make_cluster):
    cluster = make_cluster("ETagEarly On\n")
    tag = tag_of(cluster.nodes[0].get("/p"))

    def early(node):
        before = cluster.backend.count()
        assert confirms(node, tag)
        return cluster.backend.count() == before

    for node in cluster.nodes:
        wait_for(lambda n=node: early(n), "the tag to be known before the handler")
    cluster.forget("url", f"{HOST}/p")
    assert not any(confirms(n, tag) for n in cluster.nodes)


def test_a_late_label_is_not_missing_on_other_nodes(make_cluster):
    """A page gets one more label while other nodes hold its name without it."""
    cluster = make_cluster()
    cluster.pages.add("/p", [("Surrogate-Key", "a")])
    few = [tag_of(n.get("/p")) for n in cluster.nodes]
    assert len(set(few)) == 1
    cluster.pages.add("/p", [("Surrogate-Key", "b a")])
    many = tag_of(cluster.nodes[0].get("/p"))
    cluster.pages.add("/p", [("Surrogate-Key", "a b")])
    assert many == tag_of(cluster.nodes[1].get("/p")) != few[0]
    cluster.forget("tag", "b")
    for labels in ("a b", "a"):
        cluster.pages.add("/p", [("Surrogate-Key", labels)])
        assert not any(confirms(n, many) for n in cluster.nodes)


def test_another_epoch_another_tag(make_cluster):
    cluster = make_cluster(nodes=2)
    tag = tag_of(cluster.nodes[0].get("/p"))
    epoch = cluster.daemons[0].info("Store")["epoch"]
    cluster.redis.call("FLUSHALL")
    for daemon in cluster.daemons:
        daemon.wait_info("epoch", lambda e: e not in ("", epoch))
        daemon.wait_info("left_ms", lambda v: int(v) > 0, 15)
    new = wait_for(lambda: (a := cluster.nodes[1].get("/p")).etag, "a tag")
    assert new != tag and not any(confirms(n, tag) for n in cluster.nodes)


def test_without_redis_no_tag(make_cluster):
    cluster = make_cluster(nodes=1)
    node, daemon = cluster.nodes[0], cluster.daemons[0]
    node.expect_log("etagd")
    tag = tag_of(node.get("/p"))
    cluster.redis.kill()
    daemon.wait_info("left_ms", "0")
    a = node.get("/p", {"If-None-Match": tag})
    assert (a.status, a.etag) == (200, None) and a.body.startswith(b"<p>page")
    cluster.redis.start()
    daemon.wait_info("left_ms", lambda v: int(v) > 0, 15)
    wait_for(lambda: node.get("/p").etag, "a tag again")


def test_a_write_ends_the_generation(make_cluster):
    """Also where nothing is answered early: who has written must not get the old page confirmed, on any node."""
    cluster = make_cluster(nodes=2)
    tag = tag_of(cluster.nodes[0].get("/p"))
    assert confirms(cluster.nodes[1], tag)
    assert cluster.nodes[0].request("POST", "/p", body=b"x").status == 200
    assert not confirms(cluster.nodes[0], tag)
    wait_for(lambda: not confirms(cluster.nodes[1], tag), "the other node to know")


# ---- what was begun before an invalidation ----

@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("store", ["embedded", "redis"])
def test_begun_before_carries_neither_name(store, known, make_cluster, single, etagd, backend):
    """The slow page read its data before the invalidation; the name given after it is not its."""
    if store == "redis":
        cluster = make_cluster(nodes=2)
        node, other, tell = cluster.nodes[0], cluster.nodes[1], cluster.forget
    else:
        node, _ = single()
        other, tell = node, lambda *fields: forget(etagd, *fields)
    begun, go = threading.Event(), threading.Event()
    old = tag_of(node.get("/p")) if known else None

    def slow(request, send):
        begun.set()
        go.wait(10)
        send(answer(b"old content", HTML, request=request))
        return True

    fast = backend.routes["/p"]
    backend.routes["/p"] = slow
    late = []
    thread = threading.Thread(target=lambda: late.append(node.get("/p")))
    thread.start()
    assert begun.wait(10)
    backend.routes["/p"] = fast
    tell("url", f"{HOST}/p")
    new = tag_of(other.get("/p"))
    assert tag_of(node.get("/p")) == new, "its table holds it"
    go.set()
    thread.join()
    assert new != old and (late[0].status, late[0].etag, late[0].body) == (200, None, b"old content")
    if old:
        assert not confirms(node, old) and not confirms(other, old)
    assert tag_of(node.get("/p")) == new


# ---- kinds of responses (embedded store) ----

def test_bodies_that_cannot_be_held_back(single, backend):
    site, _ = single("ETagBufferLimit 1024\nETagBufferTime 1ms\n")
    parts = threading.Event()

    def stream(_request, send):
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(3):
            send(chunk(b"data: %d\n\n" % i))
        parts.wait(5)
        send(chunk(b"data: end\n\n") + b"0\r\n\r\n")
        return False

    backend.page("/long", b"x" * 200_000)
    backend.routes["/stream"] = stream
    parts.set()
    for path, length in (("/long", 200_000), ("/stream", 38)):
        a = site.get(path)
        assert len(a.body) == length, a
        assert tag_of(site.get(path)) == tag_of(a) and confirms(site, a.etag, path)


def test_head_is_as_get(single):
    site, _ = single()
    tag = tag_of(site.get("/p"))
    assert site.head("/p").etag == tag and site.head("/p", {"If-None-Match": tag}).status == 304
    other = site.head("/p?x")
    assert tag_of(other) == tag_of(site.get("/p?x")) != tag


def test_variants_differ(single, backend):
    """Two variants of one URL must not be confirmed by one tag."""
    site, _ = single()

    def page(request, send):
        send(answer(b"in " + (request.header("Accept-Language") or "-").encode(), HTML + [("Vary", "Accept-Language")],
                    request=request))
        return True

    backend.routes["/p"] = page
    tags = {}
    for language in ("de", "en"):
        a = site.get("/p", {"Accept-Language": language})
        assert a.body == b"in " + language.encode()
        tags[language] = tag_of(a)
        assert tag_of(site.get("/p", {"Accept-Language": language})) == a.etag
    assert tags["de"] != tags["en"]
    assert confirms(site, tags["de"], headers={"Accept-Language": "de"})
    assert not confirms(site, tags["de"], headers={"Accept-Language": "en"})


def test_what_varies_by_vary_once_seen(single, backend):
    """A response without Vary is one of the variants that others of the URL were seen to have (they were learned)."""
    site, _ = single("ETagEarly On\n")
    vary = HTML + [("Vary", "Accept-Language")]
    backend.page("/p", b"a page", vary)
    first = tag_of(site.get("/p", {"Accept-Language": "de"}))
    backend.page("/p", b"a page", HTML)
    assert tag_of(site.get("/p", {"Accept-Language": "de"})) == first
    assert tag_of(site.get("/p", {"Accept-Language": "en"})) != first


@pytest.mark.parametrize("headers,sent", [
    ([("Set-Cookie", "a=b")], {}), ([("Cache-Control", "private")], {}), ([("Cache-Control", "no-store")], {}),
    ([("Vary", "*")], {}), ([], {"Cookie": "session=1"}), ([], {"Authorization": "Basic eDp5"}),
], ids=str)
def test_what_may_be_one_clients_own_has_no_tag(single, headers, sent):
    """The next user of the same browser would get the former's page confirmed."""
    site, pages = single()
    pages.add("/own", headers)
    assert site.get("/own", sent).etag is None
    site.config = site.config.replace("ETagSource generation", "ETagSource generation digest")
    site.graceful()
    wait_for(lambda: (site.get("/own", sent).etag or "").startswith('"d'), "the next source")


def test_public_despite_credentials(single):
    site, pages = single()
    pages.add("/p", [("Cache-Control", "public, max-age=0")])
    tag = tag_of(site.get("/p", {"Cookie": "a=1"}))
    assert confirms(site, tag, headers={"Cookie": "a=2"})


def test_content_type_and_language_count(single, backend):
    site, _ = single()
    backend.page("/p", b"[]", [("Content-Type", "application/json")])
    json = tag_of(site.get("/p"))
    backend.page("/p", b"<x/>", [("Content-Type", "application/xml")])
    xml = tag_of(site.get("/p"))
    backend.page("/p", b"<x/>", [("Content-Type", "application/xml"), ("Content-Language", "de")])
    assert len({json, xml, tag_of(site.get("/p"))}) == 3


def test_weak_in_conditions(single, backend):
    """RFC 9110 13.1.1: a weak tag never matches If-Match; 14.2: nor If-Range."""
    site, _ = single()
    tag = tag_of(site.get("/p"))
    assert site.get("/p", {"If-Match": tag}).status == 412
    assert site.get("/p", {"If-Match": tag[2:]}).status == 412
    assert site.get("/p", {"Range": "bytes=0-3", "If-Range": tag}).status == 200
    before = backend.count()
    for condition in ("If-Match", "If-None-Match"):
        assert site.request("PUT", "/p", {condition: tag}, body=b"x").status == 412
    assert all(r.method == "GET" for r in backend.requests[before:])


def test_codings(single):
    site, _ = single("AddOutputFilterByType DEFLATE text/html\n", modules=PROXY + ["filter", "deflate"])
    gzip = {"Accept-Encoding": "gzip"}
    plain, coded = tag_of(site.get("/p")), site.get("/p", gzip)
    assert coded.header("Content-Encoding") == "gzip" and coded.etag == plain[:-1] + '-gzip"'
    assert confirms(site, coded.etag, headers=gzip) and not confirms(site, coded.etag)
    assert confirms(site, plain) and confirms(site, plain, headers=gzip)


def test_labels_of_the_server(single, etagd):
    """mod_headers' labels come after the tag was made: it is made anew."""
    site, _ = single('Header set Surrogate-Key "from-httpd"\nETagEarly On\n')
    tag = tag_of(site.get("/p"))
    assert tag_of(site.get("/p")) == tag and confirms(site, tag)
    forget(etagd, "tag", "from-httpd")
    assert not confirms(site, tag)
    assert tag_of(site.get("/p")) != tag


def test_a_cookie_set_by_the_server_takes_the_tag_off(single):
    site, _ = single('Header add Set-Cookie "a=b"\n')
    assert site.get("/p").etag is None


def test_secrets_and_salt(single, work):
    site, _ = single()
    seen = {tag_of(site.get("/p"))}
    secret = machine.write(work / "secret", "a secret of sixteen bytes\n", 0o600)
    for more in (f"ETagSecretFile {secret}\n", "ETagSalt s\n"):
        site.config = more + site.config
        site.graceful()
        wait_for(lambda: tag_of(site.get("/p")) not in seen, "another tag")
        tag = tag_of(site.get("/p"))
        assert confirms(site, tag)
        seen.add(tag)


def test_any_query(single, etagd):
    site, _ = single("ETagIgnoreQuery utm_source\n")
    tag = tag_of(site.get("/p?utm_source=a"))
    assert tag_of(site.get("/p?utm_source=b")) == tag
    forget(etagd, "url", f"{HOST}/p?utm_source=c")
    assert not confirms(site, tag, "/p?utm_source=a")


def test_included_pages(new_httpd, etagd):
    site = new_httpd(modules=["include"], etagd=etagd)
    site.config = f"ETagEngine On\nETagSource generation\nETagBaseURL http://{HOST}/\n<Directory {site.docs}>\n" \
                  "Options +Includes\nAddType text/html .shtml\nAddOutputFilter INCLUDES .shtml\n</Directory>\n"
    site.add("p.shtml", 'now: <!--#echo var="DATE_LOCAL" -->\n')
    site.add("f.txt", "a file\n")
    site.start()
    tag = tag_of(site.get("/p.shtml"))
    assert confirms(site, tag, "/p.shtml")
    assert site.get("/f.txt").etag.startswith('"d'), "a file that core serves has its digest"
    forget(etagd, "url", f"{HOST}/p.shtml")
    assert not confirms(site, tag, "/p.shtml")


def test_order_of_sources(single, backend, etagd):
    site, _ = single()
    backend.page("/own", b"a page", HTML + [("ETag", '"app-7"')])
    assert OURS.match(site.get("/own").etag)
    site.config = site.config.replace("ETagSource generation", "ETagSource upstream generation")
    site.graceful()
    wait_for(lambda: site.get("/own").etag == '"app-7"', "the application's own")
    assert OURS.match(site.get("/p").etag)


def test_etagd_away_next_source(single, etagd):
    site, _ = single("", modules=PROXY)
    site.config = site.config.replace("ETagSource generation", "ETagSource generation digest")
    site.graceful()
    site.expect_log("etagd")
    wait_for(lambda: OURS.match(site.get("/p").etag or ""), "a name")
    etagd.stop()
    wait_for(lambda: (site.get("/p").etag or "").startswith('"d'), "the digest in its place")


def test_detection_only_changes_nothing(single, backend, etagd):
    site, _ = single()
    site.config = site.config.replace("ETagEngine On", "ETagEngine DetectionOnly\nETagEarly On")
    site.graceful()
    wait_for(lambda: site.get("/p").etag is None, "the new configuration")
    asks = etagd.info("Store")["name_asks"]
    backend.page("/own", b"a page", HTML + [("ETag", '"app-7"')])
    a = site.get("/own", {"If-None-Match": '"x"'})
    assert (a.status, a.etag, a.body) == (200, '"app-7"', b"a page")
    assert site.get("/p").etag is None and etagd.info("Store")["name_asks"] == asks


def test_half_a_page_is_not_learned(single, backend):
    site, _ = single("ETagEarly On\n")
    backend.raw("/broken", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nhalf")
    site.expect_log("proxy")
    with pytest.raises(Exception):
        site.get("/broken")
    backend.page("/broken", b"whole")
    tag = tag_of(site.get("/broken"))
    before = backend.count("/broken")
    assert confirms(site, tag, "/broken") and backend.count("/broken") in (before, before + 1)


def test_a_life_is_over_for_all_that_was_learned(single, backend, etagd):
    """ETagTTL counts from when the name was given: a page that was learned later may be younger than the client's."""
    site, _ = single("ETagEarly On\nETagTTL 3s\n")
    key = f"http://{HOST}/p#g"

    def describe():
        pairs = etagd.call("ETAG", "GET", key)
        return {pairs[i].decode(): pairs[i + 1].decode() for i in range(0, len(pairs), 2)}

    tag = tag_of(site.head("/p"))  # which teaches nothing
    wait_for(lambda: describe()["expires-in"] == "1", "half of its life to be over")
    assert tag_of(site.get("/p")) == tag
    before = backend.count("/p")
    assert confirms(site, tag) and backend.count("/p") == before
    wait_for(lambda: describe()["state"] == "expired", "its end")
    assert not confirms(site, tag)
