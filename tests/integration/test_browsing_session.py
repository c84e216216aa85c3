# SPDX-License-Identifier: Apache-2.0
"""Visitors behind a balancer over three nodes, with the cookies that consent and analytics tools set; two of them log in
and out. Pages of everybody are answered early to everybody, what belongs to one user is never lent to another."""
import itertools
import re

import pytest
from env.backend import answer
from env.process import wait_for

HOST = "www.example.com"
PAGES = ["/", "/category/taps", "/product/42", "/product/43", "/about"]
# As Google Analytics, Meta's pixel, OneTrust and Matomo name and write them; each visitor has values of his own.
IGNORED = "ETagIgnoreCookies _ga _ga_* _gid _gat* _fbp OptanonConsent _pk_*\n"


def analytics(visitor, hit):
    """The Cookie field of one page view: some of the values change with each."""
    return (f"_ga=GA1.1.{visitor}93817.1700000{visitor}; _ga_9XK2=GS1.1.17000{hit}.1.1.17000{hit}.{hit % 60}.0.0; "
            f"_gid=GA1.2.{visitor}55.1700000001; _fbp=fb.1.170000000{visitor}.{visitor}8812; "
            f"OptanonConsent=isGpcEnabled=0&datestamp=Tue+Nov+24+2026+10%3A{hit % 60:02}%3A00+GMT&version=6.33.0&groups=C0001%3A1; "
            f"_pk_id.1.1fff={visitor}aa; _pk_ses.1.1fff=1")


@pytest.fixture
def shop(redis, new_etagd, new_httpd, backend):
    """A shop whose pages greet who is logged in, and say nothing in Vary."""
    def page(request, send):
        user = re.search(r"(?:^|; )session=(\w+)", request.header("Cookie") or "")
        hello = f"<p>hello {user[1]}</p>" if user else "<p>log in</p>"
        send(answer(f"<h1>{request.target}</h1>{hello}", [("Content-Type", "text/html")], 200, request))
        return True

    def logout(request, send):
        send(answer(b"", [("Location", "/"), ("Set-Cookie", "session=; Max-Age=0; Path=/")], 303, request))
        return True

    backend.routes.update({p: page for p in PAGES}, **{"/logout": logout})
    nodes = []
    for i in range(3):
        daemon = new_etagd(redis=redis, node=f"node{i}").start()
        node = new_httpd(modules=["proxy", "proxy_http"], etagd=daemon)
        node.config = (f"ETagEngine On\nETagEarly On\nETagTimeout 1s\nETagBaseURL http://{HOST}/\n{IGNORED}"
                       f"ProxyPass / {backend.url}/\n")
        nodes.append(node.start())
        daemon.wait_info("state", "held", 15)
        daemon.wait_info("redis_connected", 1)
    return nodes


class Browser:
    """Keeps pages with their tags, revalidates each time, and is sent to another node for every request."""

    def __init__(self, nodes, backend, visitor):
        self.nodes, self.backend, self.visitor = itertools.cycle(nodes), backend, visitor
        self.session, self.kept, self.hits = None, {}, itertools.count(visitor)

    def visit(self, path):
        """(body as shown, whether the application was asked)"""
        cookies = analytics(self.visitor, next(self.hits)) + (f"; session={self.session}" if self.session else "")
        tag, body = self.kept.get(path, (None, None))
        before = self.backend.count()
        a = next(self.nodes).get(path, {"Cookie": cookies, **({"If-None-Match": tag} if tag else {})})
        assert a.status in (200, 304), a
        if a.status == 200:
            body = a.body.decode()
            self.kept[path] = (a.etag, body)
        return body, self.backend.count() > before


def right(browser, path):
    hello = f"<p>hello {browser.session}</p>" if browser.session else "<p>log in</p>"
    shown, asked = browser.visit(path)
    assert shown == f"<h1>{path}</h1>{hello}", (shown, browser.session)
    return asked


def test_visitors_with_analytics_cookies_are_answered_early(shop, backend):
    first, second = Browser(shop, backend, 1), Browser(shop, backend, 2)
    for path in PAGES:
        assert right(first, path) and right(second, path), "a first visit asks for the page"
    for path in PAGES:
        for _ in range(3):  # each node fetches what another has learned
            right(first, path)
            wait_for(lambda p=path: not right(second, p), f"{path} to be known")
    before = backend.count()
    for path in PAGES * 6:
        assert not right(first, path) and not right(second, path)
    assert backend.count() == before


def test_who_logs_in_and_out_gets_his_own_pages(shop, backend):
    guest, anna, bert = (Browser(shop, backend, n) for n in (1, 2, 3))
    for path in PAGES * 4:
        for browser in (guest, anna, bert):
            right(browser, path)
    anna.session, bert.session = "anna", "bert"
    for path in PAGES * 4:
        for browser in (anna, guest, bert):
            asked = right(browser, path)
            assert asked or browser is guest, "a page of one user alone is never early"
    # A tag that one user holds confirms nothing to another, nor to who holds it once he is logged out.
    for path in PAGES:
        assert anna.kept[path][0] != bert.kept[path][0] != guest.kept[path][0]
        bert.kept[path] = anna.kept[path]
    for path in PAGES * 3:
        assert right(bert, path)
    reply = next(anna.nodes).get("/logout", {"Cookie": "session=anna"})
    assert reply.status == 303 and reply.header("Set-Cookie").startswith("session=;")
    anna.session = None
    for path in PAGES * 4:
        right(anna, path)
    before = backend.count()
    for path in PAGES * 3:
        assert not right(anna, path) and not right(guest, path), "she is a visitor like any other again"
    assert backend.count() == before
