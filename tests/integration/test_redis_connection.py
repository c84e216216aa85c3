# SPDX-License-Identifier: Apache-2.0
"""Between etagd and Redis: passwords, rights, names taken by others, slowness, and what etagd says then."""
import os
import socket
import threading
import time

import pytest

from env import machine
from env.node import LOG, TAGS, URL, Node, learn, two_nodes
from env.process import wait_for
from env.resp import RespError


@pytest.fixture
def nodes(redis, new_etagd):
    return two_nodes(redis, new_etagd)


def test_the_log_is_where_redis_is(nodes, redis):
    """etagd keeps no second log beside Redis: who asks it is told whom to ask."""
    for command in (("XADD", LOG, "*", "all", "1"), ("XRANGE", LOG, "-", "+", "COUNT", "1"), ("XLEN", LOG)):
        with pytest.raises(RespError, match=redis.url):
            nodes[0].call(*command)
    assert redis.call("XLEN", LOG) == int(nodes[0].info("Log")["records_counted"])


@pytest.mark.parametrize("key, kind", [("log", "list"), ("epoch", "string"), ("nodes", "string"), ("hosts", "string")])
def test_a_name_taken_by_somebody_else(redis, new_etagd, key, kind):
    name = "{etag}:" + key
    redis.cli(*(("LPUSH", name, "x") if kind == "list" else ("SET", name, "x")))
    node = Node(new_etagd(redis=redis, node="one").start())
    node.wait_info("last_error", lambda text: name in text and "DEL it" in text and "KeyPrefix" in text)
    assert node.info("Lease")["left_ms"] == "0"
    assert redis.call("TYPE", name) == kind, "what is not ours is not touched"
    redis.cli("DEL", name)
    node.wait_lease()


def test_what_redis_refuses_again_and_again_is_told_seldom(nodes, redis):
    """Redis names the script in its answer: the answers differ, the trouble does not."""
    learn(nodes)
    at = nodes[0].snapshot()
    dropped = int(nodes[0].info("Store")["shared_puts_dropped"])
    redis.call("CONFIG", "SET", "maxmemory", 1)
    for n in range(50):
        nodes[0].put(f"{URL}/{n}", f'"v{n}"', at=at)
    nodes[0].wait_info("shared_puts_dropped", lambda value: int(value) - dropped >= 100)  # an entry and its names each
    told = [line for line in nodes[0].log.read_text().splitlines() if "maxmemory" in line and " error: " in line]
    assert 1 <= len(told) <= 2, told


def test_a_wrong_password_is_told_and_can_be_mended(new_redis, new_etagd, work):
    redis = new_redis(password="right").start()
    secret = work / "secret"
    secret.write_text("wrong\nnot this line\n")
    os.chmod(secret, 0o600)
    etagd = new_etagd(redis=redis, node="one", config=f"RedisPasswordFile {secret}\n")
    os.chown(secret, etagd.folder.stat().st_uid, etagd.folder.stat().st_gid)
    node = Node(etagd.start())
    node.wait_info("last_error", lambda text: "WRONGPASS" in text and "RedisPasswordFile" in text)
    assert node.info("Lease")["left_ms"] == "0"
    secret.write_text("right\n")
    node.wait_lease()
    assert "wrong" not in node.log.read_text() and "right" not in node.log.read_text().replace("/", "")


def test_no_password_where_one_is_wanted(new_redis, new_etagd):
    redis = new_redis(password="right").start()
    node = Node(new_etagd(redis=redis, node="one").start())
    node.wait_info("last_error", lambda text: "NOAUTH" in text and "RedisPasswordFile" in text)


def test_the_log_is_kept_short(redis, new_etagd):
    node = Node(new_etagd(redis=redis, node="one", config="LogMaxLength 1000\n").start()).wait_lease()
    learn([node])
    with redis.client() as r:
        for i in range(3000):
            r.send("XADD", LOG, "*", "tag", f"t{i}")
        last = [r.read() for _ in range(3000)][-1].decode()
    node.wait_info("applied", last)
    redis.call("HSET", "{etag}:epoch", "trimmed_ms", 0)
    wait_for(lambda: 1000 <= redis.call("XLEN", LOG) < 1200, "the log to be trimmed")
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 1)
    assert node.look(URL).startswith("HIT") and node.info("Log")["floor_raised"] == "0"


def test_a_server_that_is_not_redis(new_etagd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer():
            while True:
                try:
                    c, _ = server.accept()
                except OSError:
                    return
                c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                c.close()

        threading.Thread(target=answer, daemon=True).start()
        node = Node(new_etagd(redis=f"redis://127.0.0.1:{server.getsockname()[1]}", node="one").start())
        node.wait_info("last_error", lambda text: "protocol" in text)
        server.shutdown(socket.SHUT_RDWR)
    node.wait_info("last_error", lambda text: "refused" in text)


def test_a_name_of_the_hosts_file(redis, new_etagd):
    """It has addresses of one family, perhaps: with nobody there, each is tried again and again."""
    redis.stop()
    node = Node(new_etagd(redis=redis.url.replace("127.0.0.1", "localhost"), node="one").start())
    node.wait_info("last_error", lambda text: "refused" in text)
    redis.start()
    node.wait_lease()


def test_a_name_that_nobody_knows(new_etagd):
    node = Node(new_etagd(redis="redis://nobody.invalid:6379", node="one").start())
    node.wait_info("last_error", lambda text: "nobody.invalid" in text and len(text) > 40)
    assert node.call("PING") == "PONG"


def test_database_and_unix_socket(redis, new_etagd):
    one = Node(new_etagd(redis=redis.unix_url + "?db=3", node="one").start()).wait_lease()
    two = Node(new_etagd(redis=redis.url[:-1] + "3", node="two").start()).wait_lease()
    learn([one, two])
    assert redis.call("DBSIZE") == 0 and b"db3:" in redis.call("INFO", "keyspace")


def test_two_farms_on_one_redis(nodes, redis, new_etagd):
    other = Node(new_etagd(redis=redis, node="one", config="KeyPrefix farm2\n").start()).wait_lease()
    learn(nodes)
    assert other.fetch(URL) == 0
    redis.cli("XADD", "{farm2}:log", "*", "all", "1")
    wait_for(lambda: other.info("Log")["records_applied"] == "1", "the record of the other farm")
    assert nodes[0].look(URL).startswith("HIT")


class Slow:
    """Passes bytes between etagd and Redis, each way this much later."""

    def __init__(self, redis, delay):
        self.redis, self.delay = redis, delay
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.server.getsockname()[1]}"

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.redis.port))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, source, sink):
        queue, more = [], threading.Condition()

        def deliver():
            while True:
                with more:
                    more.wait_for(lambda: queue)
                    due, data = queue.pop(0)
                time.sleep(max(0, due - time.monotonic()))  # the delay is what this class is for
                try:
                    sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
                except OSError:
                    return
                if not data:
                    return

        threading.Thread(target=deliver, daemon=True).start()
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            with more:
                queue.append((time.monotonic() + self.delay, data))
                more.notify()
            if not data:
                return

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.close()


def test_a_slow_redis_shortens_the_lease(redis, new_etagd):
    with Slow(redis, 0.2) as slow:
        node = Node(new_etagd(redis=slow.url, node="far").start()).wait_lease()
        seen = []
        for _ in range(5):
            before = int(node.info("Lease")["renewals"])
            node.wait_info("renewals", lambda n: int(n) > before)
            seen.append(int(node.info("Lease")["left_ms"]))
        # 400 ms went by between the question and the answer, and they count.
        assert max(seen) <= 1600 and min(seen) > 0, seen
        assert node.put(URL, '"v1"', tags=TAGS) == "OK"
        with node.watch(URL) as watch:
            redis.cli("XADD", LOG, "*", "tag", "catalog")
            told = time.monotonic()
            assert watch.until("STALE") - told < 1


def test_a_redis_slower_than_the_lease_gives_none(redis, new_etagd):
    with Slow(redis, 0.3) as slow:
        node = Node(new_etagd(redis=slow.url, node="far", config="Lease 500ms\n").start())
        node.wait_info("last_error", lambda text: "in time" in text, timeout=20)
        assert node.info("Lease")["left_ms"] == "0"
