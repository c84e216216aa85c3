# SPDX-License-Identifier: Apache-2.0
"""Redis by TLS: nodes stay coherent, and a server that cannot prove who it is is not spoken to."""
import socket
import threading
import time

import pytest

from env import machine
from env.cluster import Cluster
from env.node import LOG, URL, VARIANT, Node, entry, learn
from env.process import Failed, wait_for
from env.sentinel import Farm
from env.tls import DAY, Authority, openssl


@pytest.fixture
def ca(work):
    return Authority(work)


@pytest.fixture
def certificate(ca):
    return ca.issue("here")


def node_of(new_etagd, redis, config, name="one"):
    return Node(new_etagd(redis=redis, node=name, config=config).start())


@pytest.fixture
def nodes(new_redis, new_etagd, certificate):
    redis = new_redis(certificate=certificate).start()
    return redis, [node_of(new_etagd, redis, certificate.etagd(), name).wait_lease() for name in ("one", "two")]


# ---- coherence ----

def test_nodes_are_coherent(nodes):
    redis, (one, two) = nodes
    learn([one, two], capsule="Cache-Control: no-cache\n")
    redis.cli("XADD", LOG, "*", "tag", "catalog")
    for node in (one, two):
        wait_for(lambda n=node: n.look(URL) == "STALE", "the record to be applied")
    learn([one, two], '"v2"')
    assert one.call("ETAG", "INVALIDATE", "tag", "catalog") == b"local"
    wait_for(lambda: two.look(URL) == "STALE", "the other node's invalidation")
    assert one.info("Store")["redis"] == redis.url and redis.url.startswith("rediss://")


def test_connections_that_are_cut_come_back(nodes):
    redis, (one, two) = nodes
    learn([one, two])
    for _ in range(3):
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert one.call("ETAG", "INVALIDATE", "tag", "other") == b"local"
        one.wait_info("invalidations_unsent", 0)
    assert one.look(URL).startswith("HIT") and two.look(URL).startswith("HIT")
    epoch = one.epoch()
    redis.restart_empty()
    for node in (one, two):
        node.wait_info("epoch", lambda e: e != epoch)
        node.wait_lease()


class Narrow:
    """A way to a server with little room, that takes nothing while it is shut."""

    def __init__(self, port):
        self.port_behind, self.flows = port, threading.Event()
        self.flows.set()
        self.server = socket.socket()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        self.server.bind(("127.0.0.1", 0))
        self.server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port_behind))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source, sink):
        try:
            while self.flows.wait() and (data := source.recv(65536)):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other direction ended it


def test_more_than_the_socket_takes(new_redis, new_etagd, certificate):
    """A server that reads nothing for a while: what waits for it goes out in pieces, in order, and all of it."""
    redis = new_redis(certificate=certificate).start()
    way = Narrow(redis.port)
    url = f"rediss://127.0.0.1:{way.server.getsockname()[1]}"
    one = node_of(new_etagd, url, certificate.etagd() + "Lease 10s\n").wait_lease()
    two = node_of(new_etagd, redis, certificate.etagd(), "two").wait_lease()
    generation, seq = one.snapshot()
    tags, many = [f"{i}{'t' * 240}" for i in range(16)], 1300  # together more than Linux' largest tcp_wmem
    way.flows.clear()
    with one.client() as c:
        for i in range(many):
            c.send("ETAG", "PUT", generation, seq, f"{URL}&{i}", VARIANT, "", 0, entry(f'"{i}"'),
                   f"Link: <{i}{'x' * 480}>\n", len(tags), *tags, 0)
        assert [c.read() for _ in range(many)] == ["OK"] * many
    assert redis.call("DBSIZE") < many / 10, "most of it waits"
    way.flows.set()
    wait_for(lambda: two.fetch(f"{URL}&{many - 1}") == 1, "the last one")
    for i in range(0, many, 13):
        assert two.fetch(f"{URL}&{i}") == 1 and f"<{i}x" in two.look(f"{URL}&{i}")
    assert one.info("Lease")["last_error"] == "", "on one connection"
    way.server.close()


def test_a_failover_by_sentinels(new_redis, new_sentinel, new_etagd, certificate, ca):
    """Sentinels, the master that they name and the next one: all by TLS."""
    farm = Farm(new_redis, new_sentinel, certificate=certificate).start()
    nodes = [node_of(new_etagd, farm, certificate.etagd(), name).wait_lease() for name in ("one", "two")]
    learn(nodes)
    assert nodes[0].call("ETAG", "INVALIDATE", "tag", "catalog") == b"local"
    nodes[0].wait_info("invalidations_unsent", 0)
    wait_for(lambda: nodes[1].look(URL) == "STALE", "the record to be applied")
    epoch = nodes[0].epoch()
    farm.servers[0].kill()
    for node in nodes:
        node.wait_info("epoch", lambda e: e != epoch, 30)
        node.wait_info("redis_connected", 1, 30)
        node.wait_lease(30)
    learn(nodes, '"v2"')
    nobody = node_of(new_etagd, farm, f"TLSCAFile {ca.file}\n", "three")
    nobody.wait_info("last_error", lambda text: "Sentinel 127.0.0.1" in text and "TLSCertificateFile" in text)


def test_a_cluster(new_redis, new_etagd, certificate):
    cluster = Cluster(new_redis, replicas=0, certificate=certificate).start()
    nodes = [node_of(new_etagd, cluster.url(cluster.servers[i]), certificate.etagd(), f"n{i}").wait_lease() for i in (0, 2)]
    pages = [f"{URL}&{i}" for i in range(12)]
    for url in pages:
        wait_for(lambda u=url: nodes[0].put(u, '"v1"', tags=["all-pages"]) == "OK" and nodes[1].fetch(u), url)
    assert all(server.call("KEYS", "etag:e:*") for server in cluster.servers), "entries on every master"
    cluster.call("XADD", LOG, "*", "tag", "all-pages")
    wait_for(lambda: not any(n.look(u).startswith("HIT") for n in nodes for u in pages), "every node to forget")


# ---- refusals ----

def refused(new_etagd, redis, config, *says):
    """It gets no lease, and says why."""
    node = node_of(new_etagd, redis, config)
    node.wait_info("last_error", lambda text: all(s in text for s in says))
    assert node.info("Lease")["left_ms"] == "0"
    return node


@pytest.mark.parametrize("how, says", [
    ({"names": "IP:127.0.0.2,DNS:localhost"}, "IP address mismatch: connect to a name"),
    ({"begins": -2 * DAY, "ends": -DAY}, "certificate has expired: renew it on the server"),
    ({"begins": DAY, "ends": 2 * DAY}, "certificate is not yet valid: check the clocks"),
])
def test_a_certificate_that_is_not_for_us(new_redis, new_etagd, ca, how, says):
    redis = new_redis(certificate=ca.issue("there", **how), clients="no").start()
    refused(new_etagd, redis, f"TLSCAFile {ca.file}\n", says)


def test_a_name_that_is_not_in_the_certificate(new_redis, new_etagd, ca):
    redis = new_redis(certificate=ca.issue("there", "IP:127.0.0.1,DNS:redis.example.com"), clients="no").start()
    url = redis.url.replace("127.0.0.1", "localhost")
    node = refused(new_etagd, url, f"TLSCAFile {ca.file}\n", "hostname mismatch", "TLSServerName")
    # Names that are in it: the address, or the one that all servers share.
    node_of(new_etagd, redis, f"TLSCAFile {ca.file}\n", "two").wait_lease()
    node.etagd.config += "TLSServerName redis.example.com\n"
    node.reload()
    node.wait_lease()


def test_a_name_that_is_only_the_subject(new_redis, new_etagd, ca):
    """As was done long ago; RFC 9525 does not look there."""
    redis = new_redis(certificate=ca.issue("localhost", "IP:127.0.0.1"), clients="no").start()
    url = redis.url.replace("127.0.0.1", "localhost")
    refused(new_etagd, url, f"TLSCAFile {ca.file}\n", "hostname mismatch")


def test_a_certificate_of_another_ca(new_redis, new_etagd, ca, work):
    redis = new_redis(certificate=Authority(work, "other").issue("there"), clients="no").start()
    refused(new_etagd, redis, f"TLSCAFile {ca.file}\n", "name the CA that has signed it with TLSCAFile")
    refused(new_etagd, redis, "", "name the CA that has signed it with TLSCAFile")  # the system's


def test_a_server_that_wants_our_certificate(new_redis, new_etagd, ca, certificate, work):
    redis = new_redis(certificate=certificate).start()
    refused(new_etagd, redis, f"TLSCAFile {ca.file}\n", "TLSCertificateFile")
    stranger = Authority(work, "other").issue("stranger")
    refused(new_etagd, redis, stranger.etagd().replace(str(stranger.ca), str(ca.file)), "TLSCertificateFile")


def test_a_server_without_tls(redis, new_etagd, ca):
    url = redis.url.replace("redis://", "rediss://")
    refused(new_etagd, url, f"TLSCAFile {ca.file}\n", "TLS", "port")


def test_a_server_with_tls_that_is_asked_without(new_redis, new_etagd, certificate):
    redis = new_redis(certificate=certificate).start()
    refused(new_etagd, redis.url.replace("rediss://", "redis://"), "", "rediss://")


OLD = """openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
"""


def test_a_server_of_old_versions(new_redis, new_etagd, certificate, work):
    """Also where the system would allow it."""
    old = machine.write(work / "old.cnf", OLD)
    redis = new_redis(certificate=certificate, options=["tls-protocols TLSv1.1", "tls-ciphers ALL:@SECLEVEL=0"])
    etagd = new_etagd(redis=redis, node="one", config=certificate.etagd())
    redis.environment["OPENSSL_CONF"] = etagd.environment["OPENSSL_CONF"] = str(old)
    redis.start()
    node = Node(etagd.start())
    node.wait_info("last_error", lambda text: "TLS 1.2" in text)
    assert node.info("Lease")["left_ms"] == "0"


def test_a_server_that_stalls_in_the_handshake(new_etagd, ca):
    """Nobody waits for it: etagd answers, and gives up after the time it has for connecting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = node_of(new_etagd, f"rediss://127.0.0.1:{server.getsockname()[1]}", f"TLSCAFile {ca.file}\n")
        begin, slowest, error = time.monotonic(), 0, ""
        while "no TLS handshake in time" not in error:
            asked = time.monotonic()
            error = node.info("Lease")["last_error"]
            slowest = max(slowest, time.monotonic() - asked)
            assert asked - begin < 10
        assert 1 < time.monotonic() - begin < 5 and slowest < 0.5


# ---- certificates are renewed ----

def test_a_new_ca_is_taken_at_reload(new_redis, new_etagd, ca, certificate, work):
    redis = new_redis(certificate=certificate).start()
    mine = machine.write(work / "ca.pem", ca.file.read_bytes())
    node = node_of(new_etagd, redis, certificate.etagd().replace(str(ca.file), str(mine))).wait_lease()
    redis.stop()
    renewed = Authority(work, "next")
    redis.certificate = renewed.issue("here")
    redis.clients = "no"
    redis.start()
    node.wait_info("last_error", lambda text: "TLSCAFile" in text)
    node.wait_info("left_ms", 0)
    machine.write(mine, "not a certificate\n")
    node.reload()
    wait_for(lambda: "reload refused" in node.log.read_text(), "the refusal")
    assert f"{node.config_file}:" in node.log.read_text() and "TLSCAFile" in node.log.read_text()
    assert node.call("PING") == "PONG"
    machine.write(mine, renewed.file.read_bytes())
    node.reload()
    node.wait_lease()
    assert "restart etagd" not in node.log.read_text()


def test_our_new_certificate_is_taken_at_reload(new_redis, new_etagd, ca, certificate):
    redis = new_redis(certificate=certificate).start()
    mine = ca.issue("mine", begins=-2 * DAY, ends=-DAY)
    node = refused(new_etagd, redis, mine.etagd(), "TLSCertificateFile has expired")
    ca.issue("mine")
    node.reload()
    node.wait_lease()


def test_a_server_with_a_new_certificate_of_the_same_ca(nodes, ca):
    """Restarted with it, as is usual: nobody has to tell etagd."""
    redis, (one, two) = nodes
    epoch = one.epoch()
    redis.stop()
    redis.certificate = ca.issue("renewed")
    redis.start()
    for node in (one, two):
        node.wait_info("epoch", lambda e: e != epoch)
        node.wait_info("redis_connected", 1)
        node.wait_lease()
    learn([one, two])


# ---- what the configuration says ----

@pytest.mark.parametrize("spoil, says", [
    (lambda c: c.key.chmod(0o644), "others than etagd may read it; chmod 0600"),
    (lambda c: machine.write(c.key, c.file.read_bytes(), 0o600), "no key in PEM form"),
    (lambda c: machine.write(c.key, Authority(c.key.parent, "x").issue("y").key.read_bytes(), 0o600), "another one"),
    (lambda c: openssl("ec", "-in", c.key, "-out", c.key, "-aes128", "-passout", "pass:x"), "it is encrypted"),
    (lambda c: machine.write(c.file, b""), "no usable certificate"),
    (lambda c: c.file.unlink(), "No such file"),
])
def test_files_that_cannot_be_used(new_etagd, certificate, spoil, says):
    spoil(certificate)
    etagd = new_etagd(redis="rediss://127.0.0.1:1", config=certificate.etagd())
    with pytest.raises(Failed, match="status 78") as failed:
        etagd.start()
    assert says in str(failed.value) and f"{etagd.config_file}:" in str(failed.value)
