# SPDX-License-Identifier: Apache-2.0
"""A private redis-server. Debian's redis-tools is enough: redis-check-rdb is the same program."""
import hashlib
import os
import subprocess

from . import machine
from .process import Process
from .resp import Resp, RespError


def server_program(folder):
    try:
        return machine.program("redis-server", "valkey-server")
    except FileNotFoundError:
        link = folder / "redis-server"
        if not link.is_symlink():
            os.symlink(machine.program("redis-check-rdb"), link)
        return str(link)


class RespServer(Process):
    """Answers on self.address (a port of 127.0.0.1 as a pair, or a socket's path), after AUTH where self.password is set."""

    address = password = None

    def client(self):
        c = Resp(self.address)
        if self.password:
            c.call("AUTH", self.password)
        return c

    def call(self, *args):
        with self.client() as c:
            return c.call(*args)

    def ready(self):
        try:
            return self.call("PING") == "PONG"
        except (OSError, RespError):  # not listening yet, or still loading
            return False


def port_lines(port, certificate, clients="yes"):
    """A port that speaks TLS alone when there is a certificate."""
    if certificate is None:
        return [f"port {port}"]
    return ["port 0", f"tls-port {port}", *certificate.server(clients)]


USERS = machine.SOURCE / "conf" / "redis" / "users.acl"
PASSWORDS = {user: f"{user}'s own" for user in ("etagd", "etagops", "etagreplica", "etagsentinel")}
REPLICA_LINES = ["masteruser etagreplica", f"masterauth \"{PASSWORDS['etagreplica']}\""]


def switched_on(text, **passwords):
    """The users of a shipped file, as its reader is told to switch them on."""
    for user, password in passwords.items():
        off = f"user {user} off "
        assert off in text, f"{user} is not shipped, or not off"
        text = text.replace(off, f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} ")
    return text


class There:
    """Servers as etagd is to be told of them: where they are, and the file of its password."""

    def __init__(self, url, secret):
        self.url, self.secret = url, secret


class Redis(RespServer):
    """On a TCP port and a unix socket at once. Keeps nothing on disk unless save() is called. It has the shipped users
    unless there is a password; tests come as the default user, who may do anything."""

    name = "redis"

    def __init__(self, folder, password=None, options=(), certificate=None, clients="yes"):
        super().__init__(folder)
        self.port = machine.free_port()
        self.socket = self.address = self.folder / "redis.sock"
        self.password = password
        self.options = list(options)  # redis.conf lines
        self.certificate, self.clients = certificate, clients  # env/tls.py; None: no TLS
        self.server = server_program(self.folder)
        self.secret = None  # etagd's password file
        if password is None:
            users = machine.write(self.folder / "users.acl", switched_on(USERS.read_text(), **PASSWORDS))
            self.secret = machine.write(self.folder / "etagd.password", PASSWORDS["etagd"] + "\n", 0o600)
            self.options.append(f"aclfile {users}")

    def argv(self):
        lines = ["bind 127.0.0.1", *port_lines(self.port, self.certificate, self.clients), f"unixsocket {self.socket}",
                 "unixsocketperm 700", f"dir {self.folder}", 'save ""', "appendonly no", "daemonize no"]
        if self.password:
            lines.append(f"requirepass {self.password}")
        machine.write(self.folder / "redis.conf", "\n".join(lines + self.options) + "\n", 0o600)
        return [self.server, self.folder / "redis.conf"]

    def cli(self, *args):
        """The real redis-cli over TCP; returns what it printed."""
        tls = self.certificate.cli() if self.certificate else []
        command = [machine.program("redis-cli"), "-p", str(self.port), *map(str, [*tls, *args])]
        env = dict(os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {}))
        return subprocess.run(command, env=env, text=True, capture_output=True, check=True, timeout=30).stdout.strip()

    def ops(self, *args):
        """As people do it: redis-cli and their user."""
        return self.cli("--user", "etagops", "--pass", PASSWORDS["etagops"], "--no-auth-warning", *args)

    @property
    def url(self):
        return f"redis{'s' if self.certificate else ''}://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self):
        return f"unix:{self.socket}"

    def restart_empty(self):
        """As after a crash without persistence."""
        self.kill()
        return self.start()
