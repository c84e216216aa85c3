# SPDX-License-Identifier: Apache-2.0
"""A history of named versions under load: slow pages, three nodes, changes told at any moment, connections that break, versions
that are forgotten."""
import random
import threading
import time

import pytest
from env.node import LOG
from env.tag_history import PAGES, TagHistory
from env.versions import PROXY, configuration, make

VERSION = """<Location /a>
ETagVersion "expr=%{etag_version:a}"
</Location>
<Location /b>
ETagVersion "expr=%{etag_version:b} of %{etag_version:release}"
</Location>
"""


@pytest.mark.parametrize("trouble", [None, "broken", "forgotten"])
def test_no_version_outlives_the_next(redis, new_etagd, new_httpd, backend, trouble):
    daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(3)]
    sites = [new_httpd(configuration(backend, version=VERSION), modules=PROXY, etagd=d).start() for d in daemons]
    make(redis, daemons, sites, backend)
    seed = random.randrange(1 << 32)
    rnd, order = random.Random(seed), threading.Lock()  # one teller at a time

    def told(page):
        return "version", f"{page[1:]} {history.version[page]}"

    def announce(page):
        """After the change, and perhaps a while after."""
        time.sleep(rnd.choice((0, 0, 0.05)))
        with order:
            return redis.cli("XADD", LOG, "*", *told(page))

    def cut():
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def forget():
        """And everything is told again, in the same record."""
        with order:
            redis.call("XADD", LOG, "*", "all", "1", "version", "release 1", *told("/a"), *told("/b"))

    history = TagHistory(daemons, sites, backend, announce, seed)
    forget()
    history.run(6, {"broken": cut, "forgotten": forget}.get(trouble))
    assert history.judge() == [], f"seed {seed}"
    tagged = len(history.given)
    assert history.statuses[304] > 20 and tagged > history.untagged, (history.statuses, tagged, history.untagged)
    assert len(set(tag for _, tag, _ in history.given)) > len(PAGES) * 2, "versions have changed"
