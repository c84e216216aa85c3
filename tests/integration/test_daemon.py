# SPDX-License-Identifier: Apache-2.0
"""etagd's socket: the protocol under good and hostile clients, descriptors, limits, lifecycle."""
import base64
import hashlib
import mmap
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from env import machine
from env.process import Failed, wait_for
from env.resp import Closed, Resp, RespError, encode

REDIS_CLI = machine.program("redis-cli")


def cli(etagd, *words):
    done = subprocess.run([REDIS_CLI, "-s", str(etagd.socket), *words], capture_output=True, text=True, timeout=10)
    return done.stdout.strip()


def run_etagd(etagd, *args):
    """The program by itself, for what ends before it serves."""
    return subprocess.run([str(etagd.binary), *map(str, args)], capture_output=True, text=True, timeout=10)


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
    assert "-DENIED" in ask(4243, False)  # etagd speaks first and closes
    assert etagd.info()["clients_denied"] == "1"
    assert "4243" in etagd.tail() and "AllowUsers" in etagd.tail()


# --- descriptors ---

def test_attach_hands_out_a_sealed_table(etagd):
    with etagd.client() as c:
        reply = c.call("ATTACH", "1", str(os.getpid()))
        table, touch = c.take_fds()
    try:
        assert reply[0] == 1 and reply[5] == b"embedded"
        assert os.fstat(table).st_size == reply[3] and os.fstat(touch).st_size == reply[4]
        assert os.pread(table, 8, 0) == b"ETAGTBL2"
        with pytest.raises(PermissionError):
            mmap.mmap(table, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError):
            os.ftruncate(table, 0)
        mmap.mmap(touch, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()
    finally:
        os.close(table)
        os.close(touch)


def identity(path):
    """The text of etagd/lib/file_identity.h, written from its specification."""
    boot = open("/proc/sys/kernel/random/boot_id").read().strip()
    st = os.stat(path)
    mount = 0
    fd = os.open(path, os.O_RDONLY)
    for line in open(f"/proc/self/fdinfo/{fd}"):
        if line.startswith("mnt_id:"):
            mount = int(line.split()[1])
    os.close(fd)
    numbers = [mount, os.major(st.st_dev), os.minor(st.st_dev), st.st_ino, st.st_size, *divmod(st.st_mtime_ns, 10**9),
               *divmod(st.st_ctime_ns, 10**9)]
    return f"file:{boot}:" + ".".join(f"{n:x}" for n in numbers)


def settled(path):
    """Waits until the file is old enough for its digest to be kept."""
    ctime = os.stat(path).st_ctime
    wait_for(lambda: time.time() - ctime > 3.1, "the file to be older than two seconds by every clock")
    return path


def test_hash_publishes_a_file(etagd, work):
    path = settled(machine.write(work / "big.bin", os.urandom(3_000_000), 0o644))
    with open(path, "rb") as f:
        assert etagd.call("ETAG", "HASH", identity(path), fds=[f.fileno()]) == "QUEUED"
    etagd.wait_info("files_hashed", "1")
    assert etagd.info()["puts_files"] == "1"
    known = dict(zip(*[iter(etagd.call("ETAG", "GET", identity(path)))] * 2))
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert known[b"kind"] == b"file" and known[b"tag"] == base64.urlsafe_b64encode(digest).rstrip(b"=")


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
        with pytest.raises(RespError):
            etagd.call("ETAG", "HASH", identity(path), fds=opened[:1])
    finally:
        for fd in opened:
            os.close(fd)
    assert etagd.info()["files_refused"] == "1" and etagd.info()["puts_files"] == "0"


def descriptors(etagd):
    return len(os.listdir(f"/proc/{etagd.pid}/fd"))


def test_unwanted_descriptors_do_not_stay_open(etagd):
    with etagd.client() as warm:
        warm.call("PING")
    before = wait_for(lambda: etagd.info()["connected_clients"] == "1" and descriptors(etagd), "a quiet daemon")
    r, w = os.pipe()
    try:
        for _ in range(20):
            with etagd.client() as c:
                c.send("PING", fds=[r, r, r])
                assert c.read() == "PONG"
            with etagd.client() as c:  # more than may wait: it may hang up while we still send
                try:
                    c.send("PING", fds=[r] * 8)
                    assert "descriptors" in str(c.read())
                except (Closed, ConnectionError):
                    pass
    finally:
        os.close(r)
        os.close(w)
    wait_for(lambda: descriptors(etagd) <= before, "every passed descriptor to be closed")


# --- lifecycle ---

def test_two_daemons_on_one_socket(etagd):
    second = run_etagd(etagd, "--socket", etagd.socket)
    assert second.returncode == 1 and "another etagd serves it" in second.stderr
    assert etagd.call("PING") == "PONG"


def test_a_socket_left_behind_is_replaced(new_etagd):
    etagd = new_etagd().start()
    etagd.kill()
    assert etagd.socket.exists()
    etagd.start()
    assert etagd.call("PING") == "PONG"


def test_something_else_at_the_path_is_left_alone(new_etagd):
    etagd = new_etagd()
    machine.write(etagd.socket, "precious")
    with pytest.raises(Failed, match="no socket is there"):
        etagd.start()
    assert etagd.socket.read_text() == "precious"


@pytest.mark.parametrize("args,status,says", [
    (("--nosuch",), 64, "--help"),
    (("extra",), 64, "extra"),
    (("--socket", "/tmp/" + "x" * 200), 78, "the system allows"),
    (("--socket", "/nonexistent/folder/etagd.sock"), 1, "folder"),
    (("--config", "/nonexistent.conf"), 78, "--config"),
    (("--redis", "sentinel://m@h:1"), 78, "sentinel"),
])
def test_start_refusals(new_etagd, args, status, says):
    done = run_etagd(new_etagd(), *args)
    assert done.returncode == status and says in done.stderr


def test_check_config_names_the_line(new_etagd):
    etagd = new_etagd(config="\nLeese 2s\n")
    etagd.write_config()
    done = run_etagd(etagd, "--config", etagd.config_file, "--check-config")
    assert done.returncode == 78 and f"{etagd.config_file}:4: " in done.stderr and "Lease" in done.stderr
    etagd.config = etagd.config.replace("Leese", "Lease")
    etagd.write_config()
    assert run_etagd(etagd, "--config", etagd.config_file, "--check-config").returncode == 0


def test_sighup_takes_the_log_and_names_the_rest(new_etagd):
    etagd = new_etagd(config="Lease 2s\n").start()
    moved = etagd.folder / "new.log"
    etagd.config = etagd.config.replace("Lease 2s", "Lease 3s") + f"LogFile {moved}\n"
    etagd.reload()
    wait_for(lambda: moved.exists() and "read again" in moved.read_text(), "the new log")
    assert "Lease has changed" in moved.read_text() and "LogFile" not in moved.read_text()
    etagd.config = "Nonsense 1\n"
    etagd.reload()
    wait_for(lambda: "reload refused" in moved.read_text(), "the refusal")
    assert etagd.call("PING") == "PONG"


def test_sigusr1_writes_info_to_the_log(etagd):
    etagd.signal(signal.SIGUSR1)
    wait_for(lambda: "connected_clients:" in etagd.log.read_text(), "INFO in the log")


def test_sigterm_ends_cleanly(new_etagd):
    etagd = new_etagd().start()
    with etagd.client() as idle:
        idle.call("PING")
        assert etagd.stop() == 0
        with pytest.raises((Closed, ConnectionError)):
            idle.call("PING")
    assert not etagd.socket.exists()


def test_service_manager_is_told(new_etagd):
    etagd = new_etagd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(str(etagd.folder / "notify"))
        os.chmod(etagd.folder / "notify", 0o666)
        etagd.environment["NOTIFY_SOCKET"] = str(etagd.folder / "notify")
        etagd.start()
        assert b"READY=1" in manager.recv(4096)
        etagd.reload()
        assert b"RELOADING=1\nMONOTONIC_USEC=" in manager.recv(4096)
        assert b"READY=1" in manager.recv(4096)
        etagd.stop()
        assert b"STOPPING=1" in manager.recv(4096)
