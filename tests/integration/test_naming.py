# SPDX-License-Identifier: Apache-2.0
"""ETAG NAME: the first node that needs a name gives it, every node takes it over, nothing older carries it."""
import base64
import hashlib
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from env.late import Late
from env.node import LOG, URL, Node, two_nodes
from env.process import wait_for
from env.resp import RespError

NAME = f"etag:e:{URL}#g"
DATE = f"etag:e:{URL}#m"
OLD, NEW, THIRD = (hashlib.sha256(t).hexdigest() for t in (b"old", b"new", b"third"))


@pytest.fixture
def nodes(redis, new_etagd):
    return two_nodes(redis, new_etagd)


def name(node, at=None, tags=(), groups=(), key=URL, flags=0, ttl_ms=0):
    """The generation's name, None where none may be carried; at is an earlier snapshot()."""
    generation, seq = at or node.snapshot()
    return node.call("ETAG", "NAME", generation, seq, key, "g", f"{flags}:{ttl_ms}", len(tags), *tags, len(groups), *groups)


def date(node, digest, mtime, key=URL):
    """(date or None, since), None where nothing may be said."""
    reply = node.call("ETAG", "NAME", *node.snapshot(), key, "m", f"{digest}:{mtime}", 0, 0)
    if reply is None:
        return None
    given, since = reply.decode().split(" ")
    return (None if given == "-" else int(given)), int(since)


def forget(redis, nodes, *fields):
    record = redis.cli("XADD", LOG, "*", *fields)
    for node in nodes:
        node.wait_info("applied", record)
    return record


# ---- generations ----

def test_a_race_has_one_winner(redis, new_etagd):
    nodes = [Node(new_etagd(redis=redis, node=f"n{i}").start()).wait_lease() for i in range(3)]
    names = set()
    for _ in range(5):
        start, got = threading.Barrier(21), []
        at = [n.snapshot() for n in nodes]

        def one(i):
            start.wait()
            got.append(name(nodes[i % 3], at[i % 3]))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(20)]
        for t in threads:
            t.start()
        start.wait()
        for t in threads:
            t.join()
        assert len(got) == 20 and len(set(got)) == 1 and got[0], got
        assert got[0] not in names and len(got[0]) == 22
        names.add(got[0])
        forget(redis, nodes, "url", "www.example.com/shop/products/42")


@pytest.mark.parametrize("operation", [
    ("url", "www.example.com/shop/products/42"), ("prefix", "www.example.com/shop/"), ("host", "www.example.com"),
    ("tag", "catalog"), ("group", "www.example.com news desk"), ("all", "1"),
], ids=lambda o: o[0])
def test_what_covers_the_page_ends_its_name(nodes, redis, operation):
    one, two = nodes
    labels = {"tags": ["product-42", "catalog"], "groups": ["news desk"]}
    before = [n.snapshot() for n in nodes]
    first = name(one, **labels)
    assert first and name(two, **labels) == first
    forget(redis, nodes, "tag", "somebody-elses")
    assert name(two, before[1], **labels) == first
    forget(redis, nodes, *operation)
    # Begun before: neither the name that has ended nor the next one.
    assert [name(n, at, **labels) for n, at in zip(nodes, before)] == [None, None]
    second = name(two, **labels)
    assert second and second != first
    assert name(one, **labels) == second
    assert [name(n, at, **labels) for n, at in zip(nodes, before)] == [None, None]


def test_labels_have_names_of_their_own(nodes, redis):
    """A late label must not be missing from what other nodes hold of a name."""
    one, two = nodes
    few = name(one, tags=["a"])
    assert name(two, tags=["a"]) == few
    many = name(one, tags=["a", "b"])
    assert many != few and name(two, tags=["b", "a"]) == many
    forget(redis, nodes, "tag", "b")
    for node in nodes:
        assert name(node, tags=["a"]) == few
        assert name(node, tags=["a", "b"]) not in (many, None)


def test_any_query_ends_the_name_of_several(nodes, redis):
    one, two = nodes
    several, single = name(one, flags=2), name(one)
    assert several != single
    forget(redis, nodes, "url", "www.example.com/shop/products/42?lang=fr")
    assert name(two) == single and name(two, flags=2) not in (several, None)


def test_a_name_of_the_future_is_not_carried(nodes, redis):
    """As another node would have given it after an invalidation that this one has not heard of yet."""
    one, _ = nodes
    first = name(one)
    words = redis.call("GET", NAME).decode().split(" ")
    assert words[:1] + words[3:] == ["1", f"g:{first.decode()}", "1", "-", "-"] and words[1] == one.epoch()
    forget(redis, nodes, "url", "www.example.com/shop/products/42")
    later = f"1 {words[1]} {int(words[2].split('-')[0]) + 10_000_000}-0 g:AAAAAAAAAAAAAAAAAAAAAA 1 - -"
    redis.call("SET", NAME, later, "PX", 60000)
    assert name(one) is None
    assert redis.call("GET", NAME).decode() == later
    assert one.call("ETAG", "FETCH", f"{URL}#g") == 0 and one.look(URL, "g") == "STALE"


def test_what_is_no_name_is_replaced(nodes, redis):
    one, two = nodes
    for value in ("nonsense", f"1 {'0' * 32} 9-9 g:AAAAAAAAAAAAAAAAAAAAAA 1 - -", f"1 {one.epoch()} 9-9 u:\"x\" 0 - -"):
        forget(redis, nodes, "all", "1")
        redis.call("SET", NAME, value, "PX", 60000)
        given = name(one)
        assert given and given != b"A" * 22 and name(two) == given
    forget(redis, nodes, "all", "1")
    redis.call("DEL", NAME)
    redis.call("LPUSH", NAME, "a list")
    assert name(one) is None


def test_a_life_is_not_prolonged(nodes, redis):
    one, two = nodes
    first = name(one, ttl_ms=3000)
    assert 0 < redis.call("PTTL", NAME) <= 3000
    assert name(two, ttl_ms=60000) == first
    with two.watch(URL, "g") as watch:
        assert watch.state.startswith("HIT g")
        watch.until("EXPIRED")
    wait_for(lambda: redis.call("PTTL", NAME) == -2, "its end in Redis")
    assert name(one) not in (first, None)


def test_another_epoch_another_name(nodes, redis):
    one, two = nodes
    first, at, epoch = name(one), one.snapshot(), one.epoch()
    redis.call("FLUSHALL")
    for node in nodes:
        wait_for(lambda n=node: n.epoch() not in ("", epoch), "the new epoch")
        node.wait_lease()
    second = name(one)
    assert second not in (first, None) and name(two) == second
    assert name(one, at) is None


def test_without_redis_no_name(nodes, redis):
    one, _ = nodes
    first = name(one)
    assert name(one) == first
    redis.kill()
    assert name(one, tags=["x"]) is None, "Redis has no say any more"
    one.wait_info("left_ms", 0)
    assert name(one) is None
    redis.start()


def test_a_node_that_starts_later_takes_it_over(nodes, redis, new_etagd):
    one, _ = nodes
    forget(redis, nodes, "tag", "x")
    first = name(one)
    for remark in range(3):  # records that invalidate nothing move no node ahead of another
        redis.cli("XADD", LOG, "*", "note", remark)
    three = Node(new_etagd(redis=redis, node="three").start()).wait_lease()
    assert name(three) == first
    record = redis.cli("XADD", LOG, "*", "note", "x")
    for node in (one, three):
        node.wait_info("applied", record)
    second = name(one, tags=["y"])
    assert second and name(three, tags=["y"]) == second


def test_names_of_hosts_move_all_nodes_alike(nodes, redis):
    """Each node takes a new name of a host for a reason to doubt what is older, at a moment of its own."""
    one, two = nodes
    redis.cli("XADD", LOG, "*", "note", "x")
    assert one.call("ETAG", "HOSTS", "shop.example", "shop.example") == "OK"
    two.wait_info("hosts", 1)
    forget(redis, nodes, "note", "y")
    first = name(two)
    assert first and name(one) == first


def test_who_goes_away_is_forgotten(nodes, redis):
    one, _ = nodes
    at = one.snapshot()
    redis.call("CLIENT", "PAUSE", 300, "ALL")
    gone, stays = one.client(), one.client()
    for c in (gone, stays):
        c.send("ETAG", "NAME", *at, URL, "g", "0:0", 0, 0)
    gone.close()
    assert len(stays.read()) == 22
    stays.close()


def test_a_node_that_stops_owes_nothing(nodes, redis):
    """Questions on their way when it is told to stop."""
    one, two = nodes
    at = one.snapshot()
    redis.call("CLIENT", "PAUSE", 60000, "ALL")
    asking = [one.client() for _ in range(3)]
    for i, c in enumerate(asking):
        c.send("ETAG", "NAME", *at, f"{URL}&n={i}", "g", "0:0", 0, 0)
    one.wait_info("name_asks", 3)
    assert one.stop() == 0
    for c in asking:
        c.close()
    two.kill()
    redis.kill()


def test_malformed_questions(nodes):
    at = nodes[0].snapshot()
    for question in [(URL, "x", "0:0", 0, 0), (URL, "gg", "0:0", 0, 0), (URL, "g", "1:0", 0, 0), (URL, "g", "", 0, 0),
                     (URL, "g", "0:0", 2, "a", 0), (URL, "g", "0:0", 0, 1), (URL, "g", "0:999", 0, 0),
                     (URL, "g", ":", 0, 0), (URL + "#g", "g", "0:0", 0, 0), (URL, "m", f"{OLD}", 0, 0),
                     (URL, "m", f"{OLD}:", 0, 0), (URL, "m", f"{OLD}:1", 1, "a", 0)]:
        with pytest.raises(RespError, match="ERR"):
            nodes[0].call("ETAG", "NAME", *at, *question)
    assert name(nodes[0], tags=[f"t{i}" for i in range(129)]) is None


# ---- dates ----

def test_a_content_has_one_date(nodes, redis):
    one, two = nodes
    first = date(one, OLD, 1000)
    assert first[0] == first[1] > 1_700_000_000, "its file's date may have been another content's before"
    assert date(two, OLD, 2000) == first
    assert date(two, OLD, 500) == first
    assert date(two, NEW, 3000)[0] is None, "another content, within a minute: the nodes differ"
    assert date(one, OLD, 1000) == first
    assert redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][1][0] != b"url"
    assert date(one, OLD, 99_999_999_999, key=URL + "&x=1")[0] <= first[1] + 60, "no file is from the future"


def record_of(redis, epoch, digest, modified, since):
    """As if it had been stored long ago."""
    position = redis.call("GET", DATE).decode().split(" ")[2]
    tag = base64.urlsafe_b64encode(bytes.fromhex(digest) + struct.pack("<q", since)).decode().rstrip("=")
    redis.call("SET", DATE, f"1 {epoch} {position} M:{tag} 2 {modified} -", "PX", 86_400_000)


def test_another_content_is_later(nodes, redis):
    one, two = nodes
    date(one, OLD, 1000)
    record_of(redis, one.epoch(), OLD, 1000, 5000)
    forget(redis, nodes, "host", "elsewhere.example")
    assert date(two, OLD, 1000)[0] == 1000
    since = date(one, NEW, 900)
    assert since[0] == 5001, "later than anything that was said of the former, whatever its file says"
    _, fields = redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0]
    assert fields == [b"url", URL.encode(), b"why", b"content", b"by", b"one"]
    wait_for(lambda: two.look(URL, "m") == "STALE", "what the other node held to be void")
    wait_for(lambda: date(two, NEW, 7000), "the date there")
    wait_for(lambda: date(one, NEW, 7000), "the date here")
    assert date(two, NEW, 7000)[0] == date(one, NEW, 8000)[0] == 5001
    length = redis.call("XLEN", LOG)
    # While nodes differ there is a change a minute, not one a request.
    for _ in range(3):
        assert date(two, OLD, 1000)[0] is None and date(one, NEW, 900)[0] == 5001
    assert redis.call("XLEN", LOG) == length


def test_a_date_that_comes_late_lies_where_its_url_voids_it(redis, new_etagd):
    """What was asked is no longer good when the answer comes, and another question was judged meanwhile."""
    way = Late(redis.port, after=b"content")
    node = Node(new_etagd(redis=way.url, node="one").start()).wait_lease()
    with ThreadPoolExecutor() as pool:
        try:
            date(node, OLD, 1000)
            record_of(redis, node.epoch(), OLD, 1000, 5000)
            forget(redis, [node], "host", "www.example.com")
            change = pool.submit(date, node, NEW, 900)
            assert way.sent.wait(10)
            other = pool.submit(name, node, key=URL + "&x=1")
            wait_for(lambda: int(node.info("Store")["name_asks"]) == 3, "the other question")
            forget(redis, [node], "settle", "60000")
        finally:
            way.go_on.set()
        assert change.result()[0] == 5001
        assert other.result() is None
    assert not node.look(URL, "m").startswith("HIT")
    way.end()
