# SPDX-License-Identifier: Apache-2.0
"""What this machine offers: the build to test, programs, an account for servers, free ports."""
import functools
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("ETAG_BUILD", SOURCE))
ETAGD = Path(os.environ.get("ETAG_ETAGD", BUILD / "etagd" / "etagd"))  # another one: under sanitizers
MODULE = BUILD / "mod_etag" / ".libs" / "mod_etag.so"

# Below the kernel's ephemeral range, so that no outgoing connection takes a port between our probe
# and the server's bind.
PORTS = range(20000, 32000)
_given = set()


def program(*names):
    """Path of the first of names that is installed; /usr/sbin is not in every user's PATH."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise FileNotFoundError("none of these is installed: " + ", ".join(names))


@functools.lru_cache(None)
def httpd_modules():
    """Folder of httpd's own modules."""
    return Path(subprocess.check_output([program("apxs", "apxs2"), "-q", "LIBEXECDIR"], text=True).strip())


@functools.lru_cache(None)
def account():
    """The unprivileged account servers run as, or None when we are unprivileged ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "www-data", "daemon"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("root needs an unprivileged account for the servers: nobody, www-data or daemon")


def give(path):
    """Makes path the servers' own."""
    if account():
        os.chown(path, account().pw_uid, account().pw_gid)


def new_folder(prefix="etag-"):
    """A folder the servers' account can enter and write to. Short: socket paths end at 107 bytes."""
    base = tempfile.gettempdir()
    if len(base) > 40:
        base = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    folder.chmod(0o755)
    give(folder)
    return folder


def own_folder(parent, name):
    folder = Path(parent) / name
    folder.mkdir()
    give(folder)
    return folder


def write(path, content, mode=None):
    """Writes a file the servers can read; returns its path. A file that is there may be read-only."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not os.access(path, os.W_OK):
        path.chmod(0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    give(path)
    if mode is not None:
        path.chmod(mode)
    return path


def free_port():
    for port in random.sample(PORTS, 200):
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port on 127.0.0.1")


@functools.lru_cache(None)
def staged():
    """A folder with copies of what is tested: a checkout under /root cannot be entered by servers."""
    for part in (ETAGD, MODULE):
        if not part.is_file():
            raise FileNotFoundError(f"{part} is not built: run make first (or set ETAG_BUILD)")
    folder = new_folder("etag-bin-")
    for part in (ETAGD, MODULE):
        copy = folder / part.name
        shutil.copy(part, copy)
        copy.chmod(0o755)
    return folder


def unstage():
    if staged.cache_info().currsize:
        shutil.rmtree(staged(), ignore_errors=True)
        staged.cache_clear()
