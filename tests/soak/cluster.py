# SPDX-License-Identifier: Apache-2.0
"""The machines: one Redis, three nodes of httpd and etagd, each behind a gate of its own, and a neighbour."""
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from env import machine
from env.etagd import Etagd
from env.gate import Gate
from env.httpd import Httpd
from env.redis import Redis
from env.resp import RespError

HOST = "www.example.com"
LEASE = 1.0
FILES = [f"f{n}.txt" for n in range(6)]
LOG, EPOCH, NODES, HOSTS = (f"{{etag}}:{name}" for name in ("log", "epoch", "nodes", "hosts"))
FAKETIME = "/usr/lib/{}/faketime/libfaketime.so.1"
REDIS = ["appendonly yes", "enable-debug-command yes", "repl-backlog-size 1mb"]
# A small table, so that a flood laps it.
ETAGD = f"Lease {LEASE * 1000:g}ms\nTableSize 4M\nLogMaxLength 200000\n"
HTTPD = """\
KeepAliveTimeout 60
MaxKeepAliveRequests 0
ProxyPass /app/ http://127.0.0.1:{port}/app/ retry=0
ETagEngine On
ETagBaseURL http://www.example.com
<Location /app/>
    ETagEarly On
    ETagGroupHeader Surrogate-Key
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
Header always set X-Why "%{{etag-why}}e"
"""


def faketime():
    """libfaketime's path, None where it is not installed."""
    found = subprocess.run(["sh", "-c", "ls " + FAKETIME.format("*")], text=True, capture_output=True)
    return found.stdout.split("\n")[0] or None


class Daemon(Etagd):
    """An etagd whose wall clock may be somebody else's: libfaketime is given to it alone, not to who starts it."""

    argv_before = ()

    def argv(self):
        return [*self.argv_before, *super().argv()]


class Node:
    def __init__(self, cluster, number, binary=None):
        self.sanitized = binary is not None
        self.name = f"node{number}"
        self.folder = machine.own_folder(cluster.folder, self.name)
        self.gate = Gate(cluster.redis.port)
        self.lock = threading.Lock()  # of who stops and starts its servers
        self.state = machine.own_folder(self.folder, "state")
        self.small_disk = cluster.mount(self.state, "2m")
        config = ETAGD + f"StateDir {self.state}\nLogFile {self.state}/etagd.log\n"
        self.etagd = Daemon(machine.own_folder(self.folder, "etagd"), redis=self.gate.url, node=self.name,
                            config=config, binary=binary)
        self.httpd = Httpd(machine.own_folder(self.folder, "httpd"), HTTPD.format(port=cluster.application.port),
                           ["proxy", "proxy_http", "headers", "status"], etagd=self.etagd, host=HOST)
        self.disturbed = 0.0  # until when this node's httpd may break connections
        self.clock = None     # a file that says how far its wall clock is off
        if number == 3 and faketime():
            self.clock = machine.write(self.folder / "clock", "+0\n", 0o644)
            self.etagd.argv_before = ["env", f"LD_PRELOAD={faketime()}", f"FAKETIME_TIMESTAMP_FILE={self.clock}",
                                      "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]

    def info(self):
        return self.etagd.info()

    def place(self, name):
        """A file as the history knows it: each node has its own."""
        return f"{self.name}:/{name}"

    def disturb(self, seconds=15.0):
        """Connections may break from now on: something is done to httpd itself."""
        self.disturbed = time.monotonic() + seconds


class Cluster:
    def __init__(self, application, sanitized=None):
        self.folder = machine.new_folder("etag-soak-")
        self.application = application
        self.mounted = []
        # A server whose starter is a thread that ends is ended with it (setpriv --pdeathsig): these stay.
        self.starters = ThreadPoolExecutor(8)
        folder = machine.own_folder(self.folder, "redis")
        self.redis_small = self.mount(folder, "256m")
        self.redis = Redis(folder, options=REDIS)
        self.redis_lock = threading.Lock()
        # The daemon under sanitizers, where there is one, on one node.
        copy = sanitized and machine.write(self.folder / "etagd-sanitized", sanitized.read_bytes(), 0o755)
        self.nodes = [Node(self, n, copy if n == 2 else None) for n in (1, 2, 3)]
        self.neighbour = Etagd(machine.own_folder(self.folder, "neighbour"), redis=self.redis, node="neighbour",
                               config="KeyPrefix other\nTableSize 4M\n")

    def mount(self, folder, size):
        """A small disk there, where we may."""
        who = machine.account()
        options = f"size={size},mode=755" + (f",uid={who.pw_uid},gid={who.pw_gid}" if who else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True)
        if done.returncode == 0:
            self.mounted.append(folder)
        return done.returncode == 0

    @property
    def servers(self):
        return [self.redis, self.neighbour, *(s for n in self.nodes for s in (n.etagd, n.httpd))]

    def start_server(self, server):
        return self.starters.submit(server.start).result()

    def start(self):
        self.application.start()
        for server in self.servers:
            self.start_server(server)

    def stop(self):
        """Everything, whatever state it is in. Returns what the daemons said at their end."""
        said = []
        for server in reversed(self.servers):
            try:
                if server.proc:
                    server.resume()
                    server.stop()
                if isinstance(server, Etagd):
                    said += server.problems()
            except Exception:  # the others must still be stopped; it is killed below
                pass
        for server in self.servers:
            server.kill()
        for node in self.nodes:
            node.gate.end()
        self.application.stop()
        for left in Path("/dev/shm").glob("*faketime*"):  # of daemons that were killed
            left.unlink(missing_ok=True)
        for folder in self.mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.starters.shutdown(wait=False)
        machine.unstage()
        return said

    def xadd(self, *fields):
        return self.redis.call("XADD", LOG, "*", *fields)

    def redis_is_well(self):
        try:
            return self.redis.ready()
        except RespError:
            return False
