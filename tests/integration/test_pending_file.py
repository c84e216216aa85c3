# SPDX-License-Identifier: Apache-2.0
"""A page changes while etagd is away, and httpd ends before etagd is back: the other nodes must hear of it."""
import os
import signal

import pytest

from env.process import wait_for
from env.tags import content_tag

PAGE, NEW = b"<p>a page of the application</p>\n", b"<p>changed, and not of the same length</p>\n"
TAG = content_tag(PAGE, "text/html")
LOST = "ended before etagd was told of invalidations"


@pytest.fixture
def nodes(new_httpd, new_etagd, redis, backend):
    """Two nodes of one Redis and one application, both running."""
    config = f"ETagEngine On\nETagEarly On\nETagTimeout 2s\nProxyPass / {backend.url}/\n"
    made = []
    backend.page("/p", PAGE)
    for name in ("one", "two"):
        etagd = new_etagd(redis=redis, node=name).start()
        made.append(new_httpd(config, modules=["proxy", "proxy_http"], etagd=etagd).start())
        made[-1].expect_log("working without etagd")
    return made


def early(node, backend):
    before = backend.count()
    return node.get("/p", {"If-None-Match": TAG}).status == 304 and backend.count() == before


def learn(node, backend):
    wait_for(lambda: node.get("/p").etag == TAG and early(node, backend), "the page to be learned")


def kill_all(httpd):
    """As if the machine's memory had been taken away: nobody can say good-bye."""
    httpd.expect_log("AH00098: pid file .* overwritten")
    victims = [httpd.pid, *httpd.children()]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    for pid in reversed(victims):
        os.kill(pid, signal.SIGKILL)
    httpd.kill()


def unsent(httpd):
    return (httpd.run / "mod_etag.unsent").read_bytes()


@pytest.mark.parametrize("end", [lambda httpd: httpd.stop(), kill_all], ids=["stopped", "killed"])
def test_an_end_loses_no_invalidation(nodes, backend, end):
    one, two = nodes
    learn(one, backend)
    learn(two, backend)
    one.etagd.stop()
    backend.page("/p", NEW)
    assert unsent(one) == b""
    assert one.request("POST", "/p", body=b"x").status == 200
    assert unsent(one), "noted before the response leaves"
    end(one)
    one.start()
    assert len(one.log_lines(LOST)) == 1
    one.etagd.start()
    wait_for(lambda: one.get("/p").status == 200 and not early(two, backend), "the other node to forget", 20)
    assert two.get("/p", {"If-None-Match": TAG}).body == NEW
    wait_for(lambda: unsent(one) == b"", "the note to be taken back")
    one.stop()
    one.start()
    assert not one.log_lines(LOST), "said and done"


def test_graceful_restarts_keep_what_waits(nodes, backend):
    one, two = nodes
    learn(two, backend)
    one.etagd.stop()
    backend.page("/p", NEW)
    assert one.request("POST", "/p", body=b"x").status == 200
    one.graceful()
    assert unsent(one) and not one.log_lines(LOST), "it knows what waits, and need not forget everything"
    one.etagd.start()
    wait_for(lambda: one.get("/p").status == 200 and not early(two, backend), "the other node to forget", 20)
    wait_for(lambda: unsent(one) == b"", "the note to be taken back")


def test_without_the_file_httpd_works_and_says_what_is_lost(new_httpd, etagd):
    httpd = new_httpd("ETagEngine On\n", etagd=etagd)
    (httpd.run / "mod_etag.unsent").mkdir()
    httpd.add("a.txt", "a")
    httpd.start()
    httpd.wait_log("cannot open .*mod_etag.unsent.*is lost if httpd stops")
    assert httpd.get("/a.txt").status == 200
