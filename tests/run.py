#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test: guards, unit programs, stress and fuzz programs, pytest, the soak.

    tests/run.py [--long] [--suites] [--asan FOLDER] [--tsan FOLDER] [--only STAGE] [pytest arguments...]

make check, check-long and check-suites call it; ETAG_BUILD names the build tree (default: the source tree).
With --asan, unit and fuzz programs and the daemon's integration tests run once more under
AddressSanitizer and UndefinedBehaviorSanitizer; with --long and --tsan, those with threads under
ThreadSanitizer. --suites adds those of third parties. The last line is "N passed, N failed, N skipped"; the exit status is 1 when anything
failed or nothing ran.
"""
import argparse
import functools
import os
import sys
import tempfile
import time
from pathlib import Path

import commands
import results
from commands import run
from guard import guards
from programs import PLANTED, PROGRAMS, SANITIZED, THREADED
from results import FAILED, PASSED, SKIPPED, Result

SOURCE = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("ETAG_BUILD", SOURCE)).resolve()
STAGES = ("guards", "unit", "long", "asan", "tsan", "integration", "power")
THIRD_PARTY = "suites"  # a stage for who asks: it fetches what it runs
BESIDE = "soak"  # a stage that runs beside the integration tests
UNIT_TIMEOUT, LONG_TIMEOUT, PYTEST_TIMEOUT = 120, 3600, 7200
SOAK_MINUTES = (2, 15)  # in make check, and in make check-long
PYTEST_NO_TESTS = 5  # its exit status
PROCESSORS = os.cpu_count() or 1
SIDE_BY_SIDE = PROCESSORS + 1
ALONE = ("test_bare_root.py",)  # a whole make check of its own

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def program(tree, name):
    """The built program, or a failure that says how to build it."""
    path = tree / name
    if path.is_file():
        return path, []
    return None, [Result(name, FAILED, f"{path} is not built: make -C {tree} programs")]


def unit(tree, label="", environ=None):
    found = []
    for source in sorted((SOURCE / "tests" / "unit").glob("test_*.c")):
        name = f"tests/unit/{source.stem}"
        path, missing = program(tree, name)
        found += missing
        if path:
            env = {"CMOCKA_MESSAGE_OUTPUT": "TAP", **(environ or {})}
            status, output = run([path], UNIT_TIMEOUT, env)
            found += results.from_tap(label + source.stem, output, status)
    return found or [Result("unit", FAILED, "no tests/unit/test_*.c")]


def standalone(tree, arguments, label="", environ=None, wanted=0):
    """Runs programs, {name: arguments}, as many at a time as there are processors; wanted is the status they must end
    with."""
    def one(item):
        name, given = item
        path, missing = program(tree, name)
        if not path:
            return missing
        status, output = run([path, *given], LONG_TIMEOUT, environ)
        return [Result(label + name, PASSED if status == wanted else FAILED, f"status {status}, not {wanted}\n{output}")]

    return [result for part in commands.side_by_side(one, arguments.items(), PROCESSORS) for result in part]


def pytest_python():
    """A Python that has pytest: ours, or the system's."""
    for python in (sys.executable, "/usr/bin/python3", "python3"):
        if run([python, "-c", "import pytest"], 60)[0] == 0:
            return python
    return None


def pytest(python, long, more, environ):
    """Results of one run of pytest, and whether it found any test."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        argv = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
                "-o", "junit_logging=all", "-o", "junit_family=xunit1", *(["--long", "--mpm=all"] if long else []), *more]
        status, output = run(argv, PYTEST_TIMEOUT, environ, SOURCE / "tests" / "integration")
        return [] if status == PYTEST_NO_TESTS else results.from_junit(report, output, status)


def integration(long, more, label="", environ=None, pattern="test_*.py", beside=()):
    """Files of tests side by side, and other stages: they wait for leases and time-outs more than they compute."""
    python = pytest_python()
    if python is None:
        return [Result("pytest", FAILED, "no python3 here has pytest (Debian: python3-pytest)")]
    env = {"ETAG_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})}
    given = any(not a.startswith("-") and Path(a.split("::")[0]).exists() for a in more)
    alone = [[f] for f in ALONE]
    folder = SOURCE / "tests" / "integration"
    files = [[]] if given else [[str(f.relative_to(folder))] for f in sorted(folder.glob(pattern))]
    jobs = [*beside, *[functools.partial(pytest, python, long, f + more, env) for f in files if f not in alone]]
    parts = commands.side_by_side(lambda job: job(), jobs, SIDE_BY_SIDE)
    parts += [pytest(python, long, f + more, env) for f in files if f in alone]
    found = [result for part in parts[len(beside):] for result in part] or [Result("pytest", FAILED, "collected no test")]
    for result in found:
        result.name = label + result.name
    return found + [result for part in parts[:len(beside)] for result in part]


def soak_program(name, *arguments):
    """A program of tests/soak; its last line says what came of it."""
    status, output = run([sys.executable, SOURCE / "tests" / "soak" / name, *arguments], LONG_TIMEOUT,
                         {"ETAG_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1"})
    print(output.rstrip().rsplit("\n", 1)[-1], flush=True)
    return [Result(name, PASSED if status == 0 else FAILED, output)]


def soak(tree, long):
    """With the daemon under sanitizers on one of its nodes, where there is one."""
    sanitized = ["--asan", tree / "etagd" / "etagd"] if tree else []
    return soak_program("soak.py", "--minutes", SOAK_MINUTES[long], *sanitized)


def sanitized(tree, long):
    if tree is None:
        return [Result("sanitizers", SKIPPED, "no tree built with --enable-sanitizers was given (--asan)")]
    short = {name: PROGRAMS[name][0] for name in SANITIZED}
    found = unit(tree, "asan ", SANITIZERS) + standalone(tree, short, "asan ", SANITIZERS)
    daemon, missing = program(tree, "etagd/etagd")
    if daemon:
        chosen = [] if long else ["-k", "smoke or etagd or resp or redis or coherence or naming or version_faults or conflict or sense"]
        found += integration(False, chosen, "asan ", {"ETAG_ETAGD": str(daemon), **SANITIZERS})
    return found + missing


def threads(tree, long):
    if not long:
        return []
    if tree is None:
        return [Result("ThreadSanitizer", SKIPPED, "no tree built with --enable-tsan was given (--tsan)")]
    return standalone(tree, THREADED, "tsan ", {"TSAN_OPTIONS": "halt_on_error=1"})


def report(name, found, seconds):
    counts = {o: sum(r.outcome == o for r in found) for o in (PASSED, FAILED, SKIPPED)}
    if not found:
        return
    told = ", ".join(f"{n} {o}" for o, n in counts.items() if n)
    print(f"{name}: {told} in {seconds:.1f} s", flush=True)
    for r in found:
        if r.outcome != PASSED:
            print(f"  {r.outcome}: {r.name}" + (f": {r.text}" if r.outcome == SKIPPED else ""), flush=True)
        for line in r.notes:
            print(f"  {r.name}: {line}", flush=True)
    for r in found:
        if r.outcome == FAILED:
            print(f"\n--- failed: {r.name}\n{r.text.rstrip()}\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--asan", type=Path)
    parser.add_argument("--tsan", type=Path)
    parser.add_argument("--suites", action="store_true")
    parser.add_argument("--only", choices=(*STAGES, BESIDE, THIRD_PARTY), action="append")
    options, more = parser.parse_known_args()
    commands.end_with_us()
    asan = options.asan and options.asan.resolve()
    beside = [lambda: soak(asan, options.long)] if options.long and not (options.only or more) else []
    stages = {
        "guards": guards.run,
        "unit": lambda: unit(BUILD),
        "long": lambda: standalone(BUILD, {name: given[options.long] for name, given in PROGRAMS.items()})
        + standalone(BUILD, PLANTED, wanted=1),
        "asan": lambda: sanitized(asan, options.long),
        "tsan": lambda: threads(options.tsan and options.tsan.resolve(), options.long),
        "integration": lambda: integration(options.long, more, beside=beside),
        BESIDE: lambda: soak(asan, options.long),
        "power": lambda: soak_program("power.py") if options.long or options.only else [],
        THIRD_PARTY: lambda: integration(options.long, more, pattern="suites/test_*.py"),
    }
    found = []
    for name in options.only or [*STAGES, *[THIRD_PARTY] * options.suites]:
        begun = time.monotonic()
        part = stages[name]()
        report(name, part, time.monotonic() - begun)
        found += part
    passed, failed, skipped = (sum(r.outcome == o for r in found) for o in (PASSED, FAILED, SKIPPED))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
