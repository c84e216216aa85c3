# SPDX-License-Identifier: Apache-2.0
"""The harness itself, on stock httpd and Redis: servers run, are stopped, and may not complain."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from env import machine
from env.process import Failed, wait_for
from env.resp import Resp, RespError

WAITING = """
import os, signal

def test_waits():
    with open("{folder}/pid.new", "w") as f:
        f.write(str(os.getpid()))
    os.rename("{folder}/pid.new", "{folder}/pid")
    signal.pause()
"""


def test_stock_httpd_serves(new_httpd, mpm):
    httpd = new_httpd(own=False, mpm=mpm)
    httpd.add("a/b.txt", "text")
    httpd.start()
    answer = httpd.get("/a/b.txt")
    assert answer.status == 200 and answer.body == b"text" and answer.header("Content-Type") == "text/plain"
    assert httpd.get("/none").status == 404


def test_servers_run_without_privileges(new_httpd, redis):
    httpd = new_httpd(own=False).start()
    for pid in (httpd.pid, redis.pid, *httpd.children()):
        assert os.stat(f"/proc/{pid}").st_uid != 0


def test_graceful_takes_the_new_configuration(new_httpd):
    httpd = new_httpd("Redirect 301 /old /one\n", modules=["alias"], own=False).start()
    assert httpd.get("/old").header("Location").endswith("/one")
    httpd.graceful("Redirect 301 /old /two\n")
    assert httpd.get("/old").header("Location").endswith("/two")
    assert httpd.syntax("Nonsense 1\n")[0] != 0


def test_an_unannounced_warning_is_found(new_httpd):
    httpd = new_httpd(own=False).start()
    assert httpd.problems() == []
    httpd.add("secret", "x").chmod(0o000)
    assert httpd.get("/secret").status == 403
    assert len(httpd.problems()) == 1
    httpd.expect_log("Permission denied")
    assert httpd.problems() == []


def test_a_server_that_cannot_start_says_why(new_httpd):
    with pytest.raises(Failed, match="Invalid command 'Nonsense'"):
        new_httpd("Nonsense 1\n", own=False).start()


def test_stop_leaves_no_process(new_httpd):
    httpd = new_httpd(own=False).start()
    pids = [httpd.pid, *httpd.children()]
    httpd.stop()
    assert not [p for p in pids if os.path.exists(f"/proc/{p}")]


def test_redis_password_and_empty_restart(new_redis):
    redis = new_redis(password="sesame").start()
    assert redis.cli("SET", "k", "v") == "OK" and redis.call("GET", "k") == b"v"
    with Resp(("127.0.0.1", redis.port)) as stranger, pytest.raises(RespError, match="NOAUTH"):
        stranger.call("GET", "k")
    redis.restart_empty()
    assert redis.call("GET", "k") is None


def test_requests_go_out_as_written(new_httpd):
    httpd = new_httpd('LogFormat "%{X-Probe}i" probe\nCustomLog probe.log probe\n', own=False)
    httpd.add("a.txt", "text")
    httpd.start()
    with httpd.connect() as c:
        assert c.get("/a.txt", [("X-Probe", "1"), ("X-Probe", "2")]).status == 200
        assert c.request("HEAD", "/a.txt", {"X-Probe": "3"}).body == b""
    httpd.stop()
    assert (httpd.folder / "probe.log").read_text().split("\n")[:2] == ["1, 2", "3"]


def test_temporary_folders_are_short_enough_for_sockets(work):
    assert len(str(work / "httpd00" / "etagd.sock")) < 80


def test_a_run_that_is_told_to_end_ends_all_it_started(tmp_path):
    """tests/run.py puts pytest into a session of its own, where no signal of the terminal or of make reaches it."""
    run = Path(__file__).resolve().parents[1] / "run.py"
    waiting = tmp_path / "test_waiting.py"
    waiting.write_text(WAITING.format(folder=str(tmp_path)))
    whole = subprocess.Popen([sys.executable, run, "--only", "integration", "-c", "/dev/null", f"--confcutdir={tmp_path}",
                              str(waiting)], stdout=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "pid").exists, "the test to begin")
        pytest_pid = int((tmp_path / "pid").read_text())
    finally:
        whole.terminate()
    assert whole.wait(30) == 128 + signal.SIGTERM
    assert not os.path.exists(f"/proc/{pytest_pid}")
