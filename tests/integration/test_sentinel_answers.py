# SPDX-License-Identifier: Apache-2.0
"""What Sentinels may say, told by ones that say whatever a test wants: who counts, who is followed, and how many
replicas must confirm."""
import os
import socket
import threading

import pytest
from env.node import LOG, Node
from env.process import wait_for
from env.resp import encode

LEASE = 1.0
SHORT = "Lease 1s\n"


class Told:
    """A server that answers like a Sentinel."""

    def __init__(self, port):
        self.master = {"name": "m", "ip": "127.0.0.1", "port": port, "flags": "master", "config-epoch": 7,
                       "num-other-sentinels": 2, "failover-timeout": 180000}
        self.replicas, self.vote, self.silent, self.raw = [], 0, False, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listening = []  # subscribed connections
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with c, c.makefile("rb") as stream:
            try:
                while (line := stream.readline()):
                    argv = []
                    for _ in range(int(line[1:])):
                        n = int(stream.readline()[1:])
                        argv.append(stream.read(n + 2)[:-2].decode())
                    if not self.silent:
                        c.sendall(self.reply(c, [a.upper() for a in argv]))
            except (OSError, ValueError):
                pass  # the other side went away

    def reply(self, c, argv):
        if argv[0] == "PING":
            return b"+PONG\r\n"
        if argv[0] == "SUBSCRIBE":
            self.listening.append(c)
            return encode("subscribe", "+switch-master").replace(b"$1\r\n1\r\n", b":1\r\n")
        if argv[0] != "SENTINEL":
            return b"+OK\r\n"
        if self.raw is not None:
            return self.raw
        if argv[1] == "MASTER":
            return self.flat(self.master)
        if argv[1] == "REPLICAS":
            return b"*%d\r\n" % len(self.replicas) + b"".join(map(self.flat, self.replicas))
        assert argv[1:2] + argv[3:] == ["IS-MASTER-DOWN-BY-ADDR", argv[3], "0", "ETAGD"], "a vote must not be asked for"
        return b"*3\r\n:0\r\n" + (b"$1\r\n*\r\n" if not self.vote else b"$2\r\nxx\r\n") + b":%d\r\n" % self.vote

    @staticmethod
    def flat(pairs):
        return encode(*(str(v) for pair in pairs.items() for v in pair))

    def switch(self):
        """Tells who listens."""
        for c in self.listening:
            c.sendall(encode("message", "+switch-master", "m 127.0.0.1 1 127.0.0.1 2"))


def replica(port, flags="slave", priority=100):
    return {"name": f"127.0.0.1:{port}", "ip": "127.0.0.1", "port": port, "flags": flags, "slave-priority": priority}


def url_of(told):
    return "sentinel://m@" + ",".join(f"127.0.0.1:{t.port}" for t in told)


@pytest.fixture
def told(redis):
    made = [Told(redis.port) for _ in range(3)]
    yield made
    for t in made:
        t.listener.close()


@pytest.fixture
def node(told, new_etagd):
    return Node(new_etagd(redis=url_of(told), node="one", config=SHORT).start()).wait_lease()


def has_lost(node, says="of 3 Sentinels agree"):
    node.wait_info("left_ms", "0", LEASE + 1)
    node.wait_info("last_error", lambda text: says in text)
    return True


def test_a_vote_for_a_failover_counts_against(node, told):
    """Whoever voted may have made another master since. When the failover has come to pass it is over."""
    told[0].vote = told[1].vote = 8
    assert has_lost(node)
    for t in told:
        t.master["config-epoch"] = 8
    node.wait_lease()
    told[2].vote = 9
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 6)
    assert node.info("Lease")["sentinels_agreeing"] == "2"


def test_a_vote_that_came_to_nothing_is_forgotten(told, new_etagd):
    """After the longest time that a failover can take."""
    for t in told:
        t.master["failover-timeout"] = 0
        t.vote = 8
    node = Node(new_etagd(redis=url_of(told), node="one", config=SHORT).start())
    node.wait_info("last_error", lambda text: "0 of 3 Sentinels agree" in text)
    node.wait_lease(20)


@pytest.mark.parametrize("flags", ["master,s_down", "master,failover_in_progress"])
def test_who_sees_something_wrong_does_not_count(node, told, flags):
    told[0].master["flags"] = flags
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 6)
    told[1].master["flags"] = flags
    assert has_lost(node)
    told[0].master["flags"] = "master"
    node.wait_lease()


def test_an_invalidation_needs_the_same_proof(node, told, redis):
    """In the log of a master that may have been replaced it is worth nothing: it is kept."""
    assert node.call("ETAG", "INVALIDATE", "tag", "one") == b"local"
    node.wait_info("invalidations_unsent", "0")
    told[0].master["flags"] = told[1].master["flags"] = "master,s_down"
    assert has_lost(node)
    assert node.call("ETAG", "INVALIDATE", "tag", "two") == b"local"
    wait_for(lambda: redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][1][1] == b"two", "it to be in the log")
    left = int(node.info("Server")["uptime_in_seconds"])
    node.wait_info("uptime_in_seconds", lambda s: int(s) >= left + 2)  # it has been tried again
    assert node.info("Store")["invalidations_unsent"] == "1"
    told[1].master["flags"] = "master"
    node.wait_info("invalidations_unsent", "0")
    assert len(redis.call("XRANGE", LOG, "-", "+")) == 3, "the epoch and two records, none of them twice"


def test_silence_is_no_agreement(node, told):
    told[0].silent = told[2].silent = True
    assert has_lost(node)
    told[0].silent = False
    node.wait_lease()


def test_more_sentinels_than_the_url_names(node, told):
    for t in told:
        t.master["num-other-sentinels"] = 5
    assert has_lost(node, "3 of 6 Sentinels agree")


@pytest.mark.parametrize("lists, wanted", [
    ([[], [], []], 0),
    ([[replica(1), replica(2)]] * 3, 2),
    ([[replica(1)], [replica(2)], [replica(3)]], 2),  # of any two of them
    ([[replica(1, "slave,s_down,disconnected")], [replica(1, "slave,s_down")], [replica(1, "s_down,slave,o_down")]], 0),
    ([[replica(1, "slave,disconnected"), replica(2)]] * 3, 1),
    ([[replica(1, priority=0), replica(2)]] * 3, 2),  # WAIT could not tell which of them confirmed
    ([[replica(1, "slave,s_down")], [replica(1)], [replica(1)]], 1),
], ids=lambda v: None if isinstance(v, list) else str(v))
def test_replicas_that_could_be_promoted_must_confirm(told, new_etagd, redis, lists, wanted):
    for t, replicas in zip(told, lists):
        t.replicas = replicas
    node = Node(new_etagd(redis=url_of(told), node="one", config=SHORT).start())
    if wanted == 0:
        node.wait_lease()
        return
    node.wait_info("replicas_wanted", lambda n: int(n) >= wanted)
    node.wait_info("last_error", lambda text: "confirmed by 0 of" in text)
    assert node.info("Lease")["left_ms"] == "0"


def test_more_replicas_than_can_be_counted(told, new_etagd):
    for t in told:
        t.replicas = [replica(i + 1) for i in range(65)]
    node = Node(new_etagd(redis=url_of(told), node="one", config=SHORT).start())
    node.wait_info("last_error", lambda text: "Sentinels agree" in text)
    assert node.info("Lease")["left_ms"] == "0"


def test_the_newest_failover_is_followed(node, told, new_redis):
    """One that knows less is not, and a server that is no master is not used."""
    old = node.info("Lease")["master"]
    other = new_redis().start()
    told[0].master.update({"port": other.port, "config-epoch": 6})
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 6)
    assert node.info("Lease")["master"] == old
    told[0].master["config-epoch"] = 8
    told[0].switch()
    node.wait_info("master", f"127.0.0.1:{other.port}")
    assert has_lost(node, "1 of 3 Sentinels agree")
    for t in told:
        t.master.update({"port": other.port, "config-epoch": 8})
    node.wait_lease()
    assert other.call("EXISTS", "{etag}:epoch") == 1


def test_the_leader_of_a_failover_names_the_old_master_for_a_while(node, told, new_redis):
    """With the new epoch already: the others are followed all the same."""
    other = new_redis().start()
    told[0].master.update({"flags": "master,o_down,failover_in_progress", "config-epoch": 8})
    renewals = int(node.info("Lease")["renewals"])
    node.wait_info("renewals", lambda n: int(n) > renewals + 6)
    for t in told[1:]:
        t.master.update({"port": other.port, "config-epoch": 8})
    node.wait_info("master", f"127.0.0.1:{other.port}", 3)
    node.wait_lease()


def test_sentinels_set_up_anew_are_believed_by_majority(node, told, new_redis):
    old, other = node.info("Lease")["master"], new_redis().start()
    for t in told[:2]:
        t.master.update({"port": other.port, "config-epoch": 0})
    assert has_lost(node) and node.info("Lease")["master"] == old, "one of them knows better still"
    told[2].silent = True
    node.wait_info("master", f"127.0.0.1:{other.port}")
    node.wait_lease()


def test_a_replica_is_no_master(told, new_etagd, new_redis, redis):
    copy = new_redis(options=[f"replicaof 127.0.0.1 {redis.port}"]).start()
    for t in told:
        t.master["port"] = copy.port
    node = Node(new_etagd(redis=url_of(told), node="one", config=SHORT).start())
    node.wait_info("last_error", lambda text: "no master but a slave" in text)
    copy.call("REPLICAOF", "NO", "ONE")
    node.wait_lease()


@pytest.mark.parametrize("raw", [b"+OK\r\n", b"*0\r\n", b"*2\r\n$2\r\nip\r\n$0\r\n\r\n", b":1\r\n", b"*3\r\n:1\r\n:2\r\n:3\r\n",
                                 b"$-1\r\n", b"*-1\r\n"])
def test_answers_that_make_no_sense(node, told, raw):
    told[0].raw = told[1].raw = raw
    assert has_lost(node, "makes no sense")
    told[0].raw = None
    node.wait_lease()


def test_masters_that_make_no_sense(node, told):
    good = dict(told[0].master)
    for wrong in ({"port": 0}, {"port": 70000}, {"port": "x"}, {"ip": ""}, {"ip": "h" * 300}, {"config-epoch": "-1"},
                  {"config-epoch": "9" * 30}, {"num-other-sentinels": ""}, {"flags": ""}, {"flags": "slave"}):
        for t in told[:2]:
            t.master = {**good, **wrong}
        assert has_lost(node)
        for t in told[:2]:
            t.master = dict(good)
        node.wait_lease()


def test_a_switch_is_heard_at_once(told, new_etagd, new_redis):
    """Without waiting for the next turn, which is far off when the lease is long."""
    node = Node(new_etagd(redis=url_of(told), node="one", config="Lease 60s\n").start())
    node.wait_info("master", f"127.0.0.1:{told[0].master['port']}")
    other = new_redis().start()
    wait_for(lambda: all(t.listening for t in told), "etagd to listen")
    for t in told:
        t.master.update({"port": other.port, "config-epoch": 8})
    told[1].switch()
    node.wait_info("master", f"127.0.0.1:{other.port}", 3)


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
