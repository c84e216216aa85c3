# SPDX-License-Identifier: Apache-2.0
"""Redis with two replicas and three Sentinels: the master is found and followed, and a lease is given only while
nobody can have taken its place."""
import os
import time

import pytest
from env import machine
from env.gate import Gate
from env.node import LOG, URL, Node, learn
from env.process import wait_for
from env.sentinel import NAME, Farm

LEASE = 2.0


@pytest.fixture
def nodes(farm, new_etagd):
    made = []
    for name in ("one", "two"):
        made.append(Node(new_etagd(redis=farm, node=name).start()).wait_lease())
    return made


def lapses(node):
    """Seconds until it believes nothing any more."""
    begin = time.monotonic()
    node.wait_info("left_ms", "0", LEASE + 2)
    return time.monotonic() - begin


def acknowledged(server, replicas, *fields):
    """As a deployment script makes sure of it: XADD, then WAIT on the same connection."""
    with server.client() as c:
        at = c.call("XADD", LOG, "*", *fields)
        assert c.call("WAIT", replicas, 5000) >= replicas
    return at.decode()


def test_the_master_is_found_and_replicas_confirm(nodes, farm):
    for node in nodes:
        info = node.info()
        assert info["master"] == f"127.0.0.1:{farm.servers[0].port}"
        assert (info["sentinels"], info["replicas_wanted"]) == ("3", "2")
        assert int(info["sentinels_agreeing"]) >= 2
    learn(nodes)
    acknowledged(farm.servers[0], 2, "tag", "catalog")
    for node in nodes:
        wait_for(lambda n=node: n.look(URL) == "STALE", "the record to be applied", LEASE)


def test_the_master_is_killed(nodes, farm):
    """Another one is followed; what was invalidated before stays so, whenever the node heard of it, and what was
    learned before is void."""
    learn(nodes)
    learn(nodes, url=URL + "&other", tags=("other",))
    epochs = {node.epoch() for node in nodes}
    acknowledged(farm.servers[0], 2, "tag", "catalog")
    farm.servers[0].kill()
    told = time.monotonic() + LEASE + 0.05
    while {node.epoch() for node in nodes} & epochs:
        for node in nodes:
            late = time.monotonic() >= told
            assert not (node.look(URL).startswith("HIT") and late), "an invalidation that all replicas have"
    for node in nodes:
        node.wait_info("master", lambda m: m != f"127.0.0.1:{farm.servers[0].port}", 30)
        node.wait_lease(30)
        assert node.epoch() not in epochs
        for url in (URL, URL + "&other"):
            assert node.fetch(url) == 0 and not node.look(url).startswith("HIT")
    assert len({node.epoch() for node in nodes}) == 1
    learn(nodes, '"v2"')
    acknowledged(farm.master(), 1, "tag", "catalog")
    for node in nodes:
        wait_for(lambda n=node: n.look(URL) == "STALE", "the record to be applied", LEASE)


def test_an_invalidation_meanwhile_is_kept_and_sent(nodes, farm):
    learn(nodes)
    farm.servers[0].kill()
    assert nodes[0].call("ETAG", "INVALIDATE", "tag", "catalog", "why", "meanwhile") == b"local"
    assert nodes[0].look(URL) in ("STALE", "VOID")
    nodes[0].wait_info("invalidations_unsent", "0", 40)  # an election may have to be held twice
    told = [f.decode() for _, fields in farm.master().call("XRANGE", LOG, "-", "+") for f in fields]
    assert "meanwhile" in told
    for node in nodes:
        assert not node.look(URL).startswith("HIT")


def test_a_master_that_is_handed_over(nodes, farm):
    """SENTINEL FAILOVER while everything works: the old master lives on as a replica."""
    learn(nodes)
    old, epoch = f"127.0.0.1:{farm.servers[0].port}", nodes[0].epoch()
    assert farm.sentinels[0].call("SENTINEL", "FAILOVER", "mymaster") == "OK"
    for node in nodes:
        node.wait_info("master", lambda m: m != old, 20)
        node.wait_info("epoch", lambda e: e != epoch, 20)
        assert not node.look(URL).startswith("HIT")
        node.wait_lease(30)
        assert node.fetch(URL) == 0
    learn(nodes, '"v2"')


def test_a_switch_is_heard_at_once(farm, new_etagd):
    """Without waiting for the next turn, which is far off when the lease is long."""
    old = f"127.0.0.1:{farm.servers[0].port}"
    node = Node(new_etagd(redis=farm, node="one", config="Lease 60s\n").start()).wait_lease()
    assert node.info("Lease")["master"] == old
    assert farm.sentinels[0].call("SENTINEL", "FAILOVER", "mymaster") == "OK"
    wait_for(lambda: farm.sentinels[0].master()["port"] != str(farm.servers[0].port), "the failover", 20)
    node.wait_info("master", lambda m: m != old, 3)


def is_etagd(first):
    """By its connection's name, which it tells first of all."""
    return b"etagd:" in first


def is_master(server):
    try:
        return server.call("ROLE")[0] == b"master"
    except OSError:
        return False  # a Sentinel that promotes a server ends its clients' connections


def test_an_isolated_master(new_redis, new_sentinel, new_etagd):
    """One node is on its side of the partition, everybody else on the other. The isolated master goes on taking
    writes, and the node can reach it; it believes nothing any longer than the lease after the promotion."""
    farm = Farm(new_redis, new_sentinel, way=lambda port: Gate(port, lets=is_etagd)).start()
    ways = [Gate(s.port) for s in farm.sentinels]
    url = f"sentinel://{NAME}@" + ",".join(f"127.0.0.1:{w.port}" for w in ways)
    inside = Node(new_etagd(redis=url, node="inside").start()).wait_lease()
    outside = Node(new_etagd(redis=farm, node="outside").start()).wait_lease()
    learn([inside, outside])
    epoch = inside.epoch()
    with inside.watch(URL) as watch:
        assert watch.state.startswith("HIT")
        for gate in (farm.way, *ways):
            gate.close()
        wait_for(lambda: any(is_master(s) for s in farm.servers[1:]), "a promotion", 30)
        promoted = time.monotonic()
        assert watch.until("VOID") < promoted + LEASE + 0.05
    outside.wait_info("epoch", lambda e: e != epoch, 20)
    outside.wait_lease(20)
    learn([outside], '"v2"')
    assert farm.servers[0].call("XADD", LOG, "*", "tag", "elsewhere"), "the old master is none the wiser"
    assert inside.call("ETAG", "INVALIDATE", "tag", "catalog", "why", "inside") == b"local"
    renewals = int(outside.info("Lease")["renewals"])
    outside.wait_info("renewals", lambda n: int(n) > renewals + 6)
    assert not inside.look(URL).startswith("HIT") and inside.info("Store")["invalidations_unsent"] == "1"
    assert outside.look(URL).startswith('HIT u "v2"'), "it cannot have heard of it"
    for gate in (farm.way, *ways):
        gate.open()
    inside.wait_info("invalidations_unsent", "0", 20)
    wait_for(lambda: outside.look(URL) == "STALE", "the invalidation from inside to arrive", 10)
    inside.wait_lease(20)
    assert inside.epoch() == outside.epoch() and inside.fetch(URL) == 0
    learn([inside, outside], '"v3"')
    for gate in (farm.way, *ways):
        gate.end()


@pytest.fixture
def patient(new_redis, new_sentinel, new_etagd):
    """Sentinels that hold nobody for down during the test, and a node."""
    farm = Farm(new_redis, new_sentinel, down_after=60000).start()
    return farm, Node(new_etagd(redis=farm, node="one").start()).wait_lease()


@pytest.mark.parametrize("stopped", [1, 2])
def test_a_replica_that_cannot_confirm(patient, stopped):
    """It might be a master by now, for all that this side can tell: an isolated master gives no lease."""
    farm, node = patient
    learn([node])
    for server in farm.servers[1:1 + stopped]:
        server.pause()
    assert lapses(node) < LEASE + 0.3
    assert node.look(URL) == "VOID"
    assert f"confirmed by {2 - stopped} of 2 replicas" in node.info("Lease")["last_error"]
    # The master alone takes it, so it is not known to be safe.
    assert node.call("ETAG", "INVALIDATE", "tag", "x") == b"local"
    wait_for(lambda: farm.servers[0].call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][1][1] == b"x", "it to be there")
    assert node.info("Store")["invalidations_unsent"] == "1"
    for server in farm.servers[1:]:
        server.resume()
    node.wait_info("invalidations_unsent", "0")
    node.wait_lease()
    assert node.info("Store")["invalidations_appended"] == "1"


def test_no_majority_of_sentinels(patient):
    farm, node = patient
    learn([node])
    farm.sentinels[0].pause()
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 6)
    assert node.look(URL).startswith("HIT"), "two of three are a majority"
    farm.sentinels[1].pause()
    assert lapses(node) < LEASE + 0.3
    assert node.look(URL) == "VOID"
    assert "of 3 Sentinels agree" in node.info("Lease")["last_error"]
    # In the log of a master that may have been replaced a record is worth nothing: it is kept.
    assert node.call("ETAG", "INVALIDATE", "tag", "x") == b"local"
    wait_for(lambda: farm.servers[0].call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][1][1] == b"x", "it to be there")
    assert node.info("Store")["invalidations_unsent"] == "1"
    farm.sentinels[1].resume()
    node.wait_info("invalidations_unsent", "0")
    node.wait_lease()
    assert node.look(URL).startswith("HIT"), "nothing was lost"
    told = [f for _, fields in farm.servers[0].call("XRANGE", LOG, "-", "+") for f in fields]
    assert told.count(b"x") == 1, "it is the same record, not a second one"
    farm.sentinels[0].resume()


def test_sentinels_that_are_not_in_the_url_count(patient, new_etagd):
    """One of three is no majority, whatever the URL says."""
    farm, _ = patient
    alone = Node(new_etagd(redis=f"sentinel://mymaster@127.0.0.1:{farm.sentinels[0].port}", node="two").start())
    alone.wait_info("last_error", lambda text: "1 of 3 Sentinels agree" in text)
    assert alone.info("Lease")["left_ms"] == "0"


def test_a_name_that_no_sentinel_knows(patient, new_etagd):
    farm, _ = patient
    node = Node(new_etagd(redis=farm.url.replace("mymaster", "other"), node="two").start())
    node.wait_info("last_error", lambda text: 'no master "other"' in text)


def test_a_replica_is_no_master(redis, new_redis, new_sentinel, new_etagd):
    """A Sentinel may name one for a while; a node that follows it waits for a master."""
    copy = new_redis(options=[f"replicaof 127.0.0.1 {redis.port}"]).start()
    sentinel = new_sentinel(copy.port, quorum=1, down_after=60000).start()
    wait_for(lambda: sentinel.master()["flags"] == "master", "the Sentinel to be ready")
    node = Node(new_etagd(redis=f"sentinel://{NAME}@127.0.0.1:{sentinel.port}", node="one").start())
    node.wait_info("last_error", lambda text: "no master but a slave" in text)
    copy.call("REPLICAOF", "NO", "ONE")
    node.wait_lease()


def test_sentinels_with_a_password(new_redis, new_sentinel, new_etagd, redis, work):
    sentinel = new_sentinel(redis.port, quorum=1, options=["requirepass guard"])
    sentinel.password = "guard"
    sentinel.start()
    wait_for(lambda: sentinel.master()["flags"] == "master", "the Sentinel to be ready")
    secret = work / "secret"
    secret.write_text("wrong\n")
    url = f"sentinel://mymaster@127.0.0.1:{sentinel.port}"
    etagd = new_etagd(redis=url, node="one", config=f"SentinelPasswordFile {secret}\n")
    os.chown(secret, etagd.folder.stat().st_uid, etagd.folder.stat().st_gid)
    os.chmod(secret, 0o600)
    node = Node(etagd.start())
    node.wait_info("last_error", lambda text: "WRONGPASS" in text and "SentinelPasswordFile" in text)
    secret.write_text("guard\n")
    node.wait_lease()
    bare = Node(new_etagd(redis=url, node="two").start())
    bare.wait_info("last_error", lambda text: "NOAUTH" in text and "SentinelPasswordFile" in text)


def test_the_shipped_settings_work_together(new_redis, new_sentinel, new_etagd, work):
    """ACL users, min-replicas, Sentinels: as in conf/redis, but for addresses and times."""
    conf = machine.SOURCE / "conf" / "redis"
    included = [f"include {machine.write(work / n, (conf / n).read_text())}" for n in ("etagd.conf", "replicated.conf")]
    lines = [line.replace(" etag ", f" {NAME} ").replace("user etagd off", "user etagd on >guard")
             for line in (conf / "sentinel.conf").read_text().splitlines()
             if line.startswith(("sentinel parallel", "user"))]
    assert len(lines) == 2
    farm = Farm(new_redis, new_sentinel, options=included, sentinel_options=lines).start()
    guard = machine.write(work / "guard", "guard\n", 0o600)
    node = Node(new_etagd(redis=farm, node="one", config=f"SentinelUser etagd\nSentinelPasswordFile {guard}\n").start())
    node.wait_lease()
    learn([node])
    epoch = node.epoch()
    assert node.call("ETAG", "INVALIDATE", "tag", "catalog") == b"local"
    node.wait_info("invalidations_unsent", "0")
    farm.servers[0].kill()
    node.wait_info("epoch", lambda e: e != epoch, 30)
    node.wait_lease(30)
    for server in [*farm.servers[1:], *farm.sentinels]:
        refused = [dict(zip(r[::2], r[1::2])) for r in server.call("ACL", "LOG")]
        assert not [r for r in refused if r[b"username"] == b"etagd"], refused


# ---- without Sentinels ----

def test_replicas_of_a_named_server(new_redis, new_etagd):
    """WaitReplicas says how many; without it a server alone decides."""
    master = new_redis(options=["repl-diskless-sync-delay 0"]).start()
    replica = new_redis(options=[f"replicaof 127.0.0.1 {master.port}"]).start()
    wait_for(lambda: b"state=online" in master.call("INFO", "replication"), "the replica to follow")
    strict = Node(new_etagd(redis=master, node="one", config="WaitReplicas 1\n").start()).wait_lease()
    plain = Node(new_etagd(redis=master, node="two").start()).wait_lease()
    replica.pause()
    assert lapses(strict) < LEASE + 0.3
    assert plain.info("Lease")["state"] == "held"
    replica.resume()
    strict.wait_lease()
