# SPDX-License-Identifier: Apache-2.0
"""Three nodes of one site: one Redis, three etagd, three httpd; the same three without the module."""
from env.httpd import Httpd
from env.redis import Redis

SITE = "www.example.com"
NODES = 3
# Three ports are one site.
BASE = f"ETagEngine On\nETagBaseURL http://{SITE}\n"
KEPT_ALIVE = "KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n"


class Nodes:
    """etagd and httpd of three nodes, running. fill gives each httpd its documents."""

    def __init__(self, bench, own, config, modules, fill=lambda docs, node: None):
        self.redis = bench.start(Redis(bench.own_folder("redis"))) if own else None
        self.etagd = [bench.etagd(redis=self.redis, node=f"node{n}") for n in range(NODES)] if own else [None] * NODES
        for daemon in filter(None, self.etagd):
            daemon.wait_info("lease_ms", lambda left: int(left) > 0)
        self.httpd = []
        for number, daemon in enumerate(self.etagd):
            server = Httpd(bench.own_folder("node"), KEPT_ALIVE + (BASE if own else "") + config, modules,
                           etagd=daemon, own=own, host=SITE)
            fill(server, number)
            self.httpd.append(bench.start(server))
