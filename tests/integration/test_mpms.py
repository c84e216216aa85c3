# SPDX-License-Identifier: Apache-2.0
"""Every MPM, HTTP/1.1 and HTTP/2, under load: graceful restarts and killed daemons cost nobody a request."""
import os
import re
import subprocess
import threading

import pytest
from env import machine
from env.process import wait_for
from env.tags import content_tag

FILE = b"<p>" + b"0123456789" * 200 + b"</p>\n"
PAGE = b"<p>a page of the application</p>\n"
FILE_TAG, PAGE_TAG = content_tag(FILE, "text/html"), content_tag(PAGE, "text/html")
MPMS = ["event", "worker", "prefork"]

# Each answer is judged: status, tag and length, for files and pages, with and without the tag.
JUDGE = """
local asks = {{"/p.html", false, '%(file_tag)s', %(file_n)d}, {"/p.html", true, '%(file_tag)s', %(file_n)d},
              {"/app", true, '%(page_tag)s', %(page_n)d}, {"/app", false, '%(page_tag)s', %(page_n)d},
              {"/app", true, '%(page_tag)s', %(page_n)d}}
local threads, n = {}, 0
wrong, right, sample = 0, 0, ""
function setup(thread) table.insert(threads, thread) end
-- wrk sends one request per connection at a time, but connections interleave: what an answer must be is
-- told by what it is.
local known = {}
for _, a in ipairs(asks) do known[a[3]] = a[4] end
function request()
    n = n + 1
    local a = asks[n %% #asks + 1]
    local headers = {["Host"] = "www.example.com"}
    if a[2] then headers["If-None-Match"] = a[3] end
    return wrk.format("GET", a[1], headers)
end
function response(status, headers, body)
    local size = known[headers["ETag"] or ""]
    if size and ((status == 200 and #body == size) or (status == 304 and #body == 0)) then right = right + 1
    else wrong = wrong + 1; sample = status .. " " .. (headers["ETag"] or "-") .. " " .. #body end
end
function done(summary, latency, requests)
    local w, r, s = 0, 0, ""
    for _, t in ipairs(threads) do
        w = w + t:get("wrong"); r = r + t:get("right"); if t:get("sample") ~= "" then s = t:get("sample") end
    end
    local e = summary.errors
    io.write(string.format("JUDGED right=%%d wrong=%%d connect=%%d read=%%d write=%%d timeout=%%d sample=%%s\\n",
                           r, w, e.connect, e.read, e.write, e.timeout, s))
end
""" % {"file_tag": FILE_TAG, "file_n": len(FILE), "page_tag": PAGE_TAG, "page_n": len(PAGE)}


@pytest.fixture
def times(request):
    """How often: 3 in make check, 20 in make check-long."""
    return 20 if request.config.getoption("--long") else 3


@pytest.fixture
def make_site(backend, new_httpd, etagd):
    def make(mpm, more=""):
        site = new_httpd(modules=["proxy", "proxy_http"] + (["http2"] if mpm != "prefork" else []), mpm=mpm, etagd=etagd)
        site.add("p.html", FILE, mtime=1_700_000_000)
        # Without keep-alive no request can be on its way to a connection that a restart closes.
        site.config = (f"ETagEngine On\nKeepAlive Off\nListenBacklog 511\n<Location /app>\nETagEarly On\n"
                       f"ProxyPass {backend.url}/app\n</Location>\n{more}")
        site.expect_log("etagd|AH10034")
        backend.page("/app", PAGE)
        return site.start()

    return make


class Wrk:
    """wrk with the judging script, until stop()."""

    def __init__(self, site):
        script = machine.write(site.folder / "judge.lua", JUDGE)
        self.proc = subprocess.Popen([machine.program("wrk"), "-t1", "-c8", "-d600s", "--timeout", "20s", "-s", script,
                                      site.url("/")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop(self):
        self.proc.send_signal(2)
        out = self.proc.communicate(timeout=60)[0]
        judged = re.search(r"JUDGED right=(\d+) wrong=(\d+) connect=(\d+) read=(\d+) write=(\d+) timeout=(\d+) (.*)", out)
        assert judged, out
        assert [int(n) for n in judged.groups()[1:6]] == [0] * 5, judged.group(0)
        return int(judged.group(1))


def served(site):
    return sum(1 for _ in open(site.access_log))


def some_load(site, n=300):
    """Awaits n more answers of the load that runs."""
    before = served(site)
    wait_for(lambda: served(site) >= before + n, "the load to be answered", 30)


def use_of(pid):
    """Open descriptors without connections to clients and backends, mappings of tables, anonymous memory in kB."""
    with open("/proc/net/tcp") as f:
        tcp = {f"socket:[{line.split()[9]}]" for line in f.readlines()[1:]}
    fds = sum(os.readlink(f"/proc/{pid}/fd/{fd}") not in tcp for fd in os.listdir(f"/proc/{pid}/fd"))
    maps = open(f"/proc/{pid}/maps").read().count("memfd:")
    anonymous = int(re.search(r"^Anonymous:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
    return fds, maps, anonymous


@pytest.mark.parametrize("kind", MPMS)
def test_graceful_restarts_under_load(make_site, times, kind):
    site = make_site(kind)
    load = Wrk(site)
    try:
        some_load(site)
        for _ in range(times):
            before = set(site.children())
            site.graceful()
            some_load(site)
            wait_for(lambda b=before: not b & set(site.children()), "the children of before to end", 30)
    finally:
        answered = load.stop()
    assert answered > 300 * times


@pytest.mark.parametrize("kind", MPMS)
def test_killed_daemons_under_load(make_site, etagd, times, kind):
    site = make_site(kind)
    load = Wrk(site)
    children = None
    try:
        for round_ in range(times + 1):
            some_load(site)
            if round_ == 1:  # everything a child needs once, it has by now
                load.stop()
                children = {pid: use_of(pid) for pid in site.children()}
                load = Wrk(site)
                some_load(site)
            etagd.kill()
            some_load(site)
            etagd.start()
            wait_for(lambda: int(etagd.info()["attached"]) > 0, "httpd to attach again", 15)
    finally:
        load.stop()
    left = [pid for pid in site.children() if pid in children]
    assert left, "all children were replaced: one died"
    for pid in left:
        fds, maps, memory = use_of(pid)
        # A connection to etagd for each of eight threads, where none may have been before.
        assert fds <= children[pid][0] + 10 and maps <= 2, (children[pid], (fds, maps, memory))
        assert memory <= children[pid][2] + 2048, (children[pid], (fds, maps, memory))


H2 = "Protocols h2c http/1.1\nH2Direct on\n"


def h2load(site, target, tag, requests, connections):
    """Starts h2load with the tag; h2_judged tells whether each request got its 304."""
    return subprocess.Popen([machine.program("h2load"), f"-n{requests}", f"-c{connections}", "-m10",
                             "-H", "Host: www.example.com", "-H", f"If-None-Match: {tag}", site.url(target)],
                            stdout=subprocess.PIPE, text=True)


def h2_judged(load, requests):
    out = load.communicate(timeout=120)[0]
    assert f"{requests} succeeded, 0 failed, 0 errored, 0 timeout" in out, out
    assert f"status codes: 0 2xx, {requests} 3xx, 0 4xx, 0 5xx" in out, out


@pytest.mark.parametrize("kind", ["event", "worker"])
def test_http2_graceful_restarts(make_site, times, kind):
    """A request to a connection, as h2load does not come back after GOAWAY."""
    site = make_site(kind, H2)
    stop, troubles = threading.Event(), []

    def client(target, tag):
        try:
            while not stop.is_set():
                h2_judged(h2load(site, target, tag, 50, 50), 50)
        except Exception as e:  # for the test's own thread
            troubles.append(e)

    clients = [threading.Thread(target=client, args=a) for a in (("/p.html", FILE_TAG), ("/app", PAGE_TAG))]
    for c in clients:
        c.start()
    try:
        for _ in range(times):
            some_load(site)
            site.graceful()
        some_load(site)
    finally:
        stop.set()
        for c in clients:
            c.join()
    assert not troubles, troubles[0]


@pytest.mark.parametrize("kind", ["event", "worker"])
def test_http2_killed_daemons(make_site, etagd, times, kind):
    site = make_site(kind, H2)
    for target, tag in (("/p.html", FILE_TAG), ("/app", PAGE_TAG)):
        assert site.get(target).etag == tag
        for _ in range(times):
            load = h2load(site, target, tag, 2000, 4)
            etagd.kill()
            etagd.start()
            h2_judged(load, 2000)
