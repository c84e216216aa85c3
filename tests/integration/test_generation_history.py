# SPDX-License-Identifier: Apache-2.0
"""A history of names under load: slow pages, three nodes, invalidations at any moment, connections that break."""
import random

import pytest
from env.generation import HOST, attached, configuration
from env.node import LOG
from env.process import wait_for
from env.tag_history import TagHistory


@pytest.mark.parametrize("more,broken", [("", False), ("ETagEarly On\n", False), ("ETagEarly On\n", True)],
                         ids=["late", "early", "broken"])
def test_no_name_outlives_its_generation(redis, new_etagd, new_httpd, backend, more, broken):
    daemons = [new_etagd(redis=redis, node=f"node{i}").start() for i in range(3)]
    nodes = [new_httpd(configuration(backend, more), modules=["proxy", "proxy_http", "headers"], etagd=d).start()
             for d in daemons]
    for node, daemon in zip(nodes, daemons):
        daemon.wait_info("left_ms", lambda v: int(v) > 0, 15)
        wait_for(lambda n=node: attached(n), "every child to be attached")
    seed = random.randrange(1 << 32)
    choice = random.Random(seed).choice

    def announce(page):
        return redis.cli("XADD", LOG, "*", *choice([("url", f"{HOST}{page}"), ("prefix", f"{HOST}{page}"), ("host", HOST),
                                                    ("all", "1")]))

    history = TagHistory(daemons, nodes, backend, announce, seed)
    history.run(6, (lambda: redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")) if broken else None)
    assert history.judge() == [], f"seed {seed}"
    tagged = len(history.given)
    assert history.statuses[304] > 20 and tagged > history.untagged, (history.statuses, tagged, history.untagged)
