# SPDX-License-Identifier: Apache-2.0
"""etagd's beginning and end: its socket, its configuration, signals, the service manager."""
import os
import signal
import socket
import subprocess
import time

import pytest

from env import machine
from env.process import Failed, wait_for
from env.resp import Closed, encode


def run_etagd(etagd, *args):
    """The program by itself, for what ends before it serves."""
    env = dict(os.environ, XDG_RUNTIME_DIR=str(etagd.folder))  # an ordinary user's default socket is there
    return subprocess.run([str(etagd.binary), *map(str, args)], capture_output=True, text=True, timeout=10, env=env)


# --- the socket ---

def test_two_daemons_on_one_socket(etagd):
    second = run_etagd(etagd, "--socket", etagd.socket)
    assert second.returncode == 1 and f"another etagd serves {etagd.socket}" in second.stderr
    assert etagd.call("PING") == "PONG"


def test_two_daemons_although_the_lock_is_gone(etagd):
    """Somebody cleaned up: the one who serves still does, and keeps its socket."""
    os.unlink(f"{etagd.socket}.lock")
    inode = etagd.socket.stat().st_ino
    second = run_etagd(etagd, "--socket", etagd.socket)
    assert second.returncode == 1 and "another etagd serves" in second.stderr
    assert etagd.socket.stat().st_ino == inode and etagd.call("PING") == "PONG"


def test_what_others_put_at_the_path_meanwhile_stays(new_etagd):
    etagd = new_etagd().start()
    etagd.socket.unlink()
    machine.write(etagd.socket, "somebody's")
    assert etagd.stop() == 0
    assert etagd.socket.read_text() == "somebody's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a socket of somebody else")
def test_a_socket_of_another_user_is_left_alone(new_etagd):
    etagd = new_etagd()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(etagd.socket))  # root's, and nobody listens
    with pytest.raises(Failed, match="of another user"):
        etagd.start()
    assert etagd.socket.is_socket()


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
    (("--redis", "sentinel://h:1"), 78, "sentinel://name@host"),
    (("--redis", "cluster://h:1/0"), 78, "cluster://host:port"),
])
def test_start_refusals(new_etagd, args, status, says):
    done = run_etagd(new_etagd(), *args)
    assert done.returncode == status and says in done.stderr


@pytest.mark.parametrize("config,says", [
    ("AllowUsers nosuchuser", "nosuchuser"),
    ("SocketGroup nosuchgroup", "nosuchgroup"),
    ("TableSize lots", "etagd.conf:3: TableSize"),
    ("HashQueue 0", "etagd.conf:3: HashQueue"),
    ("Redis sentinel://h:1,h:2", "etagd.conf:3: Redis"),
    ("Redis sentinel://m:secret@h:1", "etagd.conf:3: Redis"),
    ("WaitReplicas 65", "etagd.conf:3: WaitReplicas"),
    ("SentinelPasswordFile /nonexistent", 'SentinelPasswordFile "/nonexistent"'),
])
def test_check_config_finds_what_would_stop_the_start(new_etagd, config, says):
    etagd = new_etagd(config=config + "\n")
    etagd.write_config()
    for args in ((), ("--check-config",)):
        done = run_etagd(etagd, "--config", etagd.config_file, *args)
        assert done.returncode == 78 and says in done.stderr


def test_password_file_of_everybody(new_etagd):
    etagd = new_etagd(redis="redis://127.0.0.1:1/0")
    secret = machine.write(etagd.folder / "secret", "x\n", 0o644)
    etagd.config += f"RedisPasswordFile {secret}\n"
    with pytest.raises(Failed, match="status 78") as refused:
        etagd.start()
    assert "chmod 0600" in str(refused.value)
    secret.chmod(0o600)
    etagd.start()


def test_a_missing_folder_is_made(new_etagd):
    etagd = new_etagd()
    etagd.socket = etagd.folder / "run" / "etagd.sock"
    etagd.config = etagd.config.replace("/etagd.sock", "/run/etagd.sock")
    etagd.start()
    assert etagd.socket.parent.stat().st_mode & 0o777 == 0o755


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


def test_sigterm_answers_what_was_sent(new_etagd):
    """Every request that left the client before the signal is answered, then the connection ends."""
    etagd = new_etagd().start()
    n = 2000
    with etagd.client() as c:
        c.call("PING")
        etagd.pause()  # so that the signal finds most of them unread
        c.send_raw(b"".join(encode("PING", str(i)) for i in range(n)))
        etagd.signal(signal.SIGTERM)
        etagd.resume()
        assert [c.read() for _ in range(n)] == [str(i).encode() for i in range(n)]
        with pytest.raises((Closed, ConnectionError)):
            c.read()
    assert etagd.wait() == 0


def test_sigterm_waits_for_late_answers(redis, new_etagd):
    etagd = new_etagd(redis=redis).start()

    def asked(seen):
        etagd.call("ETAG", "FETCH", f"http://h/{time.monotonic_ns()}")
        return int(seen) > 0
    etagd.wait_info("shared_gets", asked)
    redis.pause()
    try:
        with etagd.client() as c:
            c.send("ETAG", "FETCH", "http://h/none")
            etagd.wait_info("fetches_in_flight", "1", timeout=1.5)
            etagd.signal(signal.SIGTERM)
            assert c.read() == 0
        assert etagd.wait() == 0
    finally:
        redis.resume()


def test_sigterm_does_not_wait_for_ever(new_etagd):
    """A client that does not read holds the end up for five seconds; others are turned away at once."""
    etagd = new_etagd().start()
    with etagd.client() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.send_raw(encode("PING", "x" * 60_000) * 10)
        etagd.wait_info("requests", lambda n: int(n) >= 10)
        begun = time.monotonic()
        etagd.signal(signal.SIGTERM)
        wait_for(lambda: not etagd.socket.exists(), "the socket to go")
        assert time.monotonic() - begun < 3 and etagd.running
        with pytest.raises(OSError):
            etagd.client()
        assert etagd.wait() == 0
        assert 4 < time.monotonic() - begun < 8
    assert "did not take their answers" in etagd.tail()


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
