# SPDX-License-Identifier: Apache-2.0
"""httpd in another time namespace (time_namespaces(7)): leases are moments on a clock it does not have."""
import shutil
import subprocess

import pytest

from env import machine

PAGE = "Content-Type: text/html\n\n<p>page</p>\n"
SHOW = 'Header always set X-Etag "expr=%{reqenv:etag-status}/%{reqenv:etag-why}"\n'
REFUSED = "cannot be used: httpd and etagd run in different time namespaces"


def enter(site, seconds):
    """Lets site's httpd run with another CLOCK_BOOTTIME; skips where that is not allowed."""
    program = shutil.which("unshare")
    if not program:
        pytest.skip("unshare is not installed")
    root = machine.account() is not None
    # Root does it before it becomes nobody: no user namespace can be made in a chroot.
    prefix = [program, *([] if root else ["--user", "--map-current-user"]), "--time", "--boottime", str(seconds)]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no time namespaces here: {tried.stderr.strip()}")
    if root:
        who = machine.account()
        site.identity = [*prefix, "setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
    else:
        argv = site.argv
        site.argv = lambda: [*prefix, *argv()]


@pytest.fixture
def site(new_httpd, etagd):
    """Not started."""
    site = new_httpd("ETagEngine On\nETagEarly On\nETagTimeout 2s\nAddHandler send-as-is .asis\n" + SHOW,
                     modules=["headers", "asis"], etagd=etagd)
    site.add("a.asis", PAGE)
    return site


def how(site):
    tag = site.get("/a.asis").etag
    return site.get("/a.asis", {"If-None-Match": tag}).header("X-Etag")


# By less and by more than the longest lease: the reader itself can notice only the second.
@pytest.mark.parametrize("seconds", [-30, -1000, 1000])
def test_table_of_another_clock_is_refused(site, seconds):
    enter(site, seconds)
    site.start()
    site.get("/a.asis")
    site.wait_log(REFUSED)
    assert [how(site) for _ in range(20)] == ["304/late"] * 20, "every page comes from its handler"
    assert len(site.log_lines(REFUSED)) == 1
