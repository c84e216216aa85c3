# SPDX-License-Identifier: Apache-2.0
"""mod_cache under load, its page changing all the time: no 304 for who did not ask, no tag on other bytes, no empty page."""
import gzip
import random
import threading
import time

import pytest
from env import machine
from env.backend import answer
from env.tags import content_tag

MODULES = ["cache", "cache_disk", "cache_socache", "socache_shmcb", "proxy", "proxy_http", "deflate", "filter"]
SECONDS, CLIENTS = 5, 6


def wrong(answer, sent):
    """What is wrong with an answer to a request that named this tag, or none; None when nothing is."""
    if answer.status == 304:
        return None if sent and answer.etag == sent else "a 304 that was not asked for"
    coded = answer.header("Content-Encoding") == "gzip"
    body = gzip.decompress(answer.body) if coded else answer.body
    if answer.status != 200 or not body:
        return "no page"
    return None if answer.etag == content_tag(body, "text/html", suffix="-gzip" if coded else "") else "another page's tag"


def client(site, seed, until, faults, seen):
    choose, known = random.Random(seed), {}
    while time.monotonic() < until and not faults:
        coding = choose.choice(["identity", "gzip"])
        sent = known.get(coding) if choose.random() < 0.5 else None
        got = site.get("/app/p", {"Accept-Encoding": coding, **({"If-None-Match": sent} if sent else {})})
        fault = wrong(got, sent)
        if fault:
            faults.append((fault, sent, got))
        seen[got.status] += 1
        known[coding] = got.etag


@pytest.mark.long
@pytest.mark.parametrize("quick", ["On", "Off"])
@pytest.mark.parametrize("store", ["disk", "socache"])
def test_changing_page(new_httpd, etagd, backend, mpm, store, quick):
    site = new_httpd(modules=MODULES, etagd=etagd, mpm=mpm)
    lock, root = (machine.own_folder(site.folder, n) for n in ("lock", "cache"))
    number = [0]

    def page(request, send):
        n = number[0]
        headers = [("Content-Type", "text/html"), ("Cache-Control", f"max-age={0 if n % 3 else 1}"),
                   ("Last-Modified", f"Mon, 23 Nov 2026 10:{n // 60 % 60:02d}:{n % 60:02d} GMT")]
        send(answer(b"<p>%d</p>" % n * 100, headers, request=request))
        return True

    backend.routes["/p"] = page
    site.start(f"ETagEngine On\nETagEarly On\nETagTimeout 2s\nCacheEnable {store} /\nCacheQuickHandler {quick}\nCacheRoot {root}\nCacheLock On\n"
               f"CacheLockPath {lock}\nCacheSocache shmcb:{site.folder}/socache(512000)\nCacheSocacheMinTime 5\n"
               f"ProxyPass /app {backend.url} disablereuse=on\nAddOutputFilterByType DEFLATE text/html\n")
    site.expect_log("uncacheable 304|AH00717|AH0")
    faults, seen, until = [], {200: 0, 304: 0}, time.monotonic() + SECONDS
    clients = [threading.Thread(target=client, args=(site, n, until, faults, seen)) for n in range(CLIENTS)]
    for c in clients:
        c.start()
    while any(c.is_alive() for c in clients):
        number[0] += 1
        if number[0] % 2:
            etagd.call("XADD", "{etag}:log", "*", "all", "1")
        clients[number[0] % CLIENTS].join(0.02)
    assert not faults, faults[:3]
    assert min(seen.values()) > 100, seen
