# SPDX-License-Identifier: Apache-2.0
"""Header capsules when the table's dictionary is full: they stand in the records, and nobody notices."""
import pytest
from env.node import URL, VARIANT, Node, learn, wait_value
from env.process import wait_for
from env.tags import content_tag

SMALL = "TableSize 4m\n"  # the smallest: a dictionary of 256 KiB
PAGE = b"<p>a page of the application</p>\n"
TAG = content_tag(PAGE, "text/html")
CACHE_CONTROL = "public, max-age=60, s-maxage=600, stale-while-revalidate=30"


def fill_dictionary(etagd):
    """Publishes different capsules, long ones and then short ones, until each must stand in its record."""
    node = Node(etagd)
    at = node.snapshot()
    n = 0
    for filler in ("." * 480, ""):
        before = etagd.info("Table")["capsules_inline"]
        while etagd.info("Table")["capsules_inline"] == before:
            for _ in range(50):
                n += 1
                assert node.put(f"https://filler.example/{n}", '"x"', at, capsule=f"X: {n:06}{filler}\n") == "OK"
            assert n < 2000
    table = etagd.info("Table")
    assert 0 < int(table["capsules"]) < n and table["capsules_full"] == "0"
    return node, at


def test_an_early_304_repeats_them(new_httpd, new_etagd, backend):
    etagd = new_etagd(config=SMALL).start()
    site = new_httpd("ETagEngine On\nETagEarly On\nETagTimeout 1s\nMaxKeepAliveRequests 0\n" + f"ProxyPass / {backend.url}/\n",
                     modules=["proxy", "proxy_http"], etagd=etagd)
    fill_dictionary(etagd)
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Cache-Control", CACHE_CONTROL), ("Vary", "Accept")])
    site.start()
    before = int(etagd.info("Table")["capsules_inline"])
    assert site.get("/p").etag == TAG
    etagd.wait_info("capsules_inline", lambda v: int(v) > before)
    again = wait_for(lambda: (a := site.get("/p", {"If-None-Match": TAG})) and backend.count() == 1 and a, "an early 304")
    assert (again.status, again.etag, again.body) == (304, TAG, b"")
    assert again.header("Cache-Control") == CACHE_CONTROL and again.header("Vary") == "Accept"


def test_other_nodes_get_them_from_redis(redis, new_etagd):
    """etag:h:<id> does not care where a node's own copy stands."""
    nodes = [Node(new_etagd(redis=redis, node=name, config=SMALL).start()).wait_lease() for name in ("one", "two")]
    fill_dictionary(nodes[0].etagd)
    learn(nodes, capsule=f"Cache-Control: {CACHE_CONTROL}\n")
    for node in nodes:
        assert node.look(URL) == f'HIT u "v1" Cache-Control: {CACHE_CONTROL}|'
    capsule_id = wait_value(redis, f"{URL}#{VARIANT}").split(b" ")[6].decode()
    assert redis.call("GET", f"etag:h:{capsule_id}").decode() == f"Cache-Control: {CACHE_CONTROL}\n"
    assert nodes[1].info("Table")["capsules_inline"] == "0"


@pytest.mark.parametrize("known", [False, True])
def test_what_fits_nowhere_is_not_stored(new_etagd, known):
    """A long tag and a long capsule are more than a record: a miss, and no older record in its place."""
    etagd = new_etagd(config=SMALL).start()
    node, at = fill_dictionary(etagd)
    tag = '"' + "t" * 398 + '"'
    if known:
        assert node.put(URL, tag, at) == "OK" and node.look(URL) == f"HIT u {tag}"
    assert node.put(URL, tag, at, capsule="X-Long: " + "x" * 490 + "\n") == "OK"
    assert node.look(URL) == "MISS"
    assert etagd.info("Table")["capsules_full"] == "1"
    assert etagd.info("Store")["refused_too_long"] == "1"
