# SPDX-License-Identifier: Apache-2.0
"""The two commands on the smallest Debian 12 there is, with nothing but git and make added. Minutes long."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from env import machine

PREREQUISITES = "apt-get update && apt-get install -y --no-install-recommends git make ca-certificates"
SUITE = "bookworm"
CLONE = "root/mod_etag"  # a folder that the servers' account cannot enter

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a root with debootstrap"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]


def mirror():
    """Where this machine's apt gets Debian from."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], text=True, capture_output=True).stdout
    found = [u for u in out.split() if u.rstrip("/").endswith("debian")]
    return found[0] if found else "http://deb.debian.org/debian"


@pytest.fixture(scope="module")
def root():
    folder = Path(machine.new_folder("etag-root-"))
    subprocess.run(["debootstrap", "--variant=minbase", SUITE, folder, mirror()], check=True, stdout=subprocess.DEVNULL)
    for name in ("sources.list.d/debian.sources", "sources.list"):
        if (Path("/etc/apt") / name).exists():
            shutil.copy(Path("/etc/apt") / name, folder / "etc/apt" / name)
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    subprocess.run(["git", "clone", "-q", machine.SOURCE, folder / CLONE], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def inside(root, command):
    """Runs a command in the clone, in the root; its mounts are gone when it ends."""
    script = (f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && exec chroot {root} env -i "
              f"PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c 'cd /{CLONE} && {command}'")
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def test_the_two_commands(root):
    readme = (machine.SOURCE / "README.md").read_text()
    assert PREREQUISITES in readme, "README shows another line than the one tested here"
    assert inside(root, PREREQUISITES)[0] == 0

    status, output = inside(root, "make check INSTALL=no")
    assert status == 2 and "apt-get install -y --no-install-recommends" in output
    assert not (root / CLONE / "configure").exists(), "nothing is built before packages are there"

    status, output = inside(root, "make demo")
    assert status == 0 and "claims hold" in output, output
    status, output = inside(root, "make check")
    assert status == 0, output
    assert re.fullmatch(r"[1-9]\d* passed, 0 failed, 0 skipped", output.splitlines()[-1])
    assert not (root / "usr/sbin/policy-rc.d").exists()
