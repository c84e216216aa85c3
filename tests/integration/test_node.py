# SPDX-License-Identifier: Apache-2.0
"""etagd absent, killed, slow, restarted, of another version: httpd starts and serves, waits no longer than
ETagTimeout, says each change of state once, and believes no table that it should not."""
import itertools
import os
import re
import socket
import threading
import time

import pytest

from env.httpd import ONE_CHILD
from env.process import wait_for

SHOW = 'Header always set X-Etag "expr=%{reqenv:etag-status}/%{reqenv:etag-why}"\n'
EARLY = "ETagEngine On\nETagEarly On\nETagSource digest\nAddHandler send-as-is .asis\n" + SHOW
PAGE = "Content-Type: text/html\n\n<p>page</p>\n"
WITHOUT, ATTACHED = "working without etagd", r"attached to etagd|answers again"
OLD = 1_700_000_000


def why(answer):
    return answer.header("X-Etag")


@pytest.fixture
def site(new_httpd, new_etagd, mpm):
    """httpd and etagd, neither running; three pages and a file. A POST to them answers 200."""
    etagd = new_etagd()
    httpd = new_httpd(EARLY + "ETagTimeout 2s\n", modules=["headers", "asis"], etagd=etagd, mpm=mpm)
    httpd.config += f'LogFormat "%{{X-Probe}}i %{{etag-status}}n/%{{etag-why}}n" why\nCustomLog {httpd.folder}/why.log why\n'
    for name in ("a", "b", "c"):
        httpd.add(f"{name}.asis", PAGE)
    httpd.add("file.txt", "a file\n", mtime=OLD)
    httpd.expect_log(WITHOUT)
    return httpd


def learned(httpd, target="/a.asis", host=None):
    """The tag of a page, and whether the table answers for it in every child that is asked."""
    tag = httpd.get(target, host=host).etag
    return tag, why(httpd.get(target, {"If-None-Match": tag}, host=host))


def spent(httpd, target="/file.txt", times=1):
    """The longest of some requests, in seconds."""
    longest = 0
    for _ in range(times):
        begun = time.monotonic()
        assert httpd.get(target).status == 200
        longest = max(longest, time.monotonic() - begun)
    return longest


def log(httpd):
    """The module's lines but those of single children, in order, as words."""
    lines = httpd.log_lines(r"\[etag:(notice|warn)\]")
    return ["without" if WITHOUT in s else "refused" if "cannot be used" in s else "attached" for s in lines]


def test_absent_then_started(site):
    site.start()
    assert spent(site, times=30) < 1.5, "nobody listens: nothing to wait for"
    tag = site.get("/file.txt").etag
    assert site.get("/file.txt", {"If-None-Match": tag}).status == 304
    assert learned(site)[1] == "304/late"
    assert log(site) == ["without"], "once, not by every child or request"
    line = site.log_lines(WITHOUT)[0]
    assert str(site.etagd.socket) in line and "start etagd, or say with ETagDaemon" in line
    site.etagd.start()
    wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")
    assert log(site) == ["without", "attached"]


def test_killed_and_restarted(site):
    site.etagd.start()
    site.start()
    tag, how = learned(site)
    assert how == "304/learned"
    file_tag = site.get("/file.txt").etag
    site.etagd.kill()
    # The lease ends, and with it everything that had to be believed; what stat proves goes on.
    wait_for(lambda: why(site.get("/a.asis", {"If-None-Match": tag})) == "304/late", "the lease to end")
    wait_for(lambda: why(site.get("/file.txt", {"If-None-Match": file_tag})) == "304/file", "the file's tag")
    assert spent(site, "/b.asis", 20) < 1.5
    site.etagd.start()
    wait_for(lambda: learned(site, "/b.asis")[1] == "304/learned", "a learned tag")
    assert log(site) == ["attached", "without", "attached"]


def test_restarts_pin_no_table(site):
    site.etagd.start()
    site.start()
    for _ in range(12):
        site.etagd.kill()
        site.etagd.start()
        wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")

    def everybody_attached():
        site.get("/a.asis")
        with site.etagd.client() as c:
            now = c.info()
        return now

    assert everybody_attached()
    for pid in site.children():
        with open(f"/proc/{pid}/maps") as f:
            tables = {line.split()[4] for line in f if "memfd:" in line and "touch" not in line}
        assert len(tables) <= 1, tables
        sockets = [e for e in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{e}").startswith("/memfd")]
        assert not sockets, "descriptors of tables are closed once they are mapped"


def test_stopped_etagd_costs_each_child_a_few_timeouts(site):
    """SIGSTOP: connections are taken and nothing is answered."""
    site.expect_log("reached MaxRequestWorkers")  # prefork, with its one child
    site.config = EARLY + ONE_CHILD[site.mpm] + "ETagTimeout 200ms\n"
    site.etagd.start()
    site.start()
    assert learned(site)[1] == "304/learned"
    site.etagd.pause()
    begun, slow = time.monotonic(), 0
    for i in range(40):
        took = spent(site, f"/b.asis?{i}")  # each would be learned
        assert took < 1.5
        slow += took > 0.15
    assert 1 <= slow <= 3 + (time.monotonic() - begun) / 0.5, "after three the breaker opens, for 0.5 s and longer"
    wait_for(lambda: log(site)[-1:] == ["without"], "the line that says so")
    site.etagd.resume()
    fresh = (f"/b.asis?again={i}" for i in itertools.count())
    wait_for(lambda: learned(site, next(fresh))[1] == "304/learned", "a tag to be learned", 20)
    assert log(site) == ["attached", "without", "attached"]


class OtherVersion:
    """Answers every request as an etagd of another protocol version does."""

    def __init__(self, path):
        self.asked, self.listener = 0, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            while connection.recv(65536):
                self.asked += 1
                connection.sendall(b"-VERSION 9 this etagd speaks version 9 only\r\n")

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_other_protocol_version(site):
    other = OtherVersion(site.etagd.socket)
    try:
        site.start()
        assert spent(site, times=20) < 1.5
        assert learned(site)[1] == "304/late"
        file_tag = site.get("/file.txt").etag
        wait_for(lambda: why(site.get("/file.txt", {"If-None-Match": file_tag})) == "304/file", "the file's tag")
        assert log(site) == ["refused"]
        site.wait_log("cannot be used: etagd speaks another protocol version; .*install mod_etag and etagd of one release")
        assert other.asked < 60, "not asked again by every request"
    finally:
        other.stop()
    os.unlink(site.etagd.socket)
    site.etagd.start()
    wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")
    assert log(site) == ["refused", "attached"] or log(site) == ["refused", "without", "attached"]


def operations(etagd):
    """(operation, argument) pairs of the log, in order."""
    rows = etagd.call("XRANGE", "{etag}:log", "-", "+")
    return [tuple(f.decode() for f in row[1][i:i + 2]) for row in rows for i in range(0, len(row[1]), 2)]


def post(httpd, target="/a.asis", host=None):
    """What became of the invalidation, from the log: it is made after the headers of the response."""
    probe = f"probe-{time.monotonic_ns()}"
    assert httpd.request("POST", target, {"X-Probe": probe}, b"x", host).status == 200
    said = wait_for(lambda: re.search(f"^{probe} (.*)$", (httpd.folder / "why.log").read_text(), re.MULTILINE), "the log")
    return said.group(1)


def test_invalidation_is_kept_until_etagd_is_back(site):
    site.etagd.start()
    site.start()
    tag, how = learned(site)
    assert how == "304/learned"
    assert post(site, "/b.asis") == "write/invalidated" and operations(site.etagd)[-1] == ("url", "www.example.com/b.asis")
    site.etagd.kill()
    assert post(site) == "write/invalidation kept"
    # The old table still has its lease; nobody may believe it any more.
    answers = [why(site.get("/a.asis", {"If-None-Match": tag})) for _ in range(20)]
    assert set(answers) == {"304/late"}
    site.etagd.start()
    wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")
    assert operations(site.etagd) == [("host", "www.example.com")]


def test_kept_invalidations_outlive_children_and_graceful(site):
    site.start()
    assert post(site) == "write/invalidation kept"
    site.graceful()
    children = site.children()
    site.expect_log("exit signal")
    for pid in children:
        os.kill(pid, 9)
    wait_for(lambda: site.children() and not set(site.children()) & set(children), "new children")
    site.etagd.start()
    wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")
    assert operations(site.etagd) == [("host", "www.example.com")]


def virtual_host(httpd, *lines):
    return "\n".join([f"<VirtualHost *:{httpd.port}>", f"ServerName {httpd.host}", f"DocumentRoot {httpd.docs}", *lines,
                      "</VirtualHost>\n"])


@pytest.mark.parametrize("hosts,kept", [(64, "host"), (65, "all")])
def test_too_many_hosts_become_all(site, hosts, kept):
    names = [f"h{i}.example.com" for i in range(hosts)]
    site.start(site.config + virtual_host(site, "ServerAlias " + " ".join(names)))
    for name in names:
        assert post(site, host=name) == "write/invalidation kept"
    site.etagd.start()
    wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")
    found = operations(site.etagd)
    assert found == ([("all", "1")] if kept == "all" else [("host", n) for n in names])


def test_read_your_writes_over_a_restart_of_etagd(site):
    """The old table has a lease left, but the write went to the new etagd, which does not fill the old table."""
    site.etagd.start()
    site.start()
    for round_ in range(6):
        old = learned(site)[0]
        assert {site.get("/a.asis", {"If-None-Match": old}).status for _ in range(20)} == {304}  # every child attaches
        site.etagd.kill()
        site.etagd.start()
        site.add("a.asis", PAGE.replace("page", f"page {round_}"))
        assert post(site) in ("write/invalidated", "write/invalidation kept")
        assert {site.get("/a.asis", {"If-None-Match": old}).status for _ in range(20)} == {200}
        wait_for(lambda: learned(site)[1] == "304/learned", "a learned tag")


def test_names_of_virtual_hosts_are_announced(site):
    """A URL typed with any name of the site is forgotten, and nothing else."""
    site.etagd.start()
    site.start(site.config + virtual_host(site, "ServerAlias alias.example.com *.wild.example.com",
                                          "ETagBaseURL https://shop.example.com"))
    for name in ("www.example.com", "alias.example.com", "shop.example.com"):
        tags = {t: learned(site, t)[0] for t in ("/a.asis", "/b.asis")}
        site.etagd.call("XADD", "{etag}:log", "*", "url", f"{name}/a.asis")
        seen = [why(site.get(t, {"If-None-Match": tag})) for t, tag in tags.items()]
        assert seen == ["304/late", "304/learned"], name
    tags = {t: learned(site, t)[0] for t in ("/a.asis", "/b.asis")}
    site.etagd.call("XADD", "{etag}:log", "*", "url", "one.wild.example.com/a.asis")
    assert [why(site.get(t, {"If-None-Match": tag})) for t, tag in tags.items()] == ["304/late", "304/late"]
