# SPDX-License-Identifier: Apache-2.0
"""What tests of Last-Modified share: a page in two contents, nodes that know the first one for a day, questions by date."""
import email.utils

import pytest

from .names import Date
from .process import wait_for
from .tags import content_tag

OLD, NEW = b"<p>the old content</p>\n", b"<p>new content</p>\n"
HOST = "www.example.com"
MTIMES = (1_500_000_000, 1_600_000_000, 1_700_000_000)
DAY = 86400
STRANGER = "stranger.example.net"


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


def seconds(text):
    return int(email.utils.parsedate_to_datetime(text).timestamp())


def dated(node, target="/p.html"):
    """Last-Modified of a node's 200, once it has one."""
    return wait_for(lambda: node.get(target).header("Last-Modified"), f"a date from {node.folder.name}")


def asked(node, date, target="/p.html", field="If-Modified-Since"):
    return node.get(target, {field: date if isinstance(date, str) else http_date(date)})


def whole(answer, body):
    assert (answer.status, answer.body) == (200, body), answer
    return answer


def undated(answer, body=OLD):
    assert whole(answer, body).header("Last-Modified") is None and answer.etag, answer


def not_modified(answer, body, named=None):
    """A 304 carries the date where the client asked by one, or none; never another."""
    assert (answer.status, answer.etag, answer.body) == (304, content_tag(body, "text/html"), b""), answer
    assert answer.header("Last-Modified") in (None, named), answer


def put(node, body, mtime):
    node.add("p.html", body, mtime=mtime)


@pytest.fixture
def date(redis):
    """What Redis holds of /p.html's date."""
    return Date(redis, HOST, "/p.html")


@pytest.fixture
def new_node(redis, date, new_etagd, new_httpd):
    """Makes nodes. The first content has been known for a day: nobody waits until it is old enough."""
    made = []

    def make(directives="", mtime=MTIMES[0], **how):
        daemon = new_etagd(redis=redis, node=f"node{len(made)}").start()
        daemon.wait_info("state", "held", 15)
        node = new_httpd(f"ETagEngine On\nETagTimeout 1s\n{directives}", etagd=daemon, **how)
        put(node, OLD, mtime)
        made.append(node.start())
        if len(made) == 1:
            node.get("/p.html")
            date.move(-DAY)
        return node

    return make


@pytest.fixture
def nodes(new_node):
    """Three of them, whose copies of the file were made years apart."""
    return [new_node(mtime=mtime) for mtime in MTIMES]


@pytest.fixture
def site(new_node):
    """One of them."""
    return new_node()


@pytest.fixture
def embedded(httpd):
    httpd.config += "ETagTimeout 1s\n"
    put(httpd, OLD, MTIMES[0])
    return httpd.start()
