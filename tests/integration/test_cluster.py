# SPDX-License-Identifier: Apache-2.0
"""Three nodes, three etagd, one Redis: learned by one, known to all, forgotten by all."""
import time

import pytest
from env.node import Watch
from env.process import wait_for
from env.tags import content_tag

PAGE = b"<p>a page of the application</p>\n"
NEW = b"<p>changed</p>\n"
HTML = [("Content-Type", "text/html")]
HOST = "www.example.com"
LEASE = 2.0


def tag(body):
    return content_tag(body, "text/html")


class Cluster:
    def __init__(self, redis, nodes, daemons, backend):
        self.redis, self.nodes, self.daemons, self.backend = redis, nodes, daemons, backend

    def is_early(self, node, body=PAGE, target="/p"):
        """A 304 for this body's tag that the application does not see."""
        before = self.backend.count()
        a = node.get(target, {"If-None-Match": tag(body)})
        assert (a.status, a.etag, a.body) == (304, tag(body), b""), a
        return self.backend.count() == before

    def learn(self, body=PAGE, target="/p"):
        """One node makes the response, all three answer early."""
        a = self.nodes[0].get(target)
        assert (a.status, a.etag, a.body) == (200, tag(body), body), a
        for node in self.nodes:
            wait_for(lambda n=node: self.is_early(n, body, target), f"{target} to be known to {node.folder.name}")

    def leases(self):
        for daemon in self.daemons:
            daemon.wait_info("state", "held", 15)

    def confirms(self, node, body, target="/p"):
        """Whether node still says 304 to the tag of body; otherwise it must send what is current now."""
        a = node.get(target, {"If-None-Match": tag(body)})
        assert (a.status, a.body) in ((304, b""), (200, NEW)), a
        return a.status == 304


@pytest.fixture
def cluster(redis, new_etagd, new_httpd, backend):
    daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(3)]
    nodes = []
    for daemon in daemons:
        node = new_httpd(modules=["proxy", "proxy_http"], etagd=daemon)
        node.add("files/p.html", PAGE, mtime=1_700_000_000 + len(nodes))
        node.config = (f"ETagEngine On\nETagEarly On\nETagTimeout 1s\nETagBaseURL http://{HOST}/\n"
                       f"ETagGroupHeader Surrogate-Key\nProxyPass /files !\nProxyPass / {backend.url}/\n")
        nodes.append(node.start())
    backend.page("/p", PAGE, HTML + [("Surrogate-Key", "product-42")])
    whole = Cluster(redis, nodes, daemons, backend)
    whole.leases()
    return whole


def test_learned_on_one_node_early_on_all(cluster):
    cluster.learn()
    cluster.backend.page("/q", PAGE)
    assert cluster.nodes[0].get("/q").etag == tag(PAGE)
    wait_for(lambda: cluster.redis.call("KEYS", f"etag:e:http://{HOST}/q*"), "the record to reach Redis")
    for node in cluster.nodes[1:]:
        wait_for(lambda n=node: cluster.is_early(n, target="/q"), f"{node.folder.name} to fetch what another learned")


def test_vary_on_one_node_binds_all(cluster):
    """A node that has met responses without Vary does not go on confirming them to requests of another kind."""
    cluster.learn()
    one, two, three = cluster.nodes
    cluster.backend.page("/p", NEW, HTML + [("Vary", "X-Kind")])
    assert three.get("/p", {"If-None-Match": tag(PAGE), "X-Kind": "b"}).status == 304
    assert two.get("/p", {"X-Kind": "b"}).body == NEW
    for node in one, two, three:
        wait_for(lambda n=node: n.get("/p", {"If-None-Match": tag(PAGE), "X-Kind": "c"}).status == 200,
                 f"{node.folder.name} to be told", LEASE)


@pytest.mark.parametrize("fields", [("url", f"{HOST}/p"), ("prefix", f"{HOST}/"), ("tag", "product-42"),
                                    ("host", HOST), ("all", "1")], ids=lambda f: f[0])
def test_one_command_and_all_forget(cluster, fields):
    cluster.learn()
    for _ in range(5):
        cluster.backend.page("/p", NEW, HTML + [("Surrogate-Key", "product-42")])
        cluster.redis.cli("XADD", "{etag}:log", "*", *fields)
        begin = time.monotonic()
        for node in cluster.nodes:
            wait_for(lambda n=node: not cluster.confirms(n, PAGE), f"{node.folder.name} to forget", LEASE)
        assert time.monotonic() - begin < 0.5, "milliseconds are usual, the lease is for when things break"
        cluster.backend.page("/p", PAGE, HTML + [("Surrogate-Key", "product-42")])
        cluster.redis.cli("XADD", "{etag}:log", "*", *fields)
        for node in cluster.nodes:
            wait_for(lambda n=node: n.get("/p", {"If-None-Match": tag(NEW)}).body == PAGE, "the page to be back", LEASE)
        cluster.learn()


def test_write_on_one_node_is_seen_by_all(cluster):
    cluster.learn()
    cluster.backend.page("/p", NEW, HTML)
    assert cluster.nodes[1].request("POST", "/p", body=b"x").status == 200
    assert not cluster.confirms(cluster.nodes[1], PAGE), "read your writes, at once"
    for node in cluster.nodes:
        wait_for(lambda n=node: not cluster.confirms(n, PAGE), f"{node.folder.name} to forget", LEASE)


def files_are_tagged(cluster):
    for node in cluster.nodes:
        a = node.get("/files/p.html")
        assert (a.status, a.etag, a.body) == (200, tag(PAGE), PAGE)
        assert node.get("/files/p.html", {"If-None-Match": tag(PAGE)}).status == 304


def all_forget_within_the_lease(cluster, begin):
    """A node may miss and confirm again until the lease is over: only from then on does it count."""
    while time.monotonic() < begin + LEASE:
        for node in cluster.nodes:
            cluster.confirms(node, PAGE)
    for _ in range(20):
        for node in cluster.nodes:
            assert not cluster.confirms(node, PAGE)


@pytest.fixture
def broken(cluster):
    for server in cluster.daemons + cluster.nodes:
        if hasattr(server, "expect_log"):
            server.expect_log("etagd")
    cluster.learn()
    return cluster


def test_redis_killed(broken):
    cluster = broken
    cluster.redis.kill()
    begin = time.monotonic()
    cluster.backend.page("/p", NEW)
    all_forget_within_the_lease(cluster, begin)
    files_are_tagged(cluster)
    # A page that nothing is known of is still tagged and confirmed, by its handler.
    before = cluster.backend.count()
    for node in cluster.nodes:
        assert node.get("/p", {"If-None-Match": tag(NEW)}).status == 304
    assert cluster.backend.count() == before + 3
    cluster.redis.start()  # empty: nothing of before may come back
    cluster.leases()
    for node in cluster.nodes:
        assert not cluster.confirms(node, PAGE)
    wait_for(lambda: cluster.nodes[0].get("/p").status == 200 and cluster.is_early(cluster.nodes[0], NEW),
             "to learn again", 15)
    cluster.learn(NEW)
    assert not any(cluster.confirms(node, PAGE) for node in cluster.nodes)


def test_redis_stopped_for_a_while(broken):
    """It lives on with its data: a record written meanwhile is obeyed."""
    cluster = broken
    cluster.redis.pause()
    begin = time.monotonic()
    cluster.backend.page("/p", NEW)
    try:
        all_forget_within_the_lease(cluster, begin)
        files_are_tagged(cluster)
    finally:
        cluster.redis.resume()
    cluster.redis.cli("XADD", "{etag}:log", "*", "url", f"{HOST}/p")
    cluster.leases()
    for node in cluster.nodes:
        wait_for(lambda n=node: not cluster.confirms(n, PAGE), "the record to be applied", LEASE)
    wait_for(lambda: cluster.nodes[0].get("/p").status == 200 and cluster.is_early(cluster.nodes[0], NEW),
             "to learn again", 15)


@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", "{etag}:log"), ("DEL", "{etag}:epoch")],
                         ids=lambda c: " ".join(c))
def test_history_lost(broken, command):
    """A new epoch: what was learned before is void, whatever was lost with the history."""
    cluster = broken
    cluster.redis.cli(*command)
    begin = time.monotonic()
    cluster.backend.page("/p", NEW)
    all_forget_within_the_lease(cluster, begin)
    files_are_tagged(cluster)
    wait_for(lambda: cluster.nodes[0].get("/p").status == 200 and cluster.is_early(cluster.nodes[0], NEW),
             "to learn in the new epoch", 15)
    cluster.learn(NEW)
    assert not any(cluster.confirms(node, PAGE) for node in cluster.nodes)


def test_redis_restarted_empty(broken):
    cluster = broken
    cluster.redis.restart_empty()
    begin = time.monotonic()
    cluster.backend.page("/p", NEW)
    all_forget_within_the_lease(cluster, begin)
    cluster.leases()
    wait_for(lambda: cluster.nodes[0].get("/p").status == 200 and cluster.is_early(cluster.nodes[0], NEW),
             "to learn in the new epoch", 15)
    cluster.learn(NEW)


def test_one_node_cut_off(broken):
    """The node whose etagd hangs stops confirming; the others go on."""
    cluster = broken
    with Watch(cluster.daemons[2].socket, "any key") as watch:
        cluster.daemons[2].pause()
        begin = time.monotonic()
        try:
            cluster.backend.page("/p", NEW)
            cluster.redis.cli("XADD", "{etag}:log", "*", "url", f"{HOST}/p")
            for node in cluster.nodes[:2]:
                wait_for(lambda n=node: not cluster.confirms(n, PAGE), "the others to forget", 0.5)
            assert watch.until("VOID") - begin < LEASE + 0.05
            assert not cluster.confirms(cluster.nodes[2], PAGE)
        finally:
            cluster.daemons[2].resume()
    for _ in range(20):
        assert not cluster.confirms(cluster.nodes[2], PAGE)
