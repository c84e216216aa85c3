# SPDX-License-Identifier: Apache-2.0
"""httpd's own Perl test framework, as Debian's source package carries it: what stock passes, we pass."""
import os
import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from env import machine
from env.process import Process
from source import Archive, Unavailable

PATIENCE = 600
PERL = {"LWP::UserAgent": "libwww-perl", "HTTP::DAV": "libhttp-dav-perl", "FCGI": "libfcgi-perl"}

# What concerns preconditions, ranges, codings and kinds of content.
FILES = {
    "apache": "byterange byterange2 byterange3 byterange4 byterange5 byterange6 byterange7 chunkinput contentlength errordoc etags "
              "getfile headers if_sections maxranges pr17629 pr37166 pr43939 rwrite",
    "filter": "case case_in input_body",
    "http11": "chunked chunked2 clength post",
    "modules": "asis autoindex brotli buffer cache cgi dav deflate dir expires ext_filter filter headers negotiation proxy "
               "proxy_fcgi reflector substitute",
}
MODULES = """mpm_event access_compat actions alias allowmethods asis auth_basic authn_core authn_file authz_core authz_groupfile
    authz_host authz_user autoindex brotli bucketeer buffer cache cache_disk case_filter case_filter_in cgid data dav dav_fs
    deflate dir env expires ext_filter filter headers include mime negotiation proxy proxy_fcgi proxy_http ratelimit reflector
    request rewrite setenvif speling status substitute vhost_alias""".split()
C_MODULES = ("echo_post", "echo_post_chunk", "input_body_filter", "random_chunk", "test_pass_brigade", "test_rwrite",
             "test_utilities")

SIDES = ("stock", "ours")
PORTS = dict(zip(SIDES, random.sample(range(14000, 19000, 100), 2)))  # the first of a side; it passes over those in use
# expires.t computes from Last-Modified what mod_expires computes from the file's time: there they must be the same.
ENGINE = """
LoadModule etag_module {module}
ETagEngine On
ETagTimeout 1s
ETagDaemon {etagd.socket}
<Location /modules/expires>
ETagLastModified Pass
</Location>
"""

# What we need not pass: the numbers, by file.
RIGHT_ALL_THE_SAME = {
    # The parts of core's tag, by FileETag: a tag is opaque (RFC 9110 8.8.3), and equal nodes have other inodes and times.
    # All of it, for the order of its tests is that of a hash.
    "t/apache/etags.t": range(62),
    # A page that was held back has a Content-Length, as it should where the size is known (RFC 9110 8.6).
    "t/http11/chunked.t": {2, 3, 7, 8, 12, 13, 17, 18},
    # mod_deflate sees at once that the page is of 18 bytes and leaves it as it is; no coding need be (RFC 9110 12.5.3).
    "t/apache/pr17629.t": {3},
    "t/apache/pr43939.t": {3},
}


class Framework(Process):
    """A tree of it with an httpd of its own, built and run by the servers' account."""

    name = "framework"

    def argv(self):
        return self.command

    def run(self, *command):
        """(status, what it printed) of a command in the tree."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.command = command
        status = self.spawn().wait(PATIENCE)
        return status, self.log.read_bytes()[before:].decode(errors="replace")

    def configure(self, port, directives):
        folder = machine.httpd_modules()
        lines = [f"LoadModule {m}_module {folder}/mod_{m}.so" for m in MODULES if (folder / f"mod_{m}.so").exists()]
        lines += ["ServerName localhost", "TypesConfig /etc/mime.types"]
        given = machine.write(self.folder / "given.conf", "\n".join(lines) + "\n")
        with (self.folder / "t/conf/extra.conf.in").open("a") as conf:
            conf.write(directives)
        status, printed = self.run("perl", "Makefile.PL", "-apxs", machine.program("apxs", "apxs2"), "-httpd_conf", given,
                                   "-port", port)
        assert status == 0, printed
        return self

    def results(self):
        """{(file, number): whether it passed}"""
        files = [f"t/{folder}/{name}.t" for folder, names in FILES.items() for name in names.split()]
        try:
            some = [f for f in files if (self.folder / f).exists()]
            _, printed = self.run("sh", "-c", 'exec t/TEST -verbose "$@" 2>stderr', "sh", *some)  # else lines mix
        finally:
            self.run("t/TEST", "-stop")
        assert "Result: " in printed, printed
        found, file = {}, None
        for line in printed.splitlines():
            if begun := re.match(r"(t/\S+\.t) \.", line):
                file = begun.group(1)
            elif told := re.match(r"(not )?ok (\d+)", line):
                found[file, int(told.group(2))] = not told.group(1)
        return found


def own(tree):
    """Gives a tree to the servers' account."""
    for folder, _, files in os.walk(tree):
        for path in (".", *files):
            machine.give(os.path.join(folder, path))


@pytest.fixture
def source(work):
    """The framework's tree."""
    missing = [f"{module} ({package})" for module, package in PERL.items()
               if subprocess.run(["perl", f"-M{module}", "-e1"], capture_output=True).returncode]
    if missing:
        pytest.skip(f"Perl has no {', '.join(missing)} (.ci/deps suites): httpd's test framework cannot be run")
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${source:Version}", "apache2-bin"], text=True, capture_output=True)
    try:
        tree = Archive(machine.own_folder(work, "archive")).packaging("apache2", shown.stdout) / "perl-framework"
    except Unavailable as e:
        pytest.skip(f"Debian's source package of apache2, which holds httpd's test framework, cannot be had: {e}")
    for folder in (tree / "c-modules").iterdir():
        if folder.is_dir() and folder.name not in C_MODULES:
            shutil.rmtree(folder)
    for file in (tree / "Apache-Test/lib/Apache").glob("TestConfig*.pm"):  # servers are private
        file.write_text(file.read_text().replace("0.0.0.0:", "127.0.0.1:"))
    return tree


@pytest.fixture
def results(source, work, new_etagd):
    """(stock's, ours)"""
    directives = {"stock": "", "ours": ENGINE.format(module=machine.staged() / "mod_etag.so", etagd=new_etagd().start())}

    def side(name):
        tree = shutil.copytree(source, work / name)
        for file in [*tree.glob("t/modules/*.t"), *tree.glob("t/conf/*.in")]:  # its sockets have fixed names
            file.write_bytes(file.read_bytes().replace(b"/tmp/", b"%s/" % bytes(tree)))
        own(tree)
        return Framework(tree).configure(PORTS[name], directives[name]).results()

    with ThreadPoolExecutor() as pool:
        return list(pool.map(side, SIDES))


def worse(stock, ours):
    """What stock passes and we do not, but for what is right all the same."""
    return [(file, number) for (file, number), passed in stock.items()
            if passed and not ours.get((file, number)) and number not in RIGHT_ALL_THE_SAME.get(file, ())]


def test_what_stock_passes(results, record_property):
    stock, ours = results
    assert sum(stock.values()) > 1000, "it has not been run"
    assert not worse(stock, ours)
    record_property("note", f"{sum(ours.values())} of {len(ours)} pass, {sum(stock.values())} of {len(stock)} with stock")
