# SPDX-License-Identifier: Apache-2.0
"""etagd's socket: the protocol under good and hostile clients, descriptors, limits."""
import base64
import ctypes
import hashlib
import mmap
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from env import machine
from env.files import identity, settled
from env.process import wait_for
from env.resp import Closed, Resp, RespError, encode

REDIS_CLI = machine.program("redis-cli")


def cli(etagd, *words):
    done = subprocess.run([REDIS_CLI, "-s", str(etagd.socket), *words], capture_output=True, text=True, timeout=10)
    return done.stdout.strip()


# --- people and their tools ---

def test_redis_cli_talks_to_it(etagd):
    assert cli(etagd, "PING") == "PONG"
    assert "# Server" in cli(etagd, "INFO") and "# Lease" in cli(etagd, "INFO", "lease")
    assert cli(etagd, "ETAG", "KEY", "https://WWW.Example.com:443/a?x").splitlines()[0] == "https://www.example.com/a?x"
    assert "-" in cli(etagd, "ETAG", "INVALIDATE", "url", "www.example.com/a")
    first = cli(etagd, "XADD", "{etag}:log", "*", "tag", "product-42")
    assert cli(etagd, "XLEN", "{etag}:log") >= "2"
    assert first in cli(etagd, "XREVRANGE", "{etag}:log", "+", "-", "COUNT", "1")
    assert "its name is {etag}:log" in cli(etagd, "XADD", "other", "*", "all", "1")


def test_applied_is_stamped(etagd):
    record = cli(etagd, "XADD", "{etag}:log", "*", "url", "h/a")
    assert int(cli(etagd, "ETAG", "APPLIED", record)) > 0
    assert int(cli(etagd, "ETAG", "APPLIED", "1-1")) == 0


@pytest.mark.parametrize("words,says", [
    (("NOSUCH",), "unknown command"),
    (("ETAG", "NOSUCH", "x"), "unknown command"),
    (("ETAG", "KEY"), "wrong number"),
    (("ATTACH", "99", "1"), "VERSION 1"),
    (("SELECT", "1"), "database 0"),
    (("ETAG", "KEY", "ftp://h/"), "ERR"),
    (("ETAG", "KEY", "http://user@h/"), "ERR"),
    (("ETAG", "INVALIDATE", "url", "h/a", "tag"), "pairs"),
    (("ETAG", "HASH", "file:x"), "descriptor"),
    (("ETAG", "FILE", "file:x", "short"), "32 bytes"),
    (("ETAG", "PUT", "1", "x", "k", "v", "", "0", "", "", "0", "0"), "malformed"),
    (("ETAG", "PUT", "1", "1", "k", "v", "", "0", "", "", "9", "0"), "malformed"),
    (("XADD", "{etag}:log", "*", "url"), "wrong number"),
    (("XADD", "{etag}:log", "5-0", "url", "h/a"), "expected XADD"),
    (("XRANGE", "{etag}:log", "5", "+"), "expected XRANGE"),
])
def test_errors_say_what_to_do(etagd, words, says):
    with pytest.raises(RespError, match=says):
        etagd.call(*words)
    assert etagd.call("PING") == "PONG"


def test_a_wrong_count_shows_the_right_form(etagd):
    with pytest.raises(RespError, match=r"expected ETAG INVALIDATE op arg \[op arg...\]"):
        etagd.call("ETAG", "INVALIDATE", "url")
    with pytest.raises(RespError, match="ETAG PUT, .*XADD, .*QUIT"):
        etagd.call("NOSUCH")


def test_a_range_too_long_says_so(etagd):
    """Not a connection cut off in the middle of an answer."""
    with etagd.client() as c:
        for _ in range(20):
            c.call("XADD", "{etag}:log", "*", "note", "x" * 60_000, "url", "h/a")
        with pytest.raises(RespError, match="COUNT"):
            c.call("XRANGE", "{etag}:log", "-", "+")
        assert len(c.call("XRANGE", "{etag}:log", "-", "+", "COUNT", "10")) == 10
        assert c.call("XLEN", "{etag}:log") == 20


# --- hostile bytes ---

@pytest.mark.parametrize("bad", [
    b"GET / HTTP/1.1\r\n\r\n",
    b"*-1\r\n",
    b"*99999999999\r\n",
    b"*1\r\n$-5\r\n",
    b"*1\r\n$2000000000\r\n",
    b"*1\r\n" * 1000,
    b"*1\r\n:1\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"\x00" * 64,
])
def test_malformed_bytes_end_the_connection(etagd, bad):
    with etagd.client() as c:
        c.send("PING")
        c.send_raw(bad)
        assert c.read() == "PONG"
        reply = c.read()
        assert isinstance(reply, RespError) and "Protocol error" in str(reply)
        with pytest.raises((Closed, ConnectionError)):
            c.read()
    assert etagd.call("PING") == "PONG"


def test_half_a_request_waits_and_is_served(etagd):
    data = encode("PING", "hello")
    with etagd.client() as c:
        for byte in data[:-1]:
            c.send_raw(bytes([byte]))
        assert etagd.call("PING") == "PONG"  # nobody else waits with it
        c.send_raw(data[-1:])
        assert c.read() == b"hello"


def test_half_a_request_may_be_abandoned(etagd):
    for n in (1, 4, 9):
        with etagd.client() as c:
            c.send_raw(encode("PING")[:n])
    etagd.wait_info("connected_clients", "1")


def test_ten_thousand_pipelined(etagd):
    n = 10_000
    with etagd.client(timeout=60) as c:
        sender = threading.Thread(target=c.send_raw, args=(b"".join(encode("PING", str(i)) for i in range(n)),))
        sender.start()
        assert [c.read() for _ in range(n)] == [str(i).encode() for i in range(n)]
        sender.join()


def test_order_is_kept_among_late_answers(etagd):
    with etagd.client() as c:
        c.send_raw(encode("ETAG", "FETCH", "http://h/none") + encode("PING", "a") +
                   encode("ETAG", "INVALIDATE", "url", "h/a") + encode("PING", "b"))
        got = [c.read() for _ in range(4)]
    assert got[0] == 0 and got[1] == b"a" and b"-" in got[2] and got[3] == b"b"


def test_a_client_that_never_reads_is_not_read_from(etagd):
    """It cannot make etagd hold more than a bound, and nobody else notices it."""
    request = encode("INFO") * 200
    with etagd.client(timeout=1.0) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(TimeoutError):  # etagd stops reading, so our sends fill up
            for _ in range(10_000):
                c.sock.sendall(request)
        assert etagd.call("PING") == "PONG"
        rss = [int(line.split()[1]) for line in open(f"/proc/{etagd.pid}/status") if line.startswith("VmRSS")]
        assert rss[0] < 120_000  # kB, the table's pages included
    etagd.wait_info("connected_clients", "1")


@pytest.mark.long
def test_a_client_that_takes_nothing_is_closed(etagd):
    """After 30 s; that it goes on sending is no sign that it reads."""
    with etagd.client(timeout=1.0) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.send_raw(encode("PING", "x" * 60_000) * 10)  # more than the socket holds, less than the pause
        begun = time.monotonic()

        def closed():
            try:
                c.send("PING")
            except (BrokenPipeError, ConnectionResetError):
                return True
            threading.Event().wait(1)
        wait_for(closed, "the end of the connection", 45)
        assert 29 < time.monotonic() - begun < 35
    assert etagd.info()["clients_slow"] == "1"


def test_max_clients(new_etagd):
    etagd = new_etagd(config="MaxClients 3\n").start()
    etagd.wait_info("connected_clients", "1")  # the readiness probe's connection is gone
    held = [etagd.client() for _ in range(3)]
    for c in held:
        assert c.call("PING") == "PONG"
    with etagd.client() as late, pytest.raises((RespError, Closed, ConnectionError)) as refused:
        late.call("PING")
    held.pop().close()
    wait_for(etagd.ready, "a free place")
    for c in held:
        c.close()
    # Our request may be on its way when etagd hangs up, then the send itself fails.
    assert "MaxClients" in str(refused.value) or not isinstance(refused.value, RespError)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")
def test_other_users_are_refused(new_etagd):
    etagd = new_etagd(config="SocketMode 0666\nAllowUsers 4242\n").start()
    code = ("import socket,os; os.setuid({uid}); s=socket.socket(socket.AF_UNIX); s.connect({path!r});"
            "s.send(b'*1\\r\\n$4\\r\\nPING\\r\\n', socket.MSG_NOSIGNAL) if {sends} else 0; print(s.recv(100).decode())")

    def ask(uid, sends):
        done = subprocess.run(["/usr/bin/python3", "-c", code.format(uid=uid, path=str(etagd.socket), sends=sends)],
                              capture_output=True, text=True, timeout=10)
        return done.stdout
    assert "PONG" in ask(4242, True)
    for uid in (4243, 4244, 4243, 4244, 4243):
        assert "-DENIED" in ask(uid, False)  # etagd speaks first and closes
    assert etagd.info()["clients_denied"] == "5"
    lines = [line for line in etagd.tail().splitlines() if "AllowUsers" in line]
    assert len(lines) == 2 and "4243" in lines[0] and "4244" in lines[1]  # once per user and minute


# --- descriptors ---

def test_attach_hands_out_a_sealed_table(etagd):
    with etagd.client() as c:
        reply = c.call("ATTACH", "1", str(os.getpid()))
        table, touch = c.take_fds()
    try:
        assert reply[0] == 1 and reply[5] == b"embedded"
        assert reply[6].decode() == os.readlink("/proc/self/ns/time")
        assert os.fstat(table).st_size == reply[3] and os.fstat(touch).st_size == reply[4]
        assert os.pread(table, 8, 0) == b"ETAGTABL"
        with pytest.raises(PermissionError):
            mmap.mmap(table, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError):
            os.ftruncate(table, 0)
        mmap.mmap(touch, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()
    finally:
        os.close(table)
        os.close(touch)


def test_attached_table_is_accepted_by_the_reader(etagd):
    """client_attach() and table_map() of the library, as httpd uses them."""
    lookup = machine.BUILD / "tests/integration/tools/lookup"
    done = subprocess.run([str(lookup), str(etagd.socket), "http://h/none"], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "MISS", "")
    snapshot = subprocess.run([str(lookup), "--snapshot", str(etagd.socket)], capture_output=True, text=True, timeout=10)
    assert int(snapshot.stdout.split()[0]) == int(etagd.info()["generation"], 16)


def test_attach_in_a_pipeline_keeps_its_place(etagd):
    """The descriptors come with their own reply, whatever stands before and behind it."""
    with etagd.client() as c:
        c.send_raw(encode("PING", "x" * 60_000) + encode("ATTACH", "1", "1") + encode("PING", "after"))
        assert c.read() == b"x" * 60_000
        assert c.read()[0] == 1
        fds = c.take_fds()
        assert len(fds) == 2 and c.read() == b"after"
    for fd in fds:
        os.close(fd)


def test_hash_publishes_a_file(etagd, work):
    path = settled(machine.write(work / "big.bin", os.urandom(3_000_000), 0o644))
    with open(path, "rb") as f:
        assert etagd.call("ETAG", "HASH", identity(path), fds=[f.fileno()]) == "QUEUED"
    etagd.wait_info("files_hashed", "1")
    assert etagd.info()["puts_files"] == "1"
    known = dict(zip(*[iter(etagd.call("ETAG", "GET", identity(path)))] * 2))
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert known[b"kind"] == b"file" and known[b"tag"] == base64.urlsafe_b64encode(digest).rstrip(b"=")


def test_a_known_file_is_not_hashed_again(etagd, work):
    path = settled(machine.write(work / "big.bin", os.urandom(300_000), 0o644))
    with open(path, "rb") as f:
        etagd.call("ETAG", "HASH", identity(path), fds=[f.fileno()])
        etagd.wait_info("files_hashed", "1")
        assert etagd.call("ETAG", "HASH", identity(path), fds=[f.fileno()]) == "KNOWN"
    assert etagd.info()["files_hashed"] == "1"


LONG = 1 << 29  # bytes: a second of hashing, or half


def sparse(path, size):
    """Takes a while to hash and no room on the disk."""
    machine.write(path, b"", 0o644)
    os.truncate(path, size)
    return path


def test_one_hash_for_all_who_ask(new_etagd, work):
    """Asked again meanwhile, etagd joins; a full queue says so; the daemon answers all the while."""
    etagd = new_etagd(config="HashThreads 1\nHashQueue 1\n").start()
    path, other = sparse(work / "a.bin", LONG), machine.write(work / "b.bin", b"x", 0o644)
    settled(other)
    with open(path, "rb") as f, open(other, "rb") as g:
        assert [etagd.call("ETAG", "HASH", identity(path), fds=[f.fileno()]) for _ in range(3)] == ["QUEUED"] * 3
        with pytest.raises(RespError, match="BUSY.*HashQueue"):
            etagd.call("ETAG", "HASH", identity(other), fds=[g.fileno()])
        assert etagd.info()["files_waiting"] == "1" and etagd.info()["queue_full"] == "1"
    etagd.wait_info("files_hashed", "1", timeout=60)
    assert etagd.info()["puts_files"] == "1"


def bytes_read(etagd):
    return int(open(f"/proc/{etagd.pid}/io").readline().split()[1])


@pytest.mark.parametrize("change", ["grows", "shrinks", "is touched"])
def test_a_file_that_changes_meanwhile_is_not_published(etagd, work, change):
    path = settled(sparse(work / "a.bin", LONG))
    before, so_far = identity(path), bytes_read(etagd)
    with open(path, "rb+") as f:
        assert etagd.call("ETAG", "HASH", before, fds=[f.fileno()]) == "QUEUED"
        wait_for(lambda: bytes_read(etagd) > so_far + (1 << 20), "hashing to begin")
        if change == "is touched":
            os.utime(path, ns=(1, 1))
        else:
            os.truncate(path, LONG + 1 if change == "grows" else 5)
    ended = lambda: sum(int(etagd.info()[n]) for n in ("files_changed_meanwhile", "files_unreadable", "files_hashed"))
    wait_for(ended, "the end of hashing", 60)
    assert etagd.info()["files_hashed"] == "0" and etagd.info()["puts_files"] == "0"


@pytest.mark.parametrize("what", ["pipe", "socket", "other file", "folder", "young file"])
def test_hash_refuses_what_is_not_that_file(etagd, work, what):
    path = machine.write(work / "a.bin", b"x" * 1000, 0o644)
    if what != "young file":
        settled(path)
    opened = []
    if what == "pipe":
        opened += os.pipe()
    elif what == "socket":
        opened += [s.detach() for s in socket.socketpair()]
    elif what == "folder":
        opened.append(os.open(work, os.O_RDONLY))
    elif what == "young file":
        opened.append(os.open(path, os.O_RDONLY))
    else:
        opened.append(os.open(machine.write(work / "b.bin", b"y" * 1000, 0o644), os.O_RDONLY))
    try:
        assert etagd.call("ETAG", "HASH", identity(path), fds=opened[:1]) == "QUEUED"
        etagd.wait_info("files_refused", "1")
    finally:
        for fd in opened:
            os.close(fd)
    assert etagd.info()["files_hashed"] == "0" and etagd.info()["puts_files"] == "0"
    assert etagd.call("ETAG", "GET", identity(path)) is None


def descriptors(etagd):
    return len(os.listdir(f"/proc/{etagd.pid}/fd"))


def test_unwanted_descriptors_do_not_stay_open(etagd):
    with etagd.client() as warm:
        warm.call("PING")
    before = wait_for(lambda: etagd.info()["connected_clients"] == "1" and descriptors(etagd), "a quiet daemon")
    r, w = os.pipe()
    try:
        with etagd.client() as c:  # a connection that stays
            for _ in range(20):
                c.send("PING", fds=[r, r, r])
                assert c.read() == "PONG"
            assert descriptors(etagd) <= before + 1
        for _ in range(20):
            with etagd.client() as c:  # one request's, then more than there is room for beside them
                data = encode("PING")
                c.send_raw(data[:5], fds=[r] * 3)
                socket.send_fds(c.sock, [data[5:]], [r] * 3)  # the last we may send: etagd hangs up
                assert "descriptors" in str(c.read())
            with etagd.client() as c:  # more than may come at once: it may hang up while we still send
                try:
                    c.send("PING", fds=[r] * 8)
                    assert "descriptors" in str(c.read())
                except (Closed, ConnectionError):
                    pass
    finally:
        os.close(r)
        os.close(w)
    wait_for(lambda: descriptors(etagd) <= before, "every passed descriptor to be closed")
