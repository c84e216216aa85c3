# SPDX-License-Identifier: Apache-2.0
"""etagd restarts again and again while most children of httpd have nothing to do: memory stays bounded."""
import re

import pytest
from env.process import wait_for
from env.tags import content_tag

PAGE = b"<p>a page of the application</p>\n"
TAG = content_tag(PAGE, "text/html")
CHILDREN = 12


@pytest.fixture
def site(new_httpd, etagd, backend):
    site = new_httpd(modules=["proxy", "proxy_http"], mpm="prefork", etagd=etagd)
    site.config = (f"StartServers {CHILDREN}\nMinSpareServers 2\nMaxSpareServers {CHILDREN}\nMaxRequestWorkers {CHILDREN}\n"
                   f"MaxConnectionsPerChild 0\nKeepAlive Off\nETagEngine On\nETagEarly On\nETagTimeout 1s\n"
                   f"ProxyPass / {backend.url}/\n")
    site.expect_log("etagd")
    backend.page("/p", PAGE)
    return site.start()


def tables_of(pid):
    """{inode: kB resident} of the tables that a process maps."""
    found, inode = {}, None
    for line in open(f"/proc/{pid}/smaps"):
        if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
            inode = int(line.split()[4]) if "memfd:" in line else None
        elif inode and line.startswith("Rss:"):
            found[inode] = found.get(inode, 0) + int(line.split()[1])
    return found


def private_of(pid):
    """kB that nobody else uses."""
    text = open(f"/proc/{pid}/smaps_rollup").read()
    return sum(int(n) for n in re.findall(r"^(?:Private_\w+|Anonymous):\s+(\d+)", text, re.M))


def early(site, backend):
    before = backend.count()
    a = site.get("/p", {"If-None-Match": TAG})
    assert (a.status, a.etag) == (304, TAG), a
    return backend.count() == before


@pytest.mark.parametrize("restarts", [10, pytest.param(100, marks=pytest.mark.long)])
def test_restarts_with_idle_children(site, etagd, backend, restarts):
    for _ in range(CHILDREN * 3):  # everybody has met the first table, as far as the kernel wakes them in turn
        site.get("/p")
    children = {pid: private_of(pid) for pid in site.children()}
    assert len(children) == CHILDREN
    for _ in range(restarts):
        etagd.stop()
        etagd.start()
        wait_for(lambda: early(site, backend), "the page to be learned and answered early again")
    after = set(site.children())
    assert after == set(children), "no child has ended"
    tables = {}
    for pid in after:
        mapped = tables_of(pid)
        assert len(mapped) <= 2, (pid, mapped)  # one, and one that is being left
        tables.update(mapped)
        assert private_of(pid) <= children[pid] + 2048, (pid, children[pid], private_of(pid))
    # Tables that idle children still hold: one each at the most, and only what was written in it takes memory.
    assert len(tables) <= CHILDREN + 1 and sum(tables.values()) <= (CHILDREN + 1) * 65536, tables
