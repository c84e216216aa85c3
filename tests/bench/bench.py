# SPDX-License-Identifier: Apache-2.0
"""What every row works with: a folder, servers that are stopped in the end, the number of rounds."""
import os
import random
import shutil

import stats
from env import machine
from env.etagd import Etagd
from env.process import Failed
from report import number


class Bench:
    cpus = frozenset(os.sched_getaffinity(0))

    def __init__(self, options):
        self.quick, self.noise = options.quick, options.noise
        self.folder = machine.new_folder("etag-bench-")
        self.running = []
        self._folders = 0

    def rounds(self, full, quick):
        return quick if self.quick else full

    def own_folder(self, name):
        self._folders += 1
        return machine.own_folder(self.folder, f"{name}{self._folders}")

    def start(self, *servers):
        for server in servers:
            self.running.append(server.start())
        return servers[0]

    def stop(self, *servers):
        """A server that complained did not do what was to be measured."""
        for server in servers:
            self.running.remove(server)
            server.stop()
            if server.problems():
                raise Failed(f"{server.folder.name} complained:\n" + "\n".join(server.problems()[:10]))

    def etagd(self, **how):
        """Running; embedded store unless told otherwise."""
        return self.start(Etagd(self.own_folder("etagd"), **how))

    @staticmethod
    def content(size):
        """Always the same bytes, which do not compress."""
        return random.Random(size).randbytes(size)

    @staticmethod
    def spread(values):
        return f"median {number(stats.median(values))}, {number(min(values))} to {number(max(values))}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            if exc[0] is None:
                self.stop(*reversed(self.running))
        finally:
            for server in reversed(self.running):  # after a failure
                self._end(server)
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _end(server):
        """Asked first: httpd killed outright would leave its children behind."""
        try:
            server.stop()
        except Failed:
            server.kill()
