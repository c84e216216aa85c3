# SPDX-License-Identifier: Apache-2.0
"""The users that are shipped (conf/redis/users.acl, conf/redis/sentinel.conf): enough, and not more than that. Most
other tests come to Redis as the same users (env/redis.py)."""
import re
import shlex
import threading

import pytest
from env import machine
from env.cluster import Cluster
from env.node import HOSTS, LOG, URL, Node, learn
from env.process import wait_for
from env.redis import PASSWORDS, USERS, There
from env.resp import Closed, RespError
from env.sentinel import NAME, Farm

SENTINEL_CONF = machine.SOURCE / "conf" / "redis" / "sentinel.conf"
DATABASE = "/3"


def rules_of(text, user):
    """What the user is given behind its name and "off": words, and selectors in parentheses as one."""
    line = next(line for line in text.splitlines() if line.startswith(f"user {user} off "))
    return re.findall(r"\([^)]*\)|\S+", line.split(" off ", 1)[1])


def without_one(rules):
    """The rules with each right (of a command, to keys, to a channel) left out in turn: (it, the rest)."""
    for i, rule in enumerate(rules):
        if rule.startswith("("):
            for right, rest in without_one(rule[1:-1].split()):
                yield f"{right} in {rule}", [*rules[:i], f"({' '.join(rest)})", *rules[i + 1:]]
        elif rule[0] in "+~%&":
            yield rule, rules[:i] + rules[i + 1:]


class Monitor:
    """The commands that etagd's connections, and its scripts, send to a server."""

    LINE = re.compile(r"[0-9.]+ \[\d+ ([^\]]+)\] (.*)")

    def __init__(self, server):
        self.client = server.client()
        assert self.client.call("MONITOR") == "OK"
        self.seen, self.ours = [], {"lua"}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while True:
                source, command = self.LINE.match(self.client.read()).groups()
                if command.startswith('"CLIENT" "SETNAME" "etagd:'):
                    self.ours.add(source)
                self.seen.append((source, shlex.split(command)))
        except (OSError, Closed):
            pass  # the server has ended

    def commands(self):
        """One for each set of command and keys; what a connection said before it told its name belongs to it."""
        told = {}
        for source, words in list(self.seen):
            if source in self.ours:
                told.setdefault((words[0].upper(), *words[1:4]), words)
        return list(told.values())

    def has(self, *names):
        return all(any(w[0].upper() == n for w in self.commands()) for n in names)


def live(redis, node):
    """Everything that a daemon ever does there."""
    learn([node], names="accept", capsule="Cache-Control: no-cache\n")
    assert node.call("ETAG", "HOSTS", "shop.example", "www.example.com") == "OK"
    assert node.call("ETAG", "INVALIDATE", "tag", "catalog") == b"local"
    node.wait_info("invalidations_unsent", 0)
    with redis.client() as c:
        c.call("SELECT", 3)
        c.call("HSET", "{etag}:nodes", "gone", "0-0 x 1 -")
        c.call("HSET", "{etag}:epoch", "trimmed_ms", 0)  # trimming is due
        wait_for(lambda: not c.call("HEXISTS", "{etag}:nodes", "gone"), "a node that is gone to be forgotten")
        c.call("XSETID", LOG, "18446744073709551615-1")  # no id is left
        wait_for(lambda: c.call("EXISTS", LOG) and c.call("XINFO", "STREAM", LOG)[7] < b"18446744073709551615", "a new log")
        assert c.call("HGETALL", HOSTS)
    node.wait_lease()
    assert node.fetch(URL + "&unknown") == 0


def said_to_sentinels_master(new_redis, new_sentinel, new_etagd):
    farm = Farm(new_redis, new_sentinel, sentinels=1, quorum=1).start()
    master = farm.servers[0]
    monitor = Monitor(master)
    node = Node(new_etagd(redis=There(farm.url + DATABASE, farm.secret), node="one").start()).wait_lease()
    live(master, node)
    wait_for(lambda: monitor.has("ROLE", "WAIT", "XREAD", "HDEL", "PTTL"), "the last of it")
    assert refused_of(master) == []
    return monitor.commands()


def said_to_cluster(new_redis, new_etagd):
    """With a page's slot on its way from one master to another."""
    cluster = Cluster(new_redis, replicas=0).start()
    monitors = [Monitor(server) for server in cluster.servers]
    node = Node(new_etagd(redis=cluster.there(), node="one").start()).wait_lease()
    slot = cluster.call("CLUSTER", "KEYSLOT", f"etag:e:{URL}&moving")
    source = cluster.master(slot)
    target = next(s for s in cluster.servers if s is not source)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    wait_for(lambda: node.fetch(f"{URL}&moving") == 0 and monitors[cluster.servers.index(target)].has("ASKING"), "ASKING")
    assert [refused_of(server) for server in cluster.servers] == [[], [], []]
    return [words for monitor in monitors for words in monitor.commands() if words[0].upper() in ("CLUSTER", "ASKING")]


def test_each_right_of_the_daemons_is_needed(new_redis, new_sentinel, new_etagd):
    """Of what a daemon says in its life, something is refused as soon as any right is taken away; and all of it
    was permitted."""
    said = said_to_sentinels_master(new_redis, new_sentinel, new_etagd) + said_to_cluster(new_redis, new_etagd)
    master = new_redis().start()
    spared = []
    for right, rest in without_one(rules_of(USERS.read_text(), "etagd")):
        master.call("ACL", "SETUSER", "less", "reset", "on", "nopass", *rest)
        with master.client() as c:
            for words in said:
                c.send("ACL", "DRYRUN", "less", *words)
            if {str(c.read()) for _ in said} == {"OK"}:
                spared.append(right)
    assert spared == [], "these rights are given for nothing"


def refused_of(server, user=b"etagd"):
    entries = [dict(zip(r[::2], r[1::2])) for r in server.call("ACL", "LOG")]
    return [e for e in entries if e[b"username"] == user]


def test_people_may_append_and_read_the_log_alone(redis, new_etagd):
    node = Node(new_etagd(redis=redis, node="one").start()).wait_lease()
    learn([node])
    assert redis.ops("XADD", LOG, "*", "tag", "catalog", "by", "alice")
    wait_for(lambda: node.look(URL) == "STALE", "the record to be applied")
    assert redis.ops("WAIT", 0, 100) == "0" and "alice" in redis.ops("XREVRANGE", LOG, "+", "-", "COUNT", 1)
    for command in (("DEL", LOG), ("XTRIM", LOG, "MAXLEN", 0), ("XDEL", LOG, "1-1"), ("XADD", "{etag}:nodes", "*", "a", "b"),
                    ("HGETALL", "{etag}:epoch"), ("GET", "etag:e:x"), ("SET", "etag:e:x", "y"), ("KEYS", "*"), ("SCAN", 0),
                    ("EVAL", "return 1", 0), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("CLIENT", "LIST"),
                    ("SUBSCRIBE", "x"), ("PUBLISH", "x", "y"), ("SHUTDOWN",), ("REPLICAOF", "NO", "ONE")):
        assert "NOPERM" in redis.ops(*command), command


def test_the_daemons_may_not(redis):
    """What would harm most, and needs no right of theirs."""
    for command in (("FLUSHALL",), ("KEYS", "*"), ("SCAN", "0"), ("EVAL", "return 1", "0"), ("DEL", "etag:e:x"), ("XADD", "x", "*", "a", "b"),
                    ("SET", LOG, "x"), ("SET", "other", "x"), ("HSET", LOG, "a", "b"), ("XTRIM", "other", "MAXLEN", "0"),
                    ("CONFIG", "SET", "dir", "/"), ("ACL", "LIST"), ("SCRIPT", "FLUSH"), ("PUBLISH", "x", "y")):
        assert redis.call("ACL", "DRYRUN", "etagd", *command) != "OK", command


def sentinel_lines(rules, password="guard"):
    return [f"user etagd on >{password} {' '.join(rules)}"]


def test_each_right_at_the_sentinels_is_needed(new_redis, new_sentinel, new_etagd, work):
    rules = rules_of(SENTINEL_CONF.read_text(), "etagd")
    farm = Farm(new_redis, new_sentinel, sentinels=1, quorum=1, sentinel_options=sentinel_lines(rules)).start()
    sentinel = farm.sentinels[0]
    guard = machine.write(work / "guard", "guard\n", 0o600)
    node = Node(new_etagd(redis=farm, node="one", config=f"SentinelUser etagd\nSentinelPasswordFile {guard}\n").start())
    node.wait_lease()
    assert refused_of(sentinel) == []
    for right, rest in without_one(rules):
        sentinel.call("ACL", "LOG", "RESET")
        sentinel.call("ACL", "SETUSER", "etagd", "reset", "on", ">guard", *rest)
        sentinel.call("CLIENT", "KILL", "USER", "etagd")
        wanted = right[1:].encode()
        wait_for(lambda: any(e[b"object"] == wanted for e in refused_of(sentinel)), f"{right} to be missed")
    sentinel.call("ACL", "SETUSER", "etagd", "reset", "on", ">guard", *rules)
    node.wait_lease()


@pytest.mark.parametrize("user", ["etagreplica", "etagsentinel"])
def test_servers_come_as_their_users(farm, user):
    """A failover from end to end; what it needs is permitted, and they do not come as anybody else."""
    farm.servers[0].call("ACL", "SETUSER", "default", "-psync", "-replconf", "-slaveof", "-config", "-publish")
    sentinel, old = farm.sentinels[0], str(farm.servers[0].port)
    assert sentinel.call("SENTINEL", "FAILOVER", NAME) == "OK"
    wait_for(lambda: sentinel.master()["port"] != old, "the failover", 30)
    farm.wait_settled(len(farm.servers) - 1)
    for server in farm.servers:
        assert refused_of(server, user.encode()) == [] == refused_of(server, b"default")
        assert f"user={user} ".encode() in b"".join(s.call("CLIENT", "LIST") for s in farm.servers)


def test_a_daemon_that_lacks_a_right_says_so(redis, new_etagd):
    rules = " ".join(rules_of(USERS.read_text(), "etagd")).replace("+xread ", "")
    redis.call("ACL", "SETUSER", "etagd", "reset", "on", f">{PASSWORDS['etagd']}",
               *re.findall(r"\([^)]*\)|\S+", rules))
    node = Node(new_etagd(redis=redis, node="one").start())
    node.wait_info("last_error", lambda text: "NOPERM" in text and "ACL" in text)
    redis.ops("XADD", LOG, "*", "all", "1")  # what it cannot read ends its lease
    node.wait_info("left_ms", 0)
    redis.call("ACL", "LOAD")
    node.wait_lease()
    with pytest.raises(RespError, match="WRONGPASS"):
        redis.call("AUTH", "etagd", "wrong")
