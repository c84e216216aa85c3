# SPDX-License-Identifier: Apache-2.0
"""What Debian's source packages hold beside the binary ones, by apt and its signatures, without changing the machine."""
import shutil
import subprocess
import tarfile
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """Not to be had here, and why."""


class Archive:
    """The source packages of the Debian that this machine's apt knows; its lists lie in folder."""

    def __init__(self, folder):
        if not shutil.which("apt-get"):
            raise Unavailable("no apt-get here")
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        lines = self._apt("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                          "Created-By: Packages", "Origin: Debian").splitlines()
        (folder / "sources.list").write_text("".join(f"deb-src {signed}{line}\n" for line in sorted(set(lines))))
        self.options = ["-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
                        "-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
        self._apt("apt-get", "update", *self.options)

    def _apt(self, *argv):
        done = subprocess.run(argv, cwd=self.folder, text=True, capture_output=True, timeout=300)
        if done.returncode:
            raise Unavailable((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
        return done.stdout

    def versions(self, package):
        shown = self._apt("apt-cache", *self.options, "showsrc", package)
        return [line.split()[1] for line in shown.splitlines() if line.startswith("Version: ")]

    def packaging(self, package, installed):
        """The debian/ folder of a package: in the version that is installed, else in another that can be had."""
        why = None
        for version in sorted(self.versions(package), key=lambda v: v != installed):
            try:
                self._apt("apt-get", *self.options, "source", "--download-only", "--diff-only", f"{package}={version}")
            except Unavailable as e:  # mirrors keep some versions and not others
                why = e
                continue
            with tarfile.open(next(self.folder.glob("*.debian.tar.*"))) as tar:
                tar.extractall(self.folder)
            return self.folder / "debian"
        raise why or Unavailable(f"the archive has no source of {package}")
