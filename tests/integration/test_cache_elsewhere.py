# SPDX-License-Identifier: Apache-2.0
"""mod_cache where the engine is On in one place: what it does in the others, Off or DetectionOnly, is stock httpd's."""
import gzip

import pytest
from env import machine
from env.backend import Backend
from env.etagd import Etagd
from env.httpd import Httpd

BODY = b"<p>" + b"cache me if you can, " * 60 + b"</p>\n"
NEW = BODY.replace(b"can", b"may")
FRESH = [("Content-Type", "text/html"), ("Cache-Control", "max-age=600")]
PLACES = {"on": "ETagEngine On", "off": "ETagEngine Off", "watched": "ETagEngine DetectionOnly\nETagEarly On"}


@pytest.fixture(scope="module", params=["quick", "normal"])
def sites(request, shared_servers):
    """(ours, stock, their application)"""
    with Backend() as backend:
        made = []
        for own in (True, False):
            site = shared_servers(Httpd, modules=["cache", "cache_disk", "proxy", "proxy_http", "filter", "deflate"], own=own,
                                  etagd=shared_servers(Etagd).start() if own else None)
            root = machine.own_folder(site.folder, "cache")
            site.config = (f"CacheQuickHandler {'On' if request.param == 'quick' else 'Off'}\nCacheHeader On\nCacheRoot {root}\n"
                           f"CacheEnable disk /\nCacheDisable /off/live\nCacheDisable /watched/live\nProxyPass / {backend.url}/\n"
                           "AddOutputFilterByType DEFLATE text/html\n")
            for place, words in PLACES.items():
                site.config += f"<Location /{place}/>\n{words if own else ''}\n</Location>\n"
            site.expect_log("AH00717")
            made.append(site.start())
        yield *made, backend


def shown(answer):
    return answer.status, answer.body, answer.header("Content-Range"), (answer.header("X-Cache") or "").split(" ")[0]


@pytest.mark.parametrize("place", PLACES)
def test_patch(sites, place):
    """mod_cache knows no PATCH and keeps the page; where the engine is On it is told."""
    *both, backend = sites
    target, answers = f"/{place}/page", []
    for site in both:
        backend.page(target, BODY, FRESH)
        before = [shown(site.get(target)), shown(site.get(target))]
        assert before[1][3] == "HIT"
        backend.page(target, NEW, FRESH)
        assert site.request("PATCH", target, body=b"x").status == 200
        answers.append([*before, shown(site.get(target))])
    ours, stock = answers
    assert stock[2][:2] == (200, BODY) and ours[:2] == stock[:2]
    assert (ours[2][1] == NEW) if place == "on" else ours == stock


@pytest.mark.parametrize("place", ["off", "watched"])
def test_ranges_of_coded_bodies(sites, place):
    """Whoever said that there are none: cutting is stock httpd's way."""
    *both, backend = sites
    coded = gzip.compress(BODY, mtime=0)
    backend.page(f"/{place}/live", coded, [*FRESH, ("Content-Encoding", "gzip"), ("Accept-Ranges", "none")])
    ours, stock = (shown(site.get(f"/{place}/live", {"Range": "bytes=2-9"})) for site in both)
    assert stock[:2] == (206, coded[2:10]) and ours == stock


def test_what_we_coded_is_not_ranged(sites):
    """Also where mod_cache serves it before it is known that the engine is On there."""
    ours, _, backend = sites
    backend.page("/on/coded", BODY, FRESH)
    for state in ("MISS", "HIT"):
        got = ours.get("/on/coded", {"Accept-Encoding": "gzip", "Range": "bytes=2-9"})
        assert (got.status, gzip.decompress(got.body), shown(got)[3]) == (200, BODY, state)
