# SPDX-License-Identifier: Apache-2.0
"""Many processes meet an unknown file at once: one of them hashes it, and nobody depends on that one."""
import os
import re
import signal
import threading

import pytest

from env.files import settled
from env.process import wait_for
from env.tags import content_tag

PAST = 1_700_000_000
MANY = 20
# Each keep-alive connection holds a process of its own.
PREFORK = (f"StartServers {MANY + 4}\nMinSpareServers 4\nMaxSpareServers {MANY + 8}\nServerLimit 64\n"
           "MaxRequestWorkers 64\nKeepAliveTimeout 60\n")
CONF = ("ETagEngine On\nLogLevel etag:debug\nETagTimeout {timeout}\n"
        'LogFormat "%P %U" pids\nCustomLog pids.log pids\n')


def processes(site, connections):
    """Which process serves which connection: a request on each, and the access log."""
    for i, c in enumerate(connections):
        assert c.get(f"/warm.html?{i}").status == 200
        assert c.get(f"/{i}").status == 404
    log = site.folder / "pids.log"
    wait_for(lambda: len(log.read_text().splitlines()) >= 2 * len(connections), "the access log")
    found = dict(reversed(line.split()) for line in log.read_text().splitlines())
    return [int(found[f"/{i}"]) for i in range(len(connections))]


def hashes(site, size):
    """How often a file of this size was hashed, by any process."""
    lines = site.log_lines(r"mod_etag: hashed file:")
    return len([s for s in lines if re.search(rf"hashed file:[0-9a-f-]+:(?:[0-9a-f]+\.){{4}}{size:x}\.", s)])


def all_at_once(connections, target):
    barrier, answers = threading.Barrier(len(connections)), [None] * len(connections)

    def ask(i):
        barrier.wait()
        answers[i] = connections[i].get(target)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(connections))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


@pytest.fixture
def open_connections(request):
    made = []
    yield lambda site, n: made.extend(site.connect() for _ in range(n)) or made[-n:]
    for c in made:
        c.close()


@pytest.mark.parametrize("with_etagd", [True, False], ids=["etagd", "no etagd"])
def test_twenty_processes_hash_a_file_once(new_httpd, etagd, work, open_connections, with_etagd):
    site = new_httpd(CONF.format(timeout="2s") + PREFORK, mpm="prefork",
                     etagd=etagd if with_etagd else work / "nobody.sock")
    if not with_etagd:
        site.expect_log("nobody.sock")
    body = os.urandom(7_000_000)
    site.add("warm.html", b"warm", mtime=PAST)
    settled(site.add("big.html", body, mtime=PAST))
    site.start()
    connections = open_connections(site, MANY)
    assert len(set(processes(site, connections))) == MANY
    published = int(etagd.info()["files_published"])
    answers = all_at_once(connections, "/big.html")
    assert {(a.status, a.etag) for a in answers} == {(200, content_tag(body, "text/html"))}
    assert all(a.body == body for a in answers)
    assert hashes(site, len(body)) == 1
    if with_etagd:
        assert int(etagd.info()["files_published"]) == published + 1


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
def test_who_dies_or_hangs_while_hashing_is_replaced(new_httpd, etagd, open_connections, ending):
    site = new_httpd(CONF.format(timeout="20ms") + PREFORK + "ETagInlineLimit 2G\n", mpm="prefork", etagd=etagd)
    site.expect_log("exit signal Killed")
    site.add("warm.html", b"warm", mtime=PAST)
    big = site.add("big.html", b"", mtime=PAST)
    os.truncate(big, 1 << 29)  # sparse: a quarter of a second of hashing, or more
    settled(big)
    site.start()
    first, second = open_connections(site, 2)
    one, two = processes(site, [first, second])

    def works_on_it(pid):
        return any(os.path.realpath(f"/proc/{pid}/fd/{fd}") == str(big) for fd in os.listdir(f"/proc/{pid}/fd"))

    first.send_raw(b"HEAD /big.html HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    wait_for(lambda: works_on_it(one), "the first process to hash")
    second.send_raw(b"HEAD /big.html HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    wait_for(lambda: works_on_it(two), "the second process to wait")
    assert hashes(site, 1 << 29) == 0
    os.kill(one, ending)
    try:
        second.sock.settimeout(30)
        answer = second.sock.recv(65536)
        assert b"200 OK" in answer and b"\r\nETag: \"d" in answer, answer
        assert hashes(site, 1 << 29) == 1
    finally:
        if ending == signal.SIGSTOP:
            os.kill(one, signal.SIGCONT)
