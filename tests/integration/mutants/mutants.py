# SPDX-License-Identifier: Apache-2.0
"""Builds mutants out of tree: a copy of the sources with one replacement (mutants.json), compiled in a copy of the
build tree, so that only what changed is compiled again."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from env import machine

MODULE = "mod_etag/mod_etag.la"
LEFT_OUT = shutil.ignore_patterns(".git", "build", "autom4te.cache", "tests")


def table():
    with open(Path(__file__).with_name("mutants.json"), encoding="utf-8") as f:
        return json.load(f)["mutants"]


def source(mutant):
    return machine.SOURCE / mutant["file"]


def _copies(folder):
    """(sources, build tree), which do not know the originals."""
    sources, build = folder / "sources", folder / "tree"
    shutil.copytree(machine.SOURCE, sources, symlinks=True, ignore=LEFT_OUT)
    if machine.BUILD.resolve() == machine.SOURCE:
        return sources, sources
    shutil.copytree(machine.BUILD, build, symlinks=True)
    makefile = build / "Makefile"
    kept = makefile.stat()
    text = re.sub(rf"{re.escape(str(machine.SOURCE))}(?![\w/-])", str(sources), makefile.read_text())
    text = re.sub(r"^((?:abs_)?(?:top_)?srcdir|VPATH) = .*$", rf"\1 = {sources}", text, flags=re.MULTILINE)
    makefile.write_text(text)
    os.utime(makefile, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    return sources, build


def build(mutant, folder):
    """Path of the mutant's mod_etag.so, readable by the servers."""
    work = machine.own_folder(folder, "mutant")
    sources, tree = _copies(work)
    changed = sources / mutant["file"]
    text = changed.read_text()
    if text.count(mutant["old"]) != 1:
        raise AssertionError(f"{mutant['file']} does not hold once: {mutant['old']}")
    changed.write_text(text.replace(mutant["old"], mutant["new"]))
    # What automake would make again is as it was; a copy's time stamps must not tell otherwise. A mutant may leave
    # something unused.
    done = subprocess.run(["make", "-C", tree, "AUTOMAKE=:", "ACLOCAL=:", "AUTOCONF=:", "AUTOHEADER=:",
                           "WARN_CFLAGS=-w", MODULE], text=True, capture_output=True, timeout=300)
    made = tree / "mod_etag" / ".libs" / "mod_etag.so"
    if done.returncode != 0 or made.read_bytes() == machine.MODULE.read_bytes():
        raise AssertionError(f"{mutant['rule']}: not built:\n{done.stdout}{done.stderr}")
    made.chmod(0o755)
    for parent in made.relative_to(folder).parents:
        (folder / parent).chmod(0o755)
    return made
