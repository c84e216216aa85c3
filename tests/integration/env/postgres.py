# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL on a unix socket, and the job that tells its versions (conf/postgresql)."""
import glob
import os
import signal
import subprocess

from . import machine
from .process import Process

CONF = machine.SOURCE / "conf" / "postgresql"


def program(name):
    """Debian keeps the servers' programs out of PATH; the newest major version counts."""
    found = glob.glob(f"/usr/lib/postgresql/*/bin/{name}")
    return max(found, key=lambda p: int(p.split("/")[4])) if found else machine.program(name)


class Postgres(Process):
    """Without a TCP port; any account of this machine may enter, as the servers' account."""

    name = "postgres"
    start_timeout = 60.0

    def argv(self):
        data = self.folder / "data"
        if not data.exists():
            self.run(program("initdb"), "-D", data, "-A", "trust", "-U", "etag", "-E", "UTF8", "--locale=C", "--no-sync")
        return [program("postgres"), "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off"]

    def run(self, *command):
        who = machine.account()
        as_them = [machine.program("setpriv"), f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
        subprocess.run([*(as_them if who else []), *map(str, command)], check=True, cwd=self.folder, capture_output=True,
                       env={"PATH": os.environ["PATH"], "HOME": str(self.folder)}, timeout=60)

    def ready(self):
        return subprocess.run([program("pg_isready"), "-q", "-h", self.folder], env=self.client).returncode == 0

    def stop(self):
        """Without waiting for clients to leave."""
        if self.running:
            self.signal(signal.SIGINT)
            return self.wait()
        return super().stop()

    def sql(self, text):
        """What psql prints: rows by lines, columns by |."""
        done = subprocess.run([program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], input=text, text=True,
                              env=self.client, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def client(self):
        return {"PATH": os.environ["PATH"], "PGHOST": str(self.folder), "PGUSER": "etag", "PGDATABASE": "postgres"}


class Teller(Process):
    """conf/postgresql/etag-tell, a copy that the servers' account can read."""

    name = "etag-tell"

    def __init__(self, folder, database, redis):
        super().__init__(folder)
        self.environment = dict(database.client, ETAG_EVERY="0.05")
        self.redis = redis

    def argv(self):
        script = machine.write(self.folder / "etag-tell", (CONF / "etag-tell").read_bytes(), 0o755)
        return [script, "-p", self.redis.port]

    def ready(self):
        return True

    def stop(self):
        """With psql, as a supervisor does: the shell's whole session."""
        if self.running:
            os.killpg(self.pid, signal.SIGTERM)
            return self.wait()
        return super().stop()
