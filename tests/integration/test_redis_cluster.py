# SPDX-License-Identifier: Apache-2.0
"""Redis Cluster: the log's master is found and followed, entries are spread, and a lease is given only while nobody
can have taken that master's place. Longer tests: test_redis_cluster_faults.py."""
import time

import pytest
from env.cluster import ETAG_SLOT, Cluster
from env.node import LOG, URL, VARIANT, Node, learn
from env.process import wait_for
from env.redis import Redis

LEASE = 2.0
# So many that every master has some.
PAGES = [f"https://www.example.com/page/{i}" for i in range(24)]


def two_strangers(cluster, new_etagd):
    """Each knows one server only, and none the one that has the log."""
    strangers = [s for s in cluster.servers if s is not cluster.master()]
    return [Node(new_etagd(redis=cluster.there(strangers[i]), node=name).start()).wait_lease()
            for i, name in ((0, "one"), (-1, "two"))]


@pytest.fixture(scope="module")
def standing(shared_servers):
    """For tests that leave it whole."""
    return Cluster(lambda **how: shared_servers(Redis, **how)).start()


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


def test_found_spread_and_followed(standing, new_etagd):
    cluster, nodes = standing, two_strangers(standing, new_etagd)
    log = cluster.master()
    for node in nodes:
        info = node.info()
        assert info["master"] == cluster.address(log)
        assert (info["masters"], info["replicas_wanted"]) == ("3", "1")
        node.wait_info("masters_agreeing", lambda n: int(n) >= 2)
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
    share(nodes, '"v2"', PAGES[:12])
    epoch = nodes[0].epoch()
    cluster.other_master().call("FLUSHALL")
    assert all(n.look(u).startswith("HIT") for n in nodes for u in PAGES[:12]) and nodes[0].epoch() == epoch
    # The log's master loses everything.
    log.call("FLUSHALL")
    wait_new_epoch(nodes, {epoch})
    assert none_hits(nodes, PAGES[:12])
    share(nodes, '"v3"', PAGES[:6])


def test_slots_that_are_half_moved(standing, new_etagd):
    """An entry is found on the other side (ASK). The log is on one side or the other, and in between nobody has a
    lease; afterwards the slot's new master begins a new epoch."""
    cluster, nodes = standing, two_strangers(standing, new_etagd)
    url = "https://www.example.com/moved"
    slot = cluster.servers[0].call("CLUSTER", "KEYSLOT", f"etag:e:{url}#{VARIANT}")
    source = cluster.master(slot)
    target = next(s for s in cluster.servers[:3] if s not in (source, cluster.master()))
    assert nodes[0].put(url, '"v1"') == "OK"
    wait_for(lambda: cluster.call("GET", f"etag:e:{url}#{VARIANT}"), "the entry to be stored")
    cluster.begin_move(slot, source, target)
    assert cluster.move_keys(slot, source, target) == [f"etag:e:{url}#{VARIANT}".encode()]
    assert nodes[1].fetch(url) == 1
    assert nodes[0].put(url, '"v1"', ttl_ms=5000000) == "OK"
    wait_for(lambda: 4900000 < target_life(cluster, url) <= 5000000, "it to be stored on the other side")
    cluster.end_move(slot, source, target)
    assert nodes[1].fetch(url) == 1 and cluster.master(slot) is target

    log = cluster.master()
    target = next(s for s in cluster.servers[:3] if s is not log)
    epochs = {n.epoch() for n in nodes}
    cluster.begin_move(ETAG_SLOT, log, target)
    assert cluster.move_keys(ETAG_SLOT, log, target, 1)
    for node in nodes:
        node.wait_info("left_ms", "0", LEASE + 2)
        assert node.look(url) == "VOID"
    assert nodes[0].call("ETAG", "INVALIDATE", "url", "www.example.com/moved", "why", "meanwhile") == b"local"
    cluster.end_move(ETAG_SLOT, log, target)
    wait_new_epoch(nodes, epochs)
    assert nodes[0].info("Lease")["master"] == cluster.address(target)
    nodes[0].wait_info("invalidations_unsent", "0", 10)
    assert b"meanwhile" in [f for _, fields in target.call("XRANGE", LOG, "-", "+") for f in fields]
    share(nodes, '"v2"', PAGES[:6])


def target_life(cluster, url):
    """The life left of an entry, wherever it is."""
    return cluster.call("PTTL", f"etag:e:{url}#{VARIANT}")


def test_the_master_of_the_log_is_killed(redis_cluster, new_etagd):
    """Its replica is followed; what was invalidated before stays so, and what was learned before is void."""
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
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
