# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts of one name on different addresses: a Host without a port does not say which is meant."""
import pytest

from env import http, machine
from env.process import wait_for

NAME = "shop.example"
WARNING = "shop.example is the name of virtual hosts on different addresses"
PAGES = {"a": b"<p>a page of one shop</p>\n", "b": b"<p>another, and not of the same length</p>\n"}


class Sites:
    """Two virtual hosts on two ports, each with a page from its own folder."""

    def __init__(self, httpd):
        self.httpd, self.ports = httpd, {"a": httpd.port, "b": machine.free_port()}
        for name, page in PAGES.items():
            httpd.add(f"{name}/p.asis", b"Content-Type: text/html\n\n" + page)

    def host(self, name, lines=f"ServerName {NAME}\n", address="*", docs=None):
        folder = self.httpd.docs / (docs or name)
        return f"<VirtualHost {address}:{self.ports[name]}>\n{lines}DocumentRoot {folder}\n</VirtualHost>\n"

    def start(self, hosts):
        self.httpd.start(f"Listen 127.0.0.1:{self.ports['b']}\nETagEngine On\nETagEarly On\nETagTimeout 2s\n"
                         'AddHandler send-as-is .asis\nHeader always set X-Etag "expr=%{reqenv:etag-why}"\n' + hosts)

    def get(self, name, headers=(), host=NAME):
        return http.request(self.ports[name], "GET", "/p.asis", headers, b"", host)

    def learned(self, name, host=NAME):
        """The tag of a page, once it is answered for without its handler."""
        def early():
            tag = self.get(name, host=host).etag
            a = self.get(name, {"If-None-Match": tag}, host)
            return tag if (a.status, a.header("X-Etag")) == (304, "learned") else None

        return wait_for(early, "the page to be learned")


@pytest.fixture
def sites(new_httpd, etagd):
    return Sites(new_httpd(modules=["headers", "asis"], etagd=etagd))


def assert_told_apart(sites, host=NAME):
    tags = {name: sites.learned(name, host) for name in ("a", "b")}
    assert tags["a"] != tags["b"]
    for name, other in (("a", "b"), ("b", "a")):
        a = sites.get(name, {"If-None-Match": tags[other]}, host)
        assert (a.status, a.etag, a.body) == (200, tags[name], PAGES[name])
        assert sites.get(name, {"If-None-Match": tags[name]}, host).header("X-Etag") == "learned"


def test_ports(sites):
    sites.start(sites.host("a") + sites.host("b"))
    sites.httpd.wait_log(WARNING + ".*use ETagBaseURL")
    assert len(sites.httpd.log_lines(WARNING)) == 1
    assert_told_apart(sites)


@pytest.mark.parametrize("lines", ["ServerName other.example\nServerAlias Shop.Example\n",
                                   "ServerName other.example\nServerAlias *.example\n"])
def test_aliases(sites, lines):
    sites.httpd.expect_log(WARNING)
    sites.start(sites.host("a", lines) + sites.host("b"))
    assert_told_apart(sites)


def test_names_of_the_line(sites):
    """Nobody gives 127.0.0.1 as ServerName, but it is a name of both."""
    sites.start(sites.host("a", "ServerName a.example\n", "127.0.0.1") +
                sites.host("b", "ServerName b.example\n", "127.0.0.1"))
    assert_told_apart(sites, "127.0.0.1")
    assert not sites.httpd.log_lines("different addresses")


def test_main_server(sites):
    """It answers where no virtual host does."""
    sites.start(f"ServerName {NAME}\nDocumentRoot {sites.httpd.docs}/a\n" + sites.host("b"))
    assert_told_apart(sites)
    assert not sites.httpd.log_lines("different addresses")


def test_one_base_url_is_one_site(sites):
    lines = f"ServerName {NAME}\nETagBaseURL http://{NAME}\n"
    sites.start(sites.host("a", lines) + sites.host("b", lines, docs="a"))
    tag = sites.learned("a")
    assert sites.get("b", {"If-None-Match": tag}).header("X-Etag") == "learned", "known by what the other learned"
    assert not sites.httpd.log_lines("different addresses")


def test_names_that_differ_are_left_alone(sites):
    """Nothing but the name is known of two nodes' configurations: their pages are shared wherever they lie."""
    sites.start(sites.host("a", "ServerName a.example\n") + sites.host("b", "ServerName b.example\n"))
    for name in ("a", "b"):
        sites.learned(name, f"{name}.example")
    assert not sites.httpd.log_lines("different addresses")


def test_folder_chosen_by_address(sites):
    """mod_vhost_alias: one virtual host, whose folders no name tells apart."""
    httpd = sites.httpd
    httpd.modules.append("vhost_alias")
    for name, port in sites.ports.items():
        httpd.add(f"{port}/p.asis", b"Content-Type: text/html\n\n" + PAGES[name])
    sites.start(f"<VirtualHost *:{sites.ports['a']} *:{sites.ports['b']}>\nServerName {NAME}\nUseCanonicalName Off\n"
                f"UseCanonicalPhysicalPort On\nVirtualDocumentRoot {httpd.docs}/%p\n</VirtualHost>\n")
    assert_told_apart(sites)
