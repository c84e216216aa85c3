# SPDX-License-Identifier: Apache-2.0
"""Responses that end at the same moment: one of those that say the same is handed to etagd."""
import threading

import pytest
from env.backend import answer
from env.process import wait_for
from env.tags import content_tag
from test_early import HTML, PAGE, TAG, is_early, reaches

MANY = 20


def at_once(site, backend, etagd, serve, enough):
    """MANY requests for one page, whose responses all come when the last request has arrived; serve(n) is the nth's
    body. etagd takes part only once so many have ended without it."""
    gate, numbers, got = threading.Barrier(MANY, timeout=30), iter(range(MANY)), []

    def page(request, send):
        body = serve(next(numbers))
        if gate.wait() == 0:
            etagd.pause()
            paused.set()
        paused.wait(30)
        send(answer(body, HTML, request=request))
        return True

    paused = threading.Event()
    backend.routes["/p"] = page
    threads = [threading.Thread(target=lambda: got.append(site.get("/p"))) for _ in range(MANY)]
    for t in threads:
        t.start()
    try:
        assert paused.wait(30)  # prefork makes its children one after the other
        wait_for(lambda: len(got) >= enough, f"{enough} responses that wait for nobody", 4)
    finally:
        etagd.resume()
        for t in threads:
            t.join()
    assert [a.status for a in got] == [200] * MANY
    backend.page("/p", PAGE)


def puts(etagd):
    return int(etagd.info("Store")["puts"])


@pytest.fixture
def etagd(new_etagd):
    return new_etagd(config="Lease 30s\n").start()


@pytest.fixture(params=["event", "prefork"])
def busy(new_httpd, etagd, backend, request):
    site = new_httpd(modules=["proxy", "proxy_http"], mpm=request.param, etagd=etagd)
    site.config = f"ETagEngine On\nETagEarly On\nETagTimeout 5s\nProxyPass / {backend.url}/\n"
    return site.start()


def test_equal_responses_are_learned_once(busy, backend, etagd):
    """While etagd is slow one worker waits for it, not all."""
    at_once(busy, backend, etagd, lambda n: PAGE, MANY - 1)
    assert puts(etagd) == 1
    assert is_early(busy, backend, "/p", TAG)


def test_responses_that_differ_contradict_each_other(busy, backend, etagd):
    at_once(busy, backend, etagd, lambda n: PAGE + b"ab"[n % 2:n % 2 + 1], MANY - 2)
    assert int(etagd.info("Store")["conflicts"]) == 1
    reaches(busy, backend, "/p", {"If-None-Match": content_tag(PAGE + b"a", "text/html")})
