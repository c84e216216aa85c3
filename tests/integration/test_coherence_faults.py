# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to Redis, to its data or to a node: nothing stale beyond the lease, and it heals."""
import time

import pytest

from env.node import EPOCH, LOG, URL, VARIANT, Node, learn, two_nodes, wait_value
from env.process import wait_for

LEASE = 2.0


@pytest.fixture
def nodes(redis, new_etagd):
    return two_nodes(redis, new_etagd)


def test_the_lease_ends_with_redis(nodes, redis):
    learn(nodes)
    with nodes[0].watch(URL) as a, nodes[1].watch(URL) as b:
        died = time.monotonic()
        redis.kill()
        assert a.until("VOID") - died <= LEASE + 0.05
        assert b.until("VOID") - died <= LEASE + 0.05
    assert nodes[0].put(URL, '"v2"') == "STALE", "nothing is learned without a lease"
    assert nodes[0].fetch(URL) == 0
    redis.start()
    for node in nodes:
        node.wait_lease()
        assert node.look(URL) == "STALE", "what an empty server does not know of is void"


def test_a_stopped_node_has_no_lease(nodes):
    learn(nodes)
    with nodes[0].watch(URL) as watch:
        stopped = time.monotonic()
        nodes[0].pause()
        assert watch.until("VOID") - stopped <= LEASE + 0.05
        nodes[0].resume()
        watch.until("HIT")  # no record was missed: it is true again


def test_a_stopped_redis_resumes(nodes, redis):
    learn(nodes)
    with nodes[1].watch(URL) as watch:
        stopped = time.monotonic()
        redis.pause()
        assert watch.until("VOID") - stopped <= LEASE + 0.05
        redis.resume()
        watch.until("HIT")


def old_entry(redis):
    key = f"etag:e:{URL}#{VARIANT}"
    return key, wait_value(redis, key[len("etag:e:"):])


def lost(redis, how):
    """Ways to lose history while Redis goes on, or to lose it with Redis."""
    if how == "flushall":
        redis.cli("FLUSHALL")
    elif how == "del log":
        redis.cli("DEL", LOG)
    elif how == "del epoch":
        redis.cli("DEL", EPOCH)
    elif how == "log made anew":
        redis.cli("DEL", LOG)
        redis.cli("XADD", LOG, "*", "note", "mine")
        redis.cli("XADD", LOG, "*", "note", "mine")
    elif how == "renamed":
        redis.cli("RENAME", LOG, "elsewhere")
    elif how == "restarted empty":
        redis.restart_empty()
    elif how == "swapdb":
        redis.cli("SWAPDB", 0, 1)


@pytest.mark.parametrize("how", ["flushall", "del log", "del epoch", "log made anew", "renamed", "restarted empty",
                                 "swapdb"])
def test_lost_history_voids_everything(nodes, redis, how):
    learn(nodes)
    key, value = old_entry(redis)
    epoch = nodes[0].epoch()
    with nodes[0].watch(URL) as a, nodes[1].watch(URL) as b:
        lost_at = time.monotonic()
        lost(redis, how)
        done_at = time.monotonic()
        for watch in (a, b):
            watch.next()
            assert watch.state in ("STALE", "VOID"), watch.state
            assert watch.at - done_at <= LEASE + 0.05, f"lost {done_at - lost_at:.3f} s before"
    for node in nodes:
        node.wait_info("epoch", lambda e: e not in ("", epoch))
        node.wait_lease()
        redis.call("SET", key, value, "PX", 60000)
        assert node.fetch(URL) == 0, "an entry of an epoch that is over"
    assert nodes[0].epoch() == nodes[1].epoch()
    learn(nodes, '"v2"')


def test_history_that_comes_back_is_not_believed(nodes, redis):
    """SWAPDB there and back: between, invalidations went elsewhere."""
    learn(nodes)
    first = nodes[0].epoch()
    redis.cli("SWAPDB", 0, 1)
    for node in nodes:
        node.wait_info("epoch", lambda e: e not in ("", first))
    second = nodes[0].epoch()
    redis.cli("XADD", LOG, "*", "tag", "catalog")
    redis.cli("SWAPDB", 0, 1)
    for node in nodes:
        node.wait_info("epoch", lambda e: e not in (first, second))
        node.wait_lease()
        assert node.fetch(URL) == 0
        assert not node.look(URL).startswith("HIT")
    learn(nodes, '"v2"')


def test_records_trimmed_after_they_were_seen_cost_nothing(nodes, redis):
    learn(nodes)
    record = redis.cli("XADD", LOG, "*", "tag", "other")
    for node in nodes:
        node.wait_info("applied", record)
    redis.cli("XTRIM", LOG, "MAXLEN", 0)
    for node in nodes:
        renewals = int(node.info("Lease")["renewals"])
        node.wait_info("renewals", lambda n: int(n) >= renewals + 2)
        assert node.info("Log")["floor_raised"] == "0"
        assert node.look(URL).startswith("HIT")


@pytest.mark.parametrize("how", ["xtrim", "xdel", "xtrim and go on", "xdel and go on"])
def test_records_removed_unseen_void_what_is_older(nodes, redis, how):
    learn(nodes)
    key, value = old_entry(redis)
    with redis.client() as r:
        r.call("MULTI")
        if "xtrim" in how:
            r.call("XADD", LOG, "*", "tag", "catalog")
            r.call("XTRIM", LOG, "MAXLEN", 0)
        else:
            r.call("XADD", LOG, "9999999999999-1", "tag", "catalog")
            r.call("XDEL", LOG, "9999999999999-1")
        if "go on" in how:
            r.call("XADD", LOG, "*", "note", "a record that can be read")
        r.call("EXEC")
    for node in nodes:
        node.wait_info("floor_raised", 1)
        node.wait_lease()
        assert node.look(URL) == "STALE"
        redis.call("SET", key, value, "PX", 60000)
        assert node.fetch(URL) == 0
    learn(nodes, '"v2"')


def test_a_node_that_starts_late_reads_the_whole_log(nodes, redis, new_etagd):
    learn(nodes)
    key, value = old_entry(redis)
    learn(nodes, '"other"', "https://www.example.com/other", tags=())
    with redis.client() as r:
        for i in range(5000):
            r.send("XADD", LOG, "*", "tag", f"t{i}")
        for i in range(5000):
            r.read()
        r.call("XADD", LOG, "*", "tag", "catalog")
    redis.call("SET", key, value, "PX", 60000)
    late = Node(new_etagd(redis=redis, node="late").start()).wait_lease()
    assert late.fetch(URL) == 0
    assert late.fetch("https://www.example.com/other") == 1
    # With the front of the log gone it can no longer know, except from the floor on.
    redis.cli("XTRIM", LOG, "MAXLEN", 1)
    later = Node(new_etagd(redis=redis, node="later").start()).wait_lease()
    assert later.fetch("https://www.example.com/other") == 0
    learn([nodes[0], later], '"v2"')


def test_ids_from_the_future(nodes, redis):
    """A clock that jumped: ids go on from there, and nothing else depends on them."""
    learn(nodes)
    redis.cli("XADD", LOG, "18446744073709551000-0", "tag", "catalog")
    for node in nodes:
        wait_for(lambda: node.look(URL) == "STALE", "the record")
    epoch = nodes[0].epoch()
    redis.cli("XADD", LOG, "18446744073709551615-18446744073709551615", "tag", "catalog")  # the last id there is
    for node in nodes:
        node.wait_info("epoch", lambda e: e not in ("", epoch))
        node.wait_lease()
    learn(nodes, '"v2"')


def test_connections_killed(nodes, redis):
    learn(nodes)
    for _ in range(5):
        redis.cli("CLIENT", "KILL", "TYPE", "normal")
    for node in nodes:
        node.wait_info("redis_connected", 1)
        node.wait_lease()
        assert node.look(URL).startswith("HIT")
    redis.cli("SCRIPT", "FLUSH")
    for node in nodes:
        renewals = int(node.info("Lease")["renewals"])
        node.wait_info("renewals", lambda n: int(n) > renewals + 1)
    redis.cli("XADD", LOG, "*", "tag", "catalog")
    for node in nodes:
        wait_for(lambda: node.look(URL) == "STALE", "the record")
    wait_for(lambda: nodes[0].put(URL, '"v2"') == "OK" and redis.call("EXISTS", f"etag:e:{URL}#{VARIANT}") == 1
             and nodes[1].fetch(URL) == 1, "scripts loaded again")
