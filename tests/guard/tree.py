# SPDX-License-Identifier: Apache-2.0
"""The project's files as a guard sees them: what is on disk, with planted text over it."""
import fnmatch
import os
from pathlib import Path

# Build products and what version control keeps.
PASS_OVER = {".git", "build", "build-aux", "autom4te.cache", "__pycache__", ".pytest_cache", ".libs", ".deps"}
GENERATED = {"configure", "configure~", "aclocal.m4", "Makefile.in", "Makefile", "config.log", "config.status",
             "libtool", "etagd/lua.h", "etagd/etagd"}


class Tree:
    def __init__(self, root, planted=None):
        self.root = Path(root)
        self.planted = dict(planted or {})
        self._paths = None

    def paths(self, *patterns):
        """Relative paths that match any of the patterns ("*" also crosses folders), sorted."""
        if self._paths is None:
            found = set(self.planted)
            for folder, names, files in os.walk(self.root):
                names[:] = [n for n in names if n not in PASS_OVER]
                found.update(str(Path(folder, f).relative_to(self.root)) for f in files if f not in PASS_OVER)
            self._paths = sorted(found - GENERATED)
        return [p for p in self._paths if any(fnmatch.fnmatch(p, pattern) for pattern in patterns)]

    def text(self, path):
        """The text of a file. A missing one is an error of the guard that wants it, never an empty text."""
        if path in self.planted:
            return self.planted[path]
        return (self.root / path).read_text(errors="replace")

    def plant(self, path, text):
        return Tree(self.root, {**self.planted, path: text})

    def plant_after(self, path, text):
        return self.plant(path, self.text(path) + text)
