# SPDX-License-Identifier: Apache-2.0
"""Redis Cluster: the log's master is found and followed, entries are spread, and a lease is given only while nobody
can have taken that master's place."""
import time

import pytest
from env.cluster import ETAG_SLOT, SLOTS, Cluster, sender_of
from env.gate import Gate
from env.node import EPOCH, LOG, URL, Node, learn
from env.process import wait_for

LEASE = 2.0
# So many that every master has some.
PAGES = [f"https://www.example.com/page/{i}" for i in range(24)]


@pytest.fixture
def nodes(redis_cluster, new_etagd):
    """Each knows one server only, and none the one that has the log."""
    cluster = redis_cluster
    strangers = [s for s in cluster.servers if s is not cluster.master()]
    return [Node(new_etagd(redis=cluster.url(strangers[i]), node=name).start()).wait_lease()
            for i, name in ((0, "one"), (-1, "two"))]


def share(nodes, tag, pages=PAGES):
    """The first publishes, all the others fetch. A page may have to be published again: what a server lost that is
    being replaced is only missed."""
    for url in pages:
        def shared(u=url):
            return nodes[0].put(u, tag, tags=["all-pages"]) == "OK" and all(n.fetch(u) for n in nodes)
        wait_for(shared, f"{url} on every node", 20)
        for node in nodes:
            assert node.look(url).startswith(f"HIT u {tag}")


def none_hits(nodes, urls):
    return not any(n.look(u).startswith("HIT") for n in nodes for u in urls)


def wait_forgotten(nodes, urls=PAGES):
    wait_for(lambda: none_hits(nodes, urls), "every node to forget", LEASE)


def wait_new_epoch(nodes, old):
    for node in nodes:
        node.wait_info("epoch", lambda e: e not in old, 40)
        node.wait_lease(40)
    assert len({n.epoch() for n in nodes}) == 1


def test_found_spread_and_followed(redis_cluster, nodes, new_etagd):
    cluster = redis_cluster
    log = cluster.master()
    for node in nodes:
        info = node.info()
        assert info["master"] == cluster.address(log)
        assert (info["masters"], info["replicas_wanted"]) == ("3", "1")
        assert int(info["masters_agreeing"]) >= 2
    stranger = Node(new_etagd(redis=cluster.url(), node="stranger", config="KeyPrefix other\n").start()).wait_lease()
    share(nodes, '"v1"')
    learn([stranger], '"theirs"')
    for server in cluster.servers[:3]:
        assert server.call("KEYS", "etag:e:*"), "entries on every master"
    # By hand, through a server that does not have the log.
    cluster.cli("XADD", LOG, "*", "prefix", "www.example.com/page/", server=cluster.other_master())
    wait_forgotten(nodes)
    assert stranger.look(URL).startswith("HIT"), "another KeyPrefix is another world"
    cluster.cli("XADD", "{other}:log", "*", "all", "1")
    wait_for(lambda: none_hits([stranger], [URL]), "the stranger to forget", LEASE)
    # What one master loses without the log is only missed.
    share(nodes, '"v2"')
    epoch = nodes[0].epoch()
    cluster.other_master().call("FLUSHALL")
    assert all(n.look(u).startswith("HIT") for n in nodes for u in PAGES) and nodes[0].epoch() == epoch
    # The log's master loses everything.
    log.call("FLUSHALL")
    wait_new_epoch(nodes, {epoch})
    assert none_hits(nodes, PAGES)
    share(nodes, '"v3"', PAGES[:6])


def test_the_master_of_the_log_is_killed(redis_cluster, nodes):
    """Its replica is followed; what was invalidated before stays so, and what was learned before is void."""
    cluster = redis_cluster
    share(nodes, '"v1"')
    epochs = {n.epoch() for n in nodes}
    cluster.invalidate("tag", "all-pages")
    old = cluster.master()
    old.kill()
    told = time.monotonic() + LEASE + 0.1
    assert nodes[0].call("ETAG", "INVALIDATE", "tag", "x", "why", "meanwhile") == b"local"
    while not cluster.master():
        late = time.monotonic() >= told
        assert not late or none_hits(nodes, PAGES[:3]), "an invalidation that the replica has"
    wait_new_epoch(nodes, epochs)
    assert all(n.fetch(u) == 0 for n in nodes for u in PAGES[:3])
    nodes[0].wait_info("invalidations_unsent", "0", 10)
    assert b"meanwhile" in [f for _, fields in cluster.master().call("XRANGE", LOG, "-", "+") for f in fields]
    share(nodes, '"v2"')
    old.start()  # it becomes a replica, and has to confirm from then on
    for node in nodes:
        node.wait_info("replicas_wanted", "1", 30)
        node.wait_lease()
    cluster.invalidate("tag", "all-pages")
    wait_forgotten(nodes)
