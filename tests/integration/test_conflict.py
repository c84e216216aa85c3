# SPDX-License-Identifier: Apache-2.0
"""Two responses with different entity-tags and no invalidation between them: nobody knows which of them is
current, so none is confirmed before the handler, on no node, until a record covers the page or its time is
over."""
import itertools
import time

import pytest
from env.backend import answer
from env.node import VARIANT, Node, entry, two_nodes
from env.process import wait_for
from env.resp import RespError
from env.tags import content_tag

A, B = b"<p>the one</p>\n", b"<p>and the other</p>\n"
HTML = [("Content-Type", "text/html")]
PAGE = "https://www.example.com/p"
LOG = "{etag}:log"
STORED = f"etag:e:{PAGE}#{VARIANT}"


def tag(body):
    return content_tag(body, "text/html")


def alternate(backend, path="/p"):
    """A handler that says A, B, A, B..."""
    bodies = itertools.cycle((A, B))
    backend.routes[path] = lambda request, send: send(answer(next(bodies), HTML, request=request)) or True


@pytest.fixture
def site(new_httpd, etagd, backend):
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = f"ETagEngine On\nETagEarly On\nETagTimeout 1s\nETagTTL 60s\nProxyPass / {backend.url}/\n"
    return site.start()


def asked(site, backend, sent):
    """The answer, and whether the backend was asked for it."""
    before = backend.count()
    a = site.get("/p", {"If-None-Match": sent})
    return a, backend.count() > before


def test_what_alternates_is_never_confirmed_early(site, etagd, backend):
    alternate(backend)
    for body in (A, B, A):
        assert site.get("/p").body == body
    for i, current in zip(range(12), itertools.cycle((B, A))):
        sent = tag((A, B)[i // 2 % 2])
        a, by_backend = asked(site, backend, sent)
        assert by_backend, "a 304 before the handler, for a tag that may not be current"
        # Late evaluation goes on: what the handler made decides.
        assert (a.status, a.etag) == ((304 if sent == tag(current) else 200), tag(current))
    assert int(etagd.info("Store")["conflicts"]) >= 1



# ---- several nodes, as httpd talks to them ----

@pytest.fixture
def nodes(redis, new_etagd):
    return two_nodes(redis, new_etagd)


def learn(nodes, label):
    """The first publishes, both hold it."""
    assert nodes[0].put(PAGE, label, tags=("old",)) == "OK"
    for node in nodes:
        wait_for(lambda n=node: n.fetch(PAGE) == 1, "the entry on every node")
        assert node.look(PAGE).startswith(f"HIT u {label}")


def newest(redis):
    """The newest record of the log: id, fields."""
    at, fields = redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0]
    return at.decode(), [f.decode() for f in fields]


def is_conflict(node):
    """Whatever it held before: it asks, as a module does on a miss, and gets no answer."""
    node.fetch(PAGE)
    return node.look(PAGE) == "CONFLICT"


def test_one_node_sees_it_all_nodes_stop(nodes, redis):
    learn(nodes, '"a"')
    assert nodes[1].put(PAGE, '"b"', tags=("new",)) == "OK"
    assert nodes[1].look(PAGE) == "CONFLICT", "at once where it was seen"
    wait_for(lambda: is_conflict(nodes[0]), "the other node to hear of it")
    assert newest(redis)[1][:2] == ["x-conflict", f"{PAGE}#{VARIANT}"]
    for label in ('"a"', '"b"', '"a"'):
        for node in nodes:
            assert node.put(PAGE, label) == "OK"
            assert is_conflict(node)
    assert int(nodes[1].info("Store")["conflicts"]) >= 1


def test_a_node_that_knows_nothing_learns_of_it(nodes, redis, new_etagd):
    """A third etagd, or one that was restarted: it fetches the mark, and its own responses do not undo it."""
    learn(nodes, '"a"')
    assert nodes[1].put(PAGE, '"b"') == "OK"
    wait_for(lambda: is_conflict(nodes[0]), "the other node to hear of it")
    fresh = Node(new_etagd(redis=redis, node="three").start()).wait_lease()
    assert fresh.look(PAGE) == "MISS"
    assert is_conflict(fresh)
    for label in ('"b"', '"a"'):
        other = Node(new_etagd(redis=redis, node=f"says {label[1]}".replace(" ", "-")).start()).wait_lease()
        assert other.put(PAGE, label) == "OK"
        wait_for(lambda n=other: n.look(PAGE) == "CONFLICT", "the mark to be found by publishing")
    assert is_conflict(fresh)


@pytest.mark.parametrize("fields", [("url", "www.example.com/p"), ("tag", "new"), ("all", "1")], ids=lambda f: f[0])
def test_a_record_that_covers_it_ends_it(nodes, redis, fields):
    learn(nodes, '"a"')
    assert nodes[1].put(PAGE, '"b"', tags=("new",)) == "OK"
    wait_for(lambda: is_conflict(nodes[0]), "the other node to hear of it")
    redis.cli("XADD", LOG, "*", *fields)
    for node in nodes:
        wait_for(lambda n=node: n.look(PAGE) in ("STALE", "MISS"), "the record to be applied")
    learn(nodes, '"b"')
    assert nodes[0].put(PAGE, '"b"', tags=("old",)) == "OK"
    assert nodes[0].look(PAGE).startswith('HIT u "b"')


def test_an_announced_change_is_none(nodes, redis):
    learn(nodes, '"a"')
    for label in ('"b"', '"c"', '"d"'):
        redis.cli("XADD", LOG, "*", "url", "www.example.com/p")
        for node in nodes:
            wait_for(lambda n=node: n.look(PAGE) == "STALE", "the record to be applied")
        learn(nodes, label)
    for node in nodes:
        assert node.info("Store")["conflicts"] == "0"


def test_its_time_ends_it(nodes, redis):
    """A page that changed once without being announced is learned again after its ETagTTL, and no response
    that says the same puts that off."""
    assert nodes[0].put(PAGE, '"a"', ttl_ms=3000) == "OK"
    wait_for(lambda: nodes[1].fetch(PAGE) == 1, "the entry on the other node")
    begin = time.monotonic()
    assert nodes[1].put(PAGE, '"b"', ttl_ms=3000) == "OK"
    wait_for(lambda: is_conflict(nodes[0]), "the other node to hear of it")

    def learned():
        assert nodes[0].put(PAGE, '"b"', ttl_ms=3000) == "OK"
        return nodes[1].fetch(PAGE) == 1 and nodes[1].look(PAGE).startswith('HIT u "b"')

    wait_for(learned, "the page to be learned again")
    assert 1.5 < time.monotonic() - begin < 5


def test_an_older_entry_does_not_bring_it_back(nodes, redis, new_etagd):
    """What was stored before the conflict was announced is not believed, whoever finds it there."""
    bystander = Node(new_etagd(redis=redis, node="three").start()).wait_lease()
    learn(nodes, '"a"')
    stored = redis.call("GET", STORED)
    assert nodes[1].put(PAGE, '"b"') == "OK"
    wait_for(lambda: is_conflict(nodes[0]), "the other node to hear of it")
    redis.call("SET", STORED, stored, "PX", 60000)
    bystander.etagd.wait_info("applied", newest(redis)[0])
    assert bystander.fetch(PAGE) == 0 and bystander.look(PAGE) == "MISS"
    assert is_conflict(nodes[0])


def test_a_mark_that_cannot_be_stored_forgets_the_page(nodes, redis):
    """Then no node may keep what it holds."""
    learn(nodes, '"a"')
    newer = redis.call("GET", STORED).decode().split(" ")
    ms, seq = newer[2].split("-")
    newer[2] = f"{int(ms) + 3600000}-{seq}"
    redis.call("SET", STORED, " ".join(newer), "PX", 60000)
    assert nodes[1].put(PAGE, '"b"') == "OK"
    wait_for(lambda: nodes[0].look(PAGE) == "STALE", "the page to be forgotten")
    assert newest(redis)[1][:4] == ["url", PAGE, "why", "conflict"]


def test_a_response_with_more_labels_than_can_be_shared(nodes, redis):
    """What it contradicts goes all the same."""
    learn(nodes, '"a"')
    assert nodes[1].put(PAGE, '"b"', tags=[f"tag-{i}" for i in range(300)]) == "OK"
    for node in nodes:
        wait_for(lambda n=node: n.look(PAGE) in ("MISS", "STALE"), "the page to be forgotten")
    assert newest(redis)[1][:4] == ["url", PAGE, "why", "conflict"]


# ---- what is learned of a conflict while there is no lease ----

@pytest.fixture
def hasty(redis, new_etagd):
    """Two nodes whose leases are short."""
    return [Node(new_etagd(redis=redis, node=name, config="Lease 1s\n").start()).wait_lease()
            for name in ("one", "two")]


def publish_while_redis_is_slow(node, redis, label):
    """Its answer comes when the lease has lapsed."""
    redis.pause()
    try:
        assert node.put(PAGE, label) == "OK"
        node.wait_info("last_error", lambda text: "lease connection: no reply in time" in text)
    finally:
        redis.resume()
    node.wait_lease()


def test_a_node_that_had_no_lease_hears_of_it(hasty):
    """The record is applied before there is a lease again, when readers are told nothing yet."""
    learn(hasty, '"a"')
    hasty[0].pause()
    over = time.monotonic() + 1.2  # no answer that is on its way gives a lease then
    try:
        assert hasty[1].put(PAGE, '"b"') == "OK"
        hasty[1].wait_info("last_record", lambda text: "x-conflict" in text)
        wait_for(lambda: time.monotonic() > over, "the lease to lapse")
    finally:
        hasty[0].resume()
    hasty[0].wait_info("last_record", lambda text: "x-conflict" in text)
    hasty[0].wait_lease()
    assert is_conflict(hasty[0])


def test_it_is_seen_by_a_node_that_lost_its_lease(hasty, redis):
    """The answer to what it published tells it of another tag."""
    assert hasty[0].put(PAGE, '"a"') == "OK"
    wait_for(lambda: redis.call("GET", STORED), "the entry in Redis")
    publish_while_redis_is_slow(hasty[1], redis, '"b"')
    for node in hasty:
        wait_for(lambda n=node: is_conflict(n), "the conflict on both nodes")


def test_a_mark_is_left_by_a_node_that_lost_its_lease(hasty, redis, new_etagd):
    learn(hasty, '"a"')
    assert hasty[1].put(PAGE, '"b"') == "OK"
    wait_for(lambda: is_conflict(hasty[0]), "the other node to hear of it")
    late = Node(new_etagd(redis=redis, node="three", config="Lease 1s\n").start()).wait_lease()
    publish_while_redis_is_slow(late, redis, '"a"')
    wait_for(lambda: late.look(PAGE) == "CONFLICT", "the mark to be found")
    assert is_conflict(Node(new_etagd(redis=redis, node="four").start()).wait_lease())


def test_people_see_it(nodes):
    learn(nodes, '"a"')
    assert nodes[1].put(PAGE, '"b"') == "OK"
    told = [t.decode() for t in nodes[1].call("ETAG", "GET", f"{PAGE}#{VARIANT}")]
    pairs = dict(zip(told[::2], told[1::2]))
    assert (pairs["state"], pairs["tag"]) == ("conflict", '"b"')
    assert int(pairs["expires-in"]) > 0
    assert "different entity-tags" in nodes[1].etagd.log.read_text()


def test_a_publisher_cannot_claim_it(nodes):
    generation, seq = nodes[0].snapshot()
    with pytest.raises(RespError, match="learned"):
        nodes[0].call("ETAG", "PUT", generation, seq, PAGE, "v", "", 0, entry('"a"', flags=4), "", 0, 0)
