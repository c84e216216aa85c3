# SPDX-License-Identifier: Apache-2.0
"""A private etagd. Without Redis it is the embedded store."""
import os
import signal

from . import machine
from .process import Process, wait_for
from .resp import Resp, RespError


class Etagd(Process):
    """config is etagd.conf text, args go to the command line. The socket is in a folder of its own."""

    name = "etagd"

    def __init__(self, folder, redis=None, config="", args=(), node=None, binary=None):
        super().__init__(folder)
        self.socket = self.folder / "etagd.sock"
        self.config_file = self.folder / "etagd.conf"
        self.binary = binary or machine.staged() / "etagd"
        self.args = list(args)
        lines = [f"Socket {self.socket}", f"AllowUsers {self._users()}"]
        if redis is not None:
            lines.append(f"Redis {redis if isinstance(redis, str) else redis.url}")
            secret = getattr(redis, "secret", None)
            if secret and "KeyPrefix" not in config:  # its user may use the usual keys alone
                lines += ["RedisUser etagd", f"RedisPasswordFile {secret}"]
        if node:
            lines.append(f"NodeName {node}")
        self.config = "\n".join(lines) + "\n" + config

    @staticmethod
    def _users():
        who = machine.account()
        return f"root {who.pw_name}" if who else str(os.geteuid())

    def write_config(self):
        machine.write(self.config_file, self.config, 0o644)

    def argv(self):
        self.write_config()
        return [self.binary, "--config", self.config_file, *self.args]

    def ready(self):
        try:
            with self.client() as c:
                return c.call("PING") == "PONG"
        except (OSError, RespError):
            return False

    def client(self, timeout=10.0):
        return Resp(self.socket, timeout)

    def call(self, *args, fds=()):
        with self.client() as c:
            return c.call(*args, fds=fds)

    def info(self, section=None):
        with self.client() as c:
            return c.info(section)

    def wait_info(self, name, wanted, timeout=10.0):
        """Waits until INFO shows name with a value that wanted (text, or a predicate) accepts."""
        test = wanted if callable(wanted) else lambda value: value == str(wanted)
        seen = {}

        def probe():
            seen.update(self.info())
            return name in seen and test(seen[name])

        wait_for(probe, f"etagd INFO {name} (last seen: {seen.get(name)})", timeout)
        return seen[name]

    def reload(self):
        """Writes the configuration anew and asks for a reload."""
        self.write_config()
        self.signal(signal.SIGHUP)
