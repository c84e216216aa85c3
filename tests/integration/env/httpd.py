# SPDX-License-Identifier: Apache-2.0
"""A private httpd with mod_etag, one folder, one port."""
import os
import re
import signal
import socket
import subprocess

from . import http, machine
from .process import Failed, Process, wait_for

ALWAYS = ("authn_core", "authz_core", "mime", "alias", "dir")
TYPES = """\
AddType text/html .html
AddType text/plain .txt .md
AddType text/css .css
AddType text/javascript .js
AddType application/json .json
AddType application/xml .xml
AddType application/pdf .pdf
AddType image/png .png
AddType image/svg+xml .svg
"""
# Small numbers: tests want several children and their replacement, not capacity.
MPM = {
    "event": "StartServers 2\nThreadsPerChild 8\nMinSpareThreads 8\nMaxSpareThreads 32\nMaxRequestWorkers 32\n",
    "worker": "StartServers 2\nThreadsPerChild 8\nMinSpareThreads 8\nMaxSpareThreads 32\nMaxRequestWorkers 32\n",
    "prefork": "StartServers 4\nMinSpareServers 2\nMaxSpareServers 16\nMaxRequestWorkers 32\n",
}
ONE_CHILD = {
    "prefork": "StartServers 1\nServerLimit 1\nMaxRequestWorkers 1\nMinSpareServers 1\nMaxSpareServers 1\n",
    "worker": "StartServers 1\nServerLimit 1\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\n",
}
ONE_CHILD["event"] = ONE_CHILD["worker"]
# What nobody may log unannounced: warnings and worse, and children that died.
COMPLAINT = re.compile(r"^\[[^]]*\] \[\w*:(?:warn|error|crit|alert|emerg)\] |exit signal|child process \d+ exited")

# httpd's own: event may close a socket twice when it is stopped right after its start.
HTTPD_S_OWN = re.compile(r"AH00468: error closing socket")
# Stock httpd's as well, once in some fifty stops (event): SIGTERM ends children under their workers.
HTTPD_S_END = re.compile(r"AH03093: process_socket: apr_pollset_add failure|exit signal Segmentation fault")


class Httpd(Process):
    """Set or pass config (httpd.conf text, after the base so that it wins); then start().

    modules: httpd modules to load besides ALWAYS ("proxy", "proxy_http", "deflate"...), in order.
    etagd: the daemon to ask (an Etagd, or a socket path); None leaves ETagDaemon to config.
    own: False leaves mod_etag out (stock httpd, for comparison).
    module: another mod_etag.so than the one that was built (a mutant).
    """

    name = "httpd"
    stop_timeout = 30.0

    def __init__(self, folder, config="", modules=(), mpm="event", etagd=None, own=True, host="www.example.com",
                 module=None):
        super().__init__(folder)
        self.port = machine.free_port()
        self.host = host
        self.docs = machine.own_folder(self.folder, "docs")
        self.run = machine.own_folder(self.folder, "run")
        self.conf_file = self.folder / "httpd.conf"
        self.error_log = self.folder / "error.log"
        self.access_log = self.folder / "access.log"
        self.config, self.modules, self.mpm, self.etagd, self.own = config, list(modules), mpm, etagd, own
        self.module = module
        self.expected = [HTTPD_S_OWN]
        self.forgiven = []  # complaints of HTTPD_S_END, after SIGTERM

    def base_config(self):
        lines = [f"ServerRoot {self.folder}", f"DefaultRuntimeDir {self.run}", f"PidFile {self.run}/httpd.pid",
                 f"Mutex file:{self.run} default", f"Listen 127.0.0.1:{self.port}", f"ServerName {self.host}",
                 f"ErrorLog {self.error_log}", "LogLevel notice", "TypesConfig /dev/null",
                 'LogFormat "%h %t \\"%r\\" %>s %b" plain', f"CustomLog {self.access_log} plain"]
        for name in [f"mpm_{self.mpm}", *ALWAYS, *self.modules]:
            path = machine.httpd_modules() / f"mod_{name}.so"
            lines.append(f"<IfModule !{name}_module>\nLoadModule {name}_module {path}\n</IfModule>")
        if self.own:
            module = self.module or machine.staged() / "mod_etag.so"
            lines += [f"LoadModule etag_module {module}", "LogLevel etag:info"]
            if self.etagd is not None:
                lines.append(f"ETagDaemon {getattr(self.etagd, 'socket', self.etagd)}")
        lines += [f"<IfModule cgid_module>\nScriptSock {self.run}/cgid\n</IfModule>", TYPES, MPM[self.mpm],
                  f"DocumentRoot {self.docs}", f"<Directory {self.docs}>\nRequire all granted\n</Directory>"]
        return "\n".join(lines) + "\n"

    def write_config(self, config=None):
        if config is not None:
            self.config = config
        machine.write(self.conf_file, self.base_config() + self.config)

    def argv(self):
        self.write_config()
        return [machine.program("apache2", "httpd"), "-d", self.folder, "-f", self.conf_file, "-DFOREGROUND"]

    def ready(self):
        if not self.error_text().count("resuming normal operations"):
            return False
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
            return True
        except OSError:
            return False

    def start(self, config=None):
        if config is not None:
            self.config = config
        if self.error_log.exists():  # readiness is read from the log: a restart begins a new one
            with open(self.folder / "error.log.before", "a") as old:
                old.write(self.error_log.read_text(errors="replace"))
            self.error_log.unlink()
        return super().start()

    def stop(self):
        before = len(self.error_text())
        status = super().stop()
        self.forgiven += [line for line in self.error_text()[before:].splitlines() if HTTPD_S_END.search(line)]
        return status

    def syntax(self, config=None):
        """(exit status, messages) of httpd -t on this configuration."""
        self.write_config(config)
        argv = [str(a) for a in self.argv()][:-1] + ["-t"]
        done = subprocess.run(argv, cwd=self.folder, text=True, capture_output=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def graceful(self, config=None):
        """apachectl graceful, optionally with another configuration; returns once it is in force: httpd says so
        while children of before may still accept, until each has closed its listeners."""
        before, old = self.error_text().count("resuming normal operations"), self.children()
        self.write_config(config)
        self.signal(signal.SIGUSR1)

        def probe():
            if not self.running:
                raise Failed(f"httpd ended during graceful:\n{self.tail()}")
            return self.error_text().count("resuming normal operations") > before

        wait_for(probe, "httpd to finish a graceful restart", 30)
        wait_for(lambda: not any(self._listens(pid) for pid in old), "children of before to stop accepting", 30)

    def _listens(self, pid):
        """Whether a child holds a listening socket of ours."""
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        inodes = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == self.port}
        try:
            held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        except OSError:  # it has ended, or closed one just now: the next look tells
            return os.path.exists(f"/proc/{pid}")
        return bool(held & inodes)

    def children(self):
        """Process ids of the children now."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(p) for p in f.read().split()]

    # Files and requests

    def add(self, name, content, mtime=None):
        """Puts a file under the document root; returns its path. mtime: seconds since 1970."""
        path = machine.write(self.docs / name.lstrip("/"), content)
        for parent in path.relative_to(self.docs).parents:
            (self.docs / parent).chmod(0o755)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def connect(self, **how):
        return http.Connection(self.port, how.pop("host", self.host), **how)

    def request(self, method, target, headers=(), body=b"", host=None):
        return http.request(self.port, method, target, headers, body, host or self.host)

    def get(self, target, headers=(), host=None):
        return self.request("GET", target, headers, host=host)

    def head(self, target, headers=(), host=None):
        return self.request("HEAD", target, headers, host=host)

    def url(self, target):
        return f"http://127.0.0.1:{self.port}{target}"

    # The log

    def error_text(self):
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def expect_log(self, pattern):
        """Announces lines that this test provokes on purpose; pattern is searched in each line."""
        self.expected.append(re.compile(pattern))

    def wait_log(self, pattern, timeout=10.0):
        """Waits for a line with pattern and announces it; returns the match."""
        self.expect_log(pattern)
        return wait_for(lambda: re.search(pattern, self.error_text()), f"{pattern!r} in httpd's error log", timeout)

    def log_lines(self, pattern):
        return [line for line in self.error_text().splitlines() if re.search(pattern, line)]

    def problems(self):
        old = self.folder / "error.log.before"
        text = (old.read_text(errors="replace") if old.exists() else "") + self.error_text()
        found = [line for line in text.splitlines() if COMPLAINT.search(line) and line not in self.forgiven]
        return super().problems() + [f for f in found if not any(e.search(f) for e in self.expected)]

    def tail(self, lines=40):
        return super().tail(lines) + "\n" + "\n".join(self.error_text().splitlines()[-lines:])
