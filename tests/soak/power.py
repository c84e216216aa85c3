#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the soak would notice: each protection is taken away once, at compile time, and the short form must find
violations within five seeds. make soak-power runs it.

    power.py [--seeds N] [NAME...]

The last line is "power: N of N protections are missed when they are away".
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from env import machine  # noqa: E402

HERE = Path(__file__).resolve().parent
# Object made anew, flags of planted.h, kinds of violations that show it.
PROTECTIONS = {
    "lease check": ("etagd/lib/libetag_la-table.lo", ["NO_LEASE"], {"stale", "dead epoch"}),
    "as-of comparison": ("etagd/libetagd_la-store_put.lo", ["AS_OF"], {"stale"}),
    "epoch check": ("etagd/libetagd_la-coherence.lo", ["EPOCH"], {"stale", "dead epoch", "liveness"}),
    "gap detection": ("etagd/libetagd_la-coherence.lo", ["GAP"], {"stale"}),
    "overwrite window and checksum": ("etagd/lib/libetag_la-table.lo", ["WINDOW", "CHECKSUM"], {"torn record"}),
}
PROGRAMS = ["etagd/etagd", "mod_etag/mod_etag.la", "tests/soak/flood"]
LEFT_OUT = shutil.ignore_patterns(".git", "build", "autom4te.cache")
VIOLATION = re.compile(r"^soak: VIOLATION ([^:]+): (.*)$", re.MULTILINE)


def make(tree, *arguments):
    done = subprocess.run(["make", "-C", tree, "AUTOMAKE=:", "ACLOCAL=:", "AUTOCONF=:", "AUTOHEADER=:", *arguments],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
    if done.returncode:
        raise RuntimeError(f"make {' '.join(arguments)}:\n{done.stdout}")


def build(folder, name):
    """A copy of the build tree without this protection."""
    what, flags, _ = PROTECTIONS[name]
    tree = folder / "tree"
    shutil.copytree(machine.BUILD, tree, symlinks=True, ignore=LEFT_OUT)
    (tree / what).unlink()
    planted = " ".join(["-include", str(HERE / "planted.h"), *[f"-DPLANT_{f}" for f in flags]])
    make(tree, "WARN_CFLAGS=-w", f"CPPFLAGS={planted}", what)
    make(tree, *PROGRAMS)
    if (tree / "etagd" / "etagd").read_bytes() == (machine.BUILD / "etagd" / "etagd").read_bytes():
        raise RuntimeError(f"{name}: the planted etagd is the product's")
    return tree


def run(tree, seed, minutes):
    """Violations, (kind, text), of one run that ends at the first."""
    env = {**os.environ, "ETAG_BUILD": str(tree)}
    env.pop("ETAG_ETAGD", None)
    done = subprocess.run([sys.executable, HERE / "soak.py", "--minutes", str(minutes), "--seed", str(seed), "--first"],
                          env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    if done.returncode not in (0, 1) or " violations" not in done.stdout:
        raise RuntimeError(f"the soak did not come to its end:\n{done.stdout[-3000:]}")
    return VIOLATION.findall(done.stdout)


def is_missed(name, options):
    folder = machine.new_folder("etag-power-")
    try:
        tree = build(folder, name)
        for seed in range(1, options.seeds + 1):
            found = run(tree, seed, options.minutes)
            shown = [f"{kind}: {text}" for kind, text in found if kind in PROTECTIONS[name][2]]
            print(f"power: without {name}, seed {seed}: {(shown or [found or 'nothing'])[0]}", flush=True)
            if shown:
                return True
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROTECTIONS))
    options = parser.parse_args()
    names = options.names or list(PROTECTIONS)
    missed = [is_missed(name, options) for name in names]
    print(f"power: {sum(missed)} of {len(names)} protections are missed when they are away", flush=True)
    return 0 if all(missed) else 1


if __name__ == "__main__":
    sys.exit(main())
