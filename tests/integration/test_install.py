# SPDX-License-Identifier: Apache-2.0
"""The two commands' first steps, make install, the defaults, and the servers as they are deployed."""
import grp
import os
import pwd
import subprocess
import sys

import pytest

from env import machine
from env.etagd import Etagd
from env.process import wait_for

BUILT = machine.BUILD if (machine.BUILD / "Makefile").is_file() else machine.SOURCE / "build" / "plain"


def run(*argv, **how):
    return subprocess.run([str(a) for a in argv], text=True, capture_output=True, timeout=300, **how)


def test_missing_packages_are_named_and_nothing_is_done(work):
    """pkg-config that knows only APR: the libraries of the rest are missing."""
    fake = machine.write(work / "pkg-config", "#!/bin/sh\ncase $2 in apr*) exit 0;; *) exit 1;; esac\n", 0o755)
    env = dict(os.environ, INSTALL="no", PATH=f"{fake.parent}:{os.environ['PATH']}")
    done = run(machine.SOURCE / ".ci" / "deps", "build", env=env)
    assert done.returncode == 2 and done.stdout == ""
    line = done.stderr.splitlines()[-1].split()
    assert line[:8] == "apt-get update && apt-get install -y --no-install-recommends libevent-dev".split()
    assert line[8:] == ["libhiredis-dev", "libssl-dev", "libxxhash-dev"]


def test_nothing_is_missing_here():
    done = run(machine.SOURCE / ".ci" / "deps", "check", env=dict(os.environ, INSTALL="no"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_make_install_into_a_folder(work):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    done = run("make", "-C", BUILT, "install", f"DESTDIR={work}", env=env)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in work.rglob("*") if p.is_file()) == ["etagd", "mod_etag.so"]
    assert run(next(work.rglob("sbin/etagd")), "--socket", work / "s", "--print-config").returncode == 0


def test_the_module_exports_its_record_alone():
    lines = run("nm", "-D", "--defined-only", machine.MODULE).stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["etag_module"]


def test_etagd_without_any_configuration(servers):
    """No file, no option: an ordinary user's socket under XDG_RUNTIME_DIR, the embedded store."""

    class Bare(Etagd):
        def argv(self):
            return [self.binary]

    etagd = servers(Bare)
    runtime = machine.own_folder(etagd.folder, "runtime")
    etagd.environment["XDG_RUNTIME_DIR"] = runtime
    etagd.socket = runtime / "etagd" / "etagd.sock"
    etagd.start()
    with etagd.client() as c:
        identity = c.call("XADD", "{etag}:log", "*", "url", "www.example.com/a")
        assert c.call("XLEN", "{etag}:log") == 1
        assert c.call("XRANGE", "{etag}:log", "-", "+")[0] == [identity, [b"url", b"www.example.com/a"]]


@pytest.fixture
def private_run():
    """A mount namespace with a /run of its own, where /run/etagd is www-data's, as a service manager makes it."""
    script = "mount -t tmpfs none /run && install -d -o www-data /run/etagd && echo ready && exec cat"
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if holder.stdout.readline() != "ready\n":
        pytest.skip("no mount namespace here: " + holder.communicate()[1].strip())
    yield holder.pid
    holder.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run httpd as deployed: parent root, children www-data")
@pytest.mark.parametrize("who", ["root", "www-data"])
def test_two_words_are_the_whole_configuration(new_httpd, servers, backend, private_run, who):
    """README's first case, literally: "etagd", by root or as httpd's user, "ETagEngine On", and the default socket."""
    enter = ["nsenter", f"--mount=/proc/{private_run}/ns/mnt", f"--root=/proc/{private_run}/root"]
    web = pwd.getpwnam(who)

    class Bare(Etagd):
        def argv(self):
            return [self.binary]

    etagd = servers(Bare)
    etagd.identity = [*enter, "setpriv", f"--reuid={web.pw_uid}", f"--regid={web.pw_gid}", "--clear-groups"]
    etagd.socket = f"/proc/{private_run}/root/run/etagd/etagd.sock"
    etagd.start()
    httpd = new_httpd("User www-data\nGroup www-data\nETagEngine On\n"
                      f"ProxyPass /app/ {backend.url}/\n<Location /app/>\nETagEarly On\n</Location>\n",
                      modules=["proxy", "proxy_http"])
    httpd.identity = enter
    httpd.add("a.txt", "text")
    backend.page("/page", "a page of the application\n")
    httpd.start()
    tag = httpd.get("/a.txt").etag
    assert tag.startswith('"d') and httpd.get("/a.txt", {"If-None-Match": tag}).status == 304
    wait_for(lambda: early(httpd, backend, httpd.get("/app/page").etag), "an early 304")


def early(httpd, backend, tag):
    """Whether the application's page is answered with 304 and without the application."""
    before = backend.count()
    response = httpd.get("/app/page", {"If-None-Match": tag})
    return response.status == 304 and backend.count() == before


def as_user(name, etagd):
    """What PING gives for a process of that user: its answer, or the error."""
    code = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(10)\ns.connect(sys.argv[1])\n"
            "s.sendall(b'*1\\r\\n$4\\r\\nPING\\r\\n')\nprint(s.recv(100).decode())")
    who = pwd.getpwnam(name)
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    done = run("setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", python, "-c", code,
               etagd.socket)
    return done.stdout + done.stderr


def deployed(new_httpd, new_etagd, backend, web, daemon):
    """httpd's parent as root, its children as web, etagd as daemon with web's group on its socket."""
    etagd = new_etagd(config=f"SocketGroup {grp.getgrgid(web.pw_gid).gr_name}\n")
    etagd.config = etagd.config.replace(f"AllowUsers {etagd._users()}", f"AllowUsers {web.pw_name}")
    etagd.identity = [f"--reuid={daemon.pw_uid}", f"--regid={daemon.pw_gid}", f"--groups={web.pw_gid}"]
    os.chown(etagd.folder, daemon.pw_uid, daemon.pw_gid)
    httpd = new_httpd(f"User {web.pw_name}\nGroup {grp.getgrgid(web.pw_gid).gr_name}\nETagEngine On\n"
                      f"ProxyPass /app/ {backend.url}/\n<Location /app/>\nETagEarly On\n</Location>\n",
                      modules=["proxy", "proxy_http"], etagd=etagd)
    httpd.identity = []
    return etagd, httpd


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run httpd as deployed: parent root, children www-data")
def test_as_deployed(new_httpd, new_etagd, backend):
    web, daemon = pwd.getpwnam("www-data"), pwd.getpwnam("daemon")
    etagd, httpd = deployed(new_httpd, new_etagd, backend, web, daemon)
    backend.page("/page", "a page of the application\n")
    etagd.start()
    httpd.start()

    assert os.stat(f"/proc/{httpd.pid}").st_uid == 0 and os.stat(f"/proc/{etagd.pid}").st_uid == daemon.pw_uid
    wait_for(lambda: {os.stat(f"/proc/{p}").st_uid for p in httpd.children()} == {web.pw_uid}, "children to be www-data")
    socket = os.stat(etagd.socket)
    assert (socket.st_mode & 0o777, socket.st_uid, socket.st_gid) == (0o660, daemon.pw_uid, web.pw_gid)

    tag = httpd.get("/app/page").etag
    wait_for(lambda: early(httpd, backend, tag), "an early 304")
    httpd.graceful()
    assert early(httpd, backend, tag), "what was learned before a graceful restart is known after it"

    assert "PONG" in as_user("www-data", etagd)
    assert "PermissionError" in as_user("nobody", etagd)
    etagd.socket.chmod(0o666)  # now only the peer's credentials stand in the way
    assert "PONG" not in as_user("nobody", etagd)
    assert "PONG" in as_user("www-data", etagd)
