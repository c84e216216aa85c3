# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to Redis, to its log or to a node: a version is the one that was told last, or unknown. Never an older one."""
import pytest
from env.gate import Gate
from env.node import LOG
from env.process import wait_for
from env.versions import PROXY, Cluster, configuration, early, every, make, tag_of, untagged


@pytest.fixture
def cluster(redis, new_etagd, new_httpd, backend):
    def start(urls=(None, None), config=""):
        """urls: where each node finds Redis; None: directly."""
        daemons = [new_etagd(redis=url or redis, node=f"node{i}", config=config).start() for i, url in enumerate(urls)]
        sites = [new_httpd(configuration(backend), modules=PROXY, etagd=d).start() for d in daemons]
        return make(redis, daemons, sites, backend)

    return start


@pytest.fixture
def late(redis, new_etagd, new_httpd, backend):
    """One more node of a cluster: a cluster of its own with the same page."""
    def start(c):
        daemon = new_etagd(redis=redis, node="late").start()
        site = new_httpd(configuration(backend), modules=PROXY, etagd=daemon).start()
        added = make(redis, [daemon], [site], backend)
        added.page = c.page
        c.page.backend.routes["/p"] = c.page.serve
        return added

    return start


@pytest.fixture
def gate(redis):
    made = Gate(redis.port)
    yield made
    made.end()


def url_of(gate):
    return f"redis://127.0.0.1:{gate.port}/0"


def unknown(c, tag):
    return all(untagged(n.get("/p", {"If-None-Match": tag})) for n in c.nodes)


@pytest.mark.parametrize("how", ["flushall", "restart", "log deleted"])
def test_another_epoch(cluster, redis, how):
    """Unknown until told again: and the same version has then the same tag as before."""
    c = cluster()
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(c, tag)
    epoch = c.daemons[0].info("Store")["epoch"]
    if how == "flushall":
        redis.call("FLUSHALL")
    elif how == "restart":
        redis.restart_empty()
    else:
        redis.call("DEL", LOG)
    for daemon in c.daemons:
        daemon.wait_info("epoch", lambda e: e not in ("", epoch), 15)
    c.leased()
    assert unknown(c, tag)
    c.tell("Patient 8123")
    assert every(c, tag)


def test_a_node_that_starts_later_reads_the_log(cluster, late):
    c = cluster()
    c.tell("Patient 8123")
    c.tell("Patient 8124")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(late(c), tag)


@pytest.mark.parametrize("how", ["trimmed", "deleted"])
def test_a_node_that_starts_later_than_the_record_is_kept(cluster, late, redis, how):
    """The newest record is gone from the log, an older one perhaps not: unknown to the late node until it is told again."""
    c = cluster()
    older = c.tell("Patient 8123")
    old = tag_of(c.nodes[0].get("/p"))
    newest = c.tell("Patient 8124")
    tag = tag_of(c.nodes[0].get("/p"))
    if how == "trimmed":
        redis.call("XTRIM", LOG, "MAXLEN", "0")
    else:
        redis.call("XDEL", LOG, newest)
        assert redis.call("XRANGE", LOG, older, older)
    more = late(c)
    assert unknown(more, tag) and unknown(more, old)
    assert every(c, tag), "those who have read it still know it"
    both = Cluster(redis, c.daemons + more.daemons, c.nodes + more.nodes, c.page.backend)
    both.page = c.page
    both.page.backend.routes["/p"] = both.page.serve
    both.tell("Patient 8124")
    assert every(both, tag)
    both.tell("Patient 8125")
    assert not any(early(n, both.page, t) for n in both.nodes for t in (tag, old))


def test_a_daemon_that_was_killed_reads_it_again(cluster):
    c = cluster()
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(c, tag)
    c.nodes[0].expect_log("etagd")
    c.daemons[0].kill()
    c.page.row = "two"
    c.tell("Patient 8124", wait=c.daemons[1:])
    assert not early(c.nodes[1], c.page, tag)
    c.daemons[0].start()
    c.leased()
    new = tag_of(c.nodes[1].get("/p"))
    assert every(c, new) and not any(early(n, c.page, tag) for n in c.nodes)


@pytest.mark.parametrize("kept", [True, False])
def test_partition(cluster, gate, redis, kept):
    """The lease of the node that is cut off ends; back again it reads what it has missed, or knows that it cannot."""
    c = cluster((None, url_of(gate)))
    there, cut = c.nodes
    c.tell("Patient 8123")
    old = tag_of(there.get("/p"))
    assert every(c, old)
    gate.close()
    c.page.row = "two"
    c.tell("Patient 8124", wait=c.daemons[:1])
    new = tag_of(there.get("/p"))
    c.daemons[1].wait_info("left_ms", "0")
    assert untagged(cut.get("/p", {"If-None-Match": old})) and untagged(cut.get("/p", {"If-None-Match": new}))
    if not kept:
        c.tell("Encounter 1", wait=c.daemons[:1])
        redis.call("XTRIM", LOG, "MAXLEN", "0")
    gate.open()

    def back():
        assert not early(cut, c.page, old), "an old version was believed"
        return int(c.daemons[1].info()["left_ms"]) > 0

    wait_for(back, "a lease", 20)
    if kept:
        wait_for(lambda: early(cut, c.page, new), "the version that was told meanwhile")
        assert not early(cut, c.page, old)
    else:
        assert int(c.daemons[1].info("Log")["floor_raised"]) >= 1
        assert untagged(cut.get("/p", {"If-None-Match": old})) and untagged(cut.get("/p", {"If-None-Match": new}))
        c.tell("Patient 8124")
        assert every(c, new)


def test_a_stopped_node_is_not_believed(cluster):
    """etagd hangs while a version is told: its table is believed for a lease, and not for longer."""
    c = cluster()
    c.tell("Patient 8123")
    tag = tag_of(c.nodes[0].get("/p"))
    assert every(c, tag)
    c.nodes[0].expect_log("etagd")
    c.daemons[0].pause()
    try:
        c.tell("Patient 8124", wait=c.daemons[1:])
        wait_for(lambda: not early(c.nodes[0], c.page, tag), "the end of the lease", 5)
        assert not early(c.nodes[1], c.page, tag)
    finally:
        c.daemons[0].resume()
    c.leased()
    assert not early(c.nodes[0], c.page, tag)
    assert every(c, tag_of(c.nodes[1].get("/p")))
