# SPDX-License-Identifier: Apache-2.0
"""litmus, the WebDAV test suite, with mod_dav and mod_dav_fs: line by line what it tells of stock."""
import shutil
import subprocess

import pytest
from env import machine

SUITES = 5  # basic, copymove, props, locks, http


@pytest.fixture
def told(new_httpd, etagd):
    """The lines of litmus about a server: (ours, stock)."""
    if not shutil.which("litmus"):
        pytest.skip("litmus is not installed (.ci/deps suites): WebDAV is not compared with stock")
    lines = []
    for own in (True, False):
        site = new_httpd(modules=["dav", "dav_fs"], own=own, etagd=etagd if own else None)
        site.docs.chmod(0o777)
        site.expect_log(r"\[dav|AH0054[01]: XML [Pp]arser")  # mod_dav tells each refusal as an error
        site.start(("ETagEngine On\n" if own else "") + f"DavLockDB {site.folder}/lock\n"
                   "<Location />\nDav On\nRequire all granted\n</Location>\n")
        folder = machine.own_folder(site.folder, "litmus")  # it leaves debug.log behind
        done = subprocess.run(["litmus", "-k", site.url("/")], cwd=folder, capture_output=True, text=True, timeout=90)
        lines.append(done.stdout.splitlines())
    return lines


def test_line_by_line(told):
    ours, stock = told
    assert ours == stock
    assert sum("100.0%" in line for line in stock) == SUITES, stock
