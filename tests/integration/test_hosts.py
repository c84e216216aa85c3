# SPDX-License-Identifier: Apache-2.0
"""A site has many names: whichever an invalidation names, it covers what was learned under all of them."""
import subprocess

import pytest
from env import http, machine
from env.node import HOSTS, LOG, Node
from env.process import wait_for
from env.tags import content_tag

PAGE = b"<p>a page of the application</p>\n"
NEW = b"<p>changed, and not of the same length</p>\n"
TAG = content_tag(PAGE, "text/html")
SITE, OTHER = "www.example.com", "other.example.com"


def virtual_host(site, backend, *lines, address="*"):
    return "\n".join([f"<VirtualHost {address}:{site.port}>", f"ServerName {SITE}", *lines, "ETagEngine On",
                      "ETagEarly On", f"ProxyPass / {backend.url}/", "</VirtualHost>\n"])


@pytest.fixture
def site(new_httpd, etagd, backend):
    """Not started: it has no name but its own."""
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = virtual_host(site, backend, f"ServerAlias {OTHER} third.example.com")
    return site


def early(site, backend, host, target="/p"):
    before = backend.count()
    a = site.get(target, {"If-None-Match": TAG}, host=host)
    return a.status == 304 and backend.count() == before


def learn(site, backend, host=SITE, target="/p"):
    """The page as it was, answered early under this name."""
    backend.page(target, PAGE)
    wait_for(lambda: site.get(target, host=host).etag == TAG and early(site, backend, host, target), "a learned tag")


def forgotten(site, backend, host=SITE, target="/p"):
    # Not to be learned: the page comes back as it was, unannounced, and the two would contradict each other.
    backend.page(target, NEW, [("Content-Type", "text/html"), ("Cache-Control", "no-store")])
    return site.get(target, {"If-None-Match": TAG}, host=host).status == 200


def xadd(etagd, *fields):
    command = [machine.program("redis-cli"), "-s", str(etagd.socket), "XADD", LOG, "*", *fields]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def names_of(site):
    return (SITE, OTHER, f"{SITE}:{site.port}", f"{OTHER}:{site.port}")


def test_every_name_is_forgotten_by_command(site, backend, etagd):
    site.start()
    for learned in names_of(site):
        for name in (*names_of(site), "third.example.com", f"{SITE}:8080"):
            learn(site, backend, learned)
            xadd(etagd, "url", f"{name}/p")
            assert forgotten(site, backend, learned), (learned, name)
        learn(site, backend, learned, "/dir/p")
        xadd(etagd, "prefix", f"{OTHER}:1234/dir/")
        assert forgotten(site, backend, learned, "/dir/p"), learned


def test_every_name_is_forgotten_by_a_write(site, backend):
    site.start()
    for learned in names_of(site):
        for name in names_of(site):
            learn(site, backend, learned)
            assert site.request("POST", "/p", {}, body=b"x", host=name).status == 200
            assert forgotten(site, backend, learned), (learned, name)


def test_other_pages_and_sites_are_left_alone(site, backend, etagd):
    next_site = virtual_host(site, backend).replace(SITE, "next.example.com")
    site.start(site.config + next_site)
    learn(site, backend, SITE, "/q")
    learn(site, backend, "next.example.com")
    learn(site, backend, SITE)
    xadd(etagd, "url", f"{OTHER}/p")
    assert site.request("POST", "/p", {}, body=b"x", host=OTHER).status == 200
    assert early(site, backend, SITE, "/q") and early(site, backend, "next.example.com")
    assert forgotten(site, backend, SITE)


def test_base_url(site, backend, etagd):
    """Pages have one name, people and writes use all of them, and its own."""
    site.config = site.config.replace("ETagEngine", "ETagBaseURL https://shop.example.com:8443\nETagEngine")
    site.start()
    for name in (SITE, OTHER, f"{OTHER}:{site.port}", "shop.example.com", "shop.example.com:8443", "shop.example.com:80"):
        learn(site, backend, OTHER)
        xadd(etagd, "url", f"{name}/p")
        assert forgotten(site, backend, SITE), name
        if not name.startswith("shop"):
            learn(site, backend, OTHER)
            site.request("POST", "/p", {}, body=b"x", host=name)
            assert forgotten(site, backend, SITE), name


def test_the_address_of_a_virtual_host_is_a_name(site, backend, etagd):
    """httpd takes it for one; where sites share it, it is the first one's."""
    first = virtual_host(site, backend, address="127.0.0.1")
    site.start(first + first.replace(SITE, "next.example.com"))
    learn(site, backend, "127.0.0.1")
    learn(site, backend, "next.example.com")
    xadd(etagd, "url", f"{SITE}/p")
    assert early(site, backend, "next.example.com")
    assert forgotten(site, backend, "127.0.0.1")
    learn(site, backend, SITE)
    site.request("POST", "/p", {}, body=b"x", host=f"127.0.0.1:{site.port}")
    assert forgotten(site, backend)


def test_two_ports_of_one_site(site, backend, etagd):
    """Each port has its pages, and one invalidation for both."""
    port = machine.free_port()
    second = site.config.replace(f"*:{site.port}", f"*:{port}")
    site.expect_log("is the name of virtual hosts on different addresses")
    site.start(f"Listen 127.0.0.1:{port}\n{site.config}{second}")
    learn(site, backend, f"{SITE}:{site.port}")
    assert http.request(port, "POST", "/p", {}, b"x", f"{OTHER}:{port}").status == 200
    assert forgotten(site, backend, f"{SITE}:{site.port}")
    learn(site, backend, SITE)
    xadd(etagd, "url", f"{SITE}:{port}/p")
    assert forgotten(site, backend)


def test_what_is_known_is_not_published_again(site, backend, etagd):
    """Also under a name that is not the one in the record's scopes."""
    site.start()
    learn(site, backend, OTHER)
    backend.page("/p", PAGE, [("Content-Type", "text/html"), ("Cache-Groups", '"g"')])
    publish = etagd.info("Store")["puts"]
    wait_for(lambda: site.get("/p", host=OTHER).etag == TAG and etagd.info("Store")["puts"] != publish, "the group")
    puts = etagd.info("Store")["puts"]
    for _ in range(5):
        assert site.get("/p", host=OTHER).etag == TAG
    assert etagd.info("Store")["puts"] == puts


def position(record):
    return tuple(map(int, record.split("-")))


@pytest.mark.parametrize("announcing", [0, 1])
def test_one_node_alone_knows_the_alias(new_redis, new_etagd, new_httpd, backend, announcing):
    """What one node's httpd says holds on every node, and for what is stored in Redis."""
    redis = new_redis().start()
    sites = []
    for i, name in enumerate(("one", "two")):
        etagd = new_etagd(redis=redis, node=name).start()
        Node(etagd).wait_lease()
        site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
        alias = [f"ServerAlias {OTHER}"] if i == announcing else []
        # Both nodes' pages have the URL without a port.
        sites.append(site.start(virtual_host(site, backend, *alias)))
    backend.page("/p", PAGE)
    # A child announces with the request that attaches it, perhaps not the first.
    wait_for(lambda: [(s.get("/p").etag, s.etagd.info("Store")["hosts"]) for s in sites] == 2 * [(TAG, "2")], "both names")
    assert redis.call("HGET", HOSTS, OTHER) == SITE.encode()
    for how in ("command", "write", "port"):
        for site in sites:
            learn(site, backend)
        if how == "write":
            sites[announcing].request("POST", "/p", {}, body=b"x", host=OTHER)
            sites[announcing].etagd.wait_info("invalidations_unsent", 0)
        else:
            redis.cli("XADD", LOG, "*", "url", f"{OTHER}:8080/p" if how == "port" else f"{OTHER}/p")
        last = redis.call("XREVRANGE", LOG, "+", "-", "COUNT", 1)[0][0].decode()
        for site in sites:
            site.etagd.wait_info("applied", lambda at: position(at) >= position(last))
            assert forgotten(site, backend), (how, site.folder.name)
