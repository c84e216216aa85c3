# SPDX-License-Identifier: Apache-2.0
"""Nodes whose pages have the tag of a named version, and a table that the pages show (ETagSource version)."""
import re

from .backend import answer
from .generation import HOST, attached
from .node import LOG
from .process import wait_for

OURS = re.compile(r'^W/"v[A-Za-z0-9_-]{22}"$')
JSON = [("Content-Type", "application/json"), ("Cache-Control", "max-age=0, must-revalidate")]
VERSION = 'ETagVersion "expr=%{etag_version:Patient}"\n'
PROXY = ["proxy", "proxy_http", "headers"]


def configuration(backend, more="", version=VERSION, source="version"):
    return (f"ETagEngine On\nETagEarly On\nETagSource {source}\n{version}ETagTimeout 1s\nETagBaseURL http://{HOST}/\n"
            f"{more}ProxyPass / {backend.url}/ disablereuse=on\n")


class Page:
    """Shows a row that may be changed without anybody being told."""

    def __init__(self, backend, path="/p", headers=JSON):
        self.backend, self.path, self.row, self.headers = backend, path, "one", list(headers)
        backend.routes[path] = self.serve

    def serve(self, request, send):
        send(answer(f'{{"row": "{self.row}"}}', self.headers, request=request))
        return True

    def asked(self):
        return self.backend.count(self.path)


class Cluster:
    def __init__(self, redis, daemons, nodes, backend):
        self.redis, self.daemons, self.nodes = redis, daemons, nodes
        self.page = Page(backend)

    def tell(self, *versions, more=(), wait=None):
        """Tells versions in one record; returns its id once the nodes that count have applied it."""
        fields = [f for v in versions for f in ("version", v)]
        record = self.redis.cli("XADD", LOG, "*", *fields, *more)
        for daemon in self.daemons if wait is None else wait:
            daemon.wait_info("applied", record)
        return record

    def leased(self):
        for daemon in self.daemons:
            daemon.wait_info("left_ms", lambda v: int(v) > 0, 15)
        return self


def newest(redis):
    """The log's last id, whether its record is still there or not."""
    pairs = redis.call("XINFO", "STREAM", LOG)
    return dict(zip(pairs[::2], pairs[1::2]))[b"last-generated-id"].decode()


def tag_of(a):
    assert a.status == 200 and OURS.match(a.etag or ""), a
    return a.etag


def untagged(a):
    assert (a.status, a.etag) == (200, None), a
    return True


def early(node, page, tag, headers=None):
    """Whether the tag is confirmed and the application was not asked."""
    before = page.asked()
    a = node.get(page.path, {"If-None-Match": tag, **(headers or {})})
    assert a.status in (200, 304) and (a.status == 200 or a.etag == tag and a.body == b""), a
    return a.status == 304 and page.asked() == before


def every(cluster, tag, page=None):
    """Waits until every node answers early; what one has learned the others fetch."""
    for node in cluster.nodes:
        wait_for(lambda n=node: early(n, page or cluster.page, tag), "an early 304 on every node")
    return True


def make(redis, daemons, sites, backend):
    """With everything started."""
    for daemon in daemons:
        daemon.wait_info("state", "held", 15)
    for site in sites:
        wait_for(lambda s=site: attached(s), "every child to be attached")
    for daemon in daemons:
        daemon.wait_info("hosts", "1")
        # Their remarks about names of hosts are in the log.
        daemon.wait_info("applied", lambda v: v == newest(redis))
    return Cluster(redis, daemons, sites, backend)
