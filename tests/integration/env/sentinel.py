# SPDX-License-Identifier: Apache-2.0
"""Private Redis Sentinels, and a master with replicas that they watch."""
from . import machine
from .process import wait_for
from .redis import PASSWORDS, REPLICA_LINES, RespServer, port_lines, server_program

NAME = "mymaster"


class Sentinel(RespServer):
    name = "sentinel"

    def __init__(self, folder, port, quorum=2, down_after=1000, failover_timeout=4000, options=(), certificate=None):
        super().__init__(folder)
        self.port = machine.free_port()
        self.address = self.folder / "sentinel.sock"
        server = server_program(self.folder)
        lines = ["bind 127.0.0.1", *port_lines(self.port, certificate), f"unixsocket {self.address}",
                 f"dir {self.folder}", "daemonize no", f"sentinel monitor {NAME} 127.0.0.1 {port} {quorum}",
                 f"sentinel down-after-milliseconds {NAME} {down_after}",
                 f"sentinel failover-timeout {NAME} {failover_timeout}", f"sentinel auth-user {NAME} etagsentinel",
                 f"sentinel auth-pass {NAME} \"{PASSWORDS['etagsentinel']}\"", *options]
        self.conf = machine.write(self.folder / "sentinel.conf", "\n".join(lines) + "\n", 0o600)
        self.command = [server, self.conf, "--sentinel"]

    def argv(self):
        return self.command

    def master(self):
        """What SENTINEL MASTER says, as a dictionary of text."""
        flat = [v.decode() for v in self.call("SENTINEL", "MASTER", NAME)]
        return dict(zip(flat[::2], flat[1::2]))


class Farm:
    """servers[0] is the master to begin with; kept small and quick. way makes a Gate to it. All of them come to one
    another as the shipped users, by TLS where there is a certificate (env/tls.py)."""

    def __init__(self, new_redis, new_sentinel, replicas=2, sentinels=3, options=(), sentinel_options=(), way=None,
                 certificate=None, **how):
        quick = ["repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
                 *REPLICA_LINES, *options]
        self.certificate = certificate
        self.servers = [new_redis(options=quick, certificate=certificate)]
        self.way = way(self.servers[0].port) if way else None  # to the first master, for everybody
        port = self.way.port if way else self.servers[0].port
        for _ in range(replicas):
            self.servers.append(new_redis(options=[*quick, f"replicaof 127.0.0.1 {port}"], certificate=certificate))
        self.sentinels = [new_sentinel(port, options=sentinel_options, certificate=certificate, **how)
                          for _ in range(sentinels)]

    def start(self):
        for server in self.servers:
            server.start()
        wait_for(lambda: self.replicas_in_sync(self.servers[0]) == len(self.servers) - 1, "the replicas to follow")
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_settled(len(self.servers) - 1)
        return self

    @staticmethod
    def replicas_in_sync(server):
        return server.call("INFO", "replication").count(b"state=online")

    def wait_settled(self, replicas, timeout=40):
        """Until every Sentinel knows the others and so many replicas, and nothing is wrong."""
        for sentinel in self.sentinels:
            def settled(s=sentinel):
                m = s.master()
                return (m["flags"] == "master" and int(m["num-other-sentinels"]) == len(self.sentinels) - 1
                        and self.promotable(s) == replicas)
            wait_for(settled, f"{sentinel.folder.name} to know everybody", timeout)

    @staticmethod
    def promotable(sentinel):
        found = 0
        for flat in sentinel.call("SENTINEL", "REPLICAS", NAME):
            pairs = dict(zip(flat[::2], flat[1::2]))
            found += pairs[b"flags"] == b"slave" and pairs[b"master-link-status"] == b"ok"
        return found

    @property
    def secret(self):
        return self.servers[0].secret

    @property
    def url(self):
        return f"sentinel{'s' if self.certificate else ''}://{NAME}@" + ",".join(f"127.0.0.1:{s.port}" for s in self.sentinels)

    def master(self):
        """The server of the newest failover that a Sentinel knows; the others hear of it a little later."""
        told = [m for m in (s.master() for s in self.sentinels) if m["flags"] == "master"]
        newest = max(told, key=lambda m: int(m["config-epoch"]))
        return next(s for s in self.servers if s.port == int(newest["port"]))
