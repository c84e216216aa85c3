# SPDX-License-Identifier: Apache-2.0
"""Real files of many kinds, from this project's documents and from what Debian's packages brought."""
import os
import re
import shutil
import time
from pathlib import Path

from env import machine

PLACES = ("/usr/share/doc", "/usr/share/pixmaps", "/usr/share/icons", "/usr/lib/python3", "/usr/lib/python3.11",
          "/usr/share/perl", "/usr/include", "/usr/share/aclocal", "/usr/share/autoconf", "/usr/share/libtool")
KINDS = ("html", "css", "js", "json", "xml", "svg", "png", "gif", "ico", "txt", "md", "gz", "py", "pm", "h", "m4", "sh")
WANTED, PER_KIND = 300, 30
SMALLEST, LARGEST = 200, 2 << 20
LARGE, LARGE_WANTED = 128 << 10, 12


def kind_of(path):
    """The suffix; plain for what Debian's packages leave without one (copyright)."""
    return path.suffix.lower().lstrip(".") or "plain"


def candidates():
    """This project's documents, then what lies below PLACES, in an order that does not vary."""
    yield from sorted((machine.SOURCE / "docs").glob("*.md"))
    yield from sorted(machine.SOURCE.glob("*.md"))
    for place in PLACES:
        for folder, names, files in os.walk(place):
            names.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                    yield path


def choose():
    """Up to WANTED files, no kind more often than PER_KIND: (name on the site, path) pairs."""
    chosen, kinds, large = {}, {}, 0
    for path in candidates():
        size, kind = path.stat().st_size, kind_of(path)
        wanted = kind in KINDS or path.name == "copyright"
        if not wanted or kinds.get(kind, 0) >= PER_KIND or not SMALLEST <= size <= LARGEST:
            continue
        name = re.sub(r"[^A-Za-z0-9._/-]", "_", f"{kind}/{path.parent.name}-{path.name}")
        if name in chosen or (size > LARGE and large == LARGE_WANTED):
            continue
        chosen[name] = path
        kinds[kind] = kinds.get(kind, 0) + 1
        large += size > LARGE
        if len(chosen) == WANTED:
            break
    return list(chosen.items())


def copy_to(files, folder, node):
    """Copies, never links: each node gets inodes of its own, and mtimes as a deployment leaves them."""
    now = time.time()
    for number, (name, path) in enumerate(files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.parent.chmod(0o755)
        shutil.copyfile(path, target)
        target.chmod(0o644)
        mtime = now - 86400 * node - 7 * number
        os.utime(target, (mtime, mtime))
