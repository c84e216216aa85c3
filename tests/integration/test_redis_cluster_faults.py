# SPDX-License-Identifier: Apache-2.0
"""Redis Cluster: failovers, moving slots and partitions (make check-long)."""
import time

import pytest
from env import machine
from env.cluster import ETAG_SLOT, Cluster, Isolation
from env.cluster_history import History
from env.node import LOG, URL, Node, learn
from env.process import wait_for
from test_redis_cluster import LEASE, PAGES, none_hits, share, two_strangers, wait_new_epoch

pytestmark = pytest.mark.long


@pytest.fixture
def isolated(new_redis, new_etagd):
    """A Cluster whose first master, the log's, can be cut off together with the node "inside"."""
    cluster = Cluster(new_redis, ways=Isolation()).start()
    nodes = [Node(new_etagd(redis=cluster.there(), node=name).start()).wait_lease() for name in ("inside", "outside")]
    yield cluster, *nodes
    for gate in cluster.gates():
        gate.end()


def test_an_isolated_master(isolated):
    """It goes on taking writes, since it is more patient than the others, and its node can reach it; that one
    believes nothing any longer than the lease after the promotion."""
    cluster, inside, outside = isolated
    old = cluster.master()
    replica, = cluster.replicas_of(old)
    old.call("CONFIG", "SET", "cluster-node-timeout", 60000)
    learn([inside, outside])
    epoch = inside.epoch()
    with inside.watch(URL) as watch:
        assert watch.state.startswith("HIT")
        for gate in cluster.gates():
            gate.close()
        wait_for(lambda: cluster.has_slot(replica), "a promotion", 30)
        promoted = time.monotonic()
        assert watch.until("VOID") < promoted + LEASE + 0.05
    outside.wait_info("epoch", lambda e: e != epoch, 20)
    outside.wait_lease(20)
    learn([outside], '"v2"')
    assert old.call("XADD", LOG, "*", "tag", "elsewhere"), "the old master is none the wiser"
    assert inside.call("ETAG", "INVALIDATE", "tag", "catalog", "why", "inside") == b"local"
    renewals = int(outside.info("Lease")["renewals"])
    outside.wait_info("renewals", lambda n: int(n) > renewals + 6)
    assert not inside.look(URL).startswith("HIT") and inside.info("Store")["invalidations_unsent"] == "1"
    assert "of 3 masters agree" in inside.info("Lease")["last_error"]
    assert outside.look(URL).startswith('HIT u "v2"'), "it cannot have heard of it"
    for gate in cluster.gates():
        gate.open()
    inside.wait_info("invalidations_unsent", "0", 30)
    wait_for(lambda: outside.look(URL) == "STALE", "the invalidation from inside to arrive", 10)
    inside.wait_lease(30)
    assert inside.epoch() == outside.epoch() and inside.fetch(URL) == 0
    learn([inside, outside], '"v3"')


def test_a_node_that_is_cut_off_from_the_other_masters(isolated):
    """All replicas confirm, but nobody can tell what the others have voted."""
    cluster, inside, outside = isolated
    learn([inside, outside])
    for server in cluster.servers[1:]:
        cluster.way[server].close()
    inside.wait_info("left_ms", "0", LEASE + 2)
    assert "1 of 3 masters agree" in inside.info("Lease")["last_error"]
    assert inside.look(URL) == "VOID" and outside.look(URL).startswith("HIT")
    for server in cluster.servers[1:]:
        cluster.way[server].open()
    inside.wait_lease()
    assert inside.look(URL).startswith("HIT"), "nothing was lost"


def test_a_replica_that_cannot_confirm(new_redis, new_etagd):
    """It might be the master by now. Most masters hold it for down after a while, and it does not count then, unless
    one of them knows of an election that nobody has won, as it seems in a Cluster that was just made."""
    cluster = Cluster(new_redis, timeout=5000).start()
    epoch = cluster.master().call("CLUSTER", "BUMPEPOCH").split()[1]
    told = f"cluster_current_epoch:{epoch}\r".encode()
    wait_for(lambda: all(told in s.call("CLUSTER", "INFO") for s in cluster.servers), "everybody to have heard of it")
    nodes = two_strangers(cluster, new_etagd)
    share(nodes, '"v1"', PAGES[:3])
    replica, = cluster.replicas_of(cluster.master())
    replica.pause()
    nodes[0].wait_info("left_ms", "0", LEASE + 2)
    assert nodes[0].info("Lease")["replicas_wanted"] == "1"
    nodes[0].wait_info("replicas_wanted", "0", 20)
    nodes[0].wait_lease()
    assert nodes[0].look(PAGES[0]).startswith("HIT"), "nothing was lost"
    replica.resume()
    nodes[0].wait_info("replicas_wanted", "1", 20)
    nodes[0].wait_lease()


def test_a_master_without_the_log_is_killed(redis_cluster, new_etagd):
    """The lease holds; what lies there is missed until a replica is elected."""
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
    share(nodes, '"v1"')
    epoch = nodes[0].epoch()
    killed = cluster.other_master()
    slot = next(s for s in range(16384) if cluster.has_slot(killed, s))
    with nodes[0].watch(PAGES[0]) as watch:
        killed.kill()
        wait_for(lambda: cluster.master(slot), "a promotion", 30)
        assert all(n.look(u).startswith("HIT") for n in nodes for u in PAGES)
        assert watch.state.startswith("HIT")
    cluster.cli("XADD", LOG, "*", "tag", "all-pages", server=cluster.master())
    wait_for(lambda: none_hits(nodes, PAGES), "every node to forget", LEASE)
    share(nodes, '"v2"')
    assert nodes[0].epoch() == epoch


@pytest.mark.parametrize("how", [(), ("FORCE",), ("TAKEOVER",)], ids=["asked", "force", "takeover"])
def test_a_failover_by_hand(redis_cluster, new_etagd, how):
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
    share(nodes, '"v1"', PAGES[:6])
    epochs = {n.epoch() for n in nodes}
    replica, = cluster.replicas_of(cluster.master())
    assert replica.call("CLUSTER", "FAILOVER", *how) == "OK"
    wait_new_epoch(nodes, epochs)
    assert nodes[0].info("Lease")["master"] == cluster.address(replica)
    assert none_hits(nodes, PAGES[:6])
    share(nodes, '"v2"', PAGES[:6])


def test_a_master_that_was_stopped(redis_cluster, new_etagd):
    """It wakes up after its replica's promotion and finds commands that came before."""
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
    share(nodes, '"v1"', PAGES[:6])
    epochs = {n.epoch() for n in nodes}
    old = cluster.master()
    with old.client() as c:
        old.pause()
        c.send("XADD", LOG, "*", "tag", "all-pages")
        wait_for(lambda: any(cluster.has_slot(s) for s in cluster.running() if s is not old), "a promotion", 30)
        wait_new_epoch(nodes, epochs)
        fresh = nodes[0].epoch()
        share(nodes, '"v2"', PAGES[:6])
        old.resume()
        cluster.wait_settled()
    for node in nodes:
        renewals = int(node.info("Lease")["renewals"])
        node.wait_info("renewals", lambda n, r=renewals: int(n) > r + 3)
        assert node.epoch() == fresh
        assert all(node.look(u).startswith('HIT u "v2"') for u in PAGES[:6])


def test_scripts_are_forgotten(redis_cluster, new_etagd):
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
    share(nodes, '"v1"', PAGES[:6])
    for server in cluster.servers:
        server.call("SCRIPT", "FLUSH")
    cluster.invalidate("tag", "all-pages")
    share(nodes, '"v2"')


def test_resharding_by_the_tool(redis_cluster, new_etagd):
    """redis-cli --cluster reshard takes the first slots, that of the log among them."""
    cluster, nodes = redis_cluster, two_strangers(redis_cluster, new_etagd)
    share(nodes, '"v1"')
    epochs = {n.epoch() for n in nodes}
    source, target = cluster.master(), cluster.other_master()
    cluster.tool("reshard", cluster.address(target), "--cluster-from", cluster.id_of(source), "--cluster-to",
                 cluster.id_of(target), "--cluster-slots", str(ETAG_SLOT + 1))
    wait_new_epoch(nodes, epochs)
    assert cluster.has_slot(target) and nodes[0].info("Lease")["master"] == cluster.address(target)
    share(nodes, '"v2"')


def test_the_shipped_settings_work_together(new_redis, new_etagd, work):
    conf = machine.SOURCE / "conf" / "redis"
    included = [f"include {machine.write(work / n, (conf / n).read_text())}" for n in ("etagd.conf", "cluster.conf")]
    cluster = Cluster(new_redis, options=included).start()
    nodes = two_strangers(cluster, new_etagd)
    share(nodes, '"v1"')
    epochs = {n.epoch() for n in nodes}
    assert nodes[0].call("ETAG", "INVALIDATE", "tag", "catalog") == b"local"
    nodes[0].wait_info("invalidations_unsent", "0")
    slot = cluster.call("CLUSTER", "KEYSLOT", f"etag:e:{PAGES[0]}#x")
    source = cluster.master(slot)
    cluster.move_slot(slot, source, next(s for s in cluster.servers[:3] if s is not source))
    cluster.master().kill()
    wait_new_epoch(nodes, epochs)
    share(nodes, '"v2"')
    for server in cluster.running():
        refused = [dict(zip(r[::2], r[1::2])) for r in server.call("ACL", "LOG")]
        assert not [r for r in refused if r[b"username"] == b"etagd"], refused


# ---- everything at random ----

@pytest.mark.parametrize("seed", range(1, 5))
def test_nothing_stale_beyond_the_lease(redis_cluster, new_etagd, seed):
    cluster = redis_cluster
    history = History(cluster, two_strangers(cluster, new_etagd), seed)
    history.run(90)
    cluster.wait_settled()
    history.finish()
    served = history.judge()
    told = f"seed {seed}: {history.counts}, {len(served)} answers, faults {history.faults}"
    print(told)
    assert not history.crashed, history.crashed
    assert not history.violations, (told, history.violations[:5])
    assert len(set(history.faults)) >= 8 and min(len(served), history.counts["acknowledged"]) > 20, told
