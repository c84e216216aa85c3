#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures the project promises, measured. make bench runs it: everything, on the tree that was built.

Each row is a module with NAME, TITLE and measure(bench), which returns figures. Exit status 1 when a bar
was missed or a row could not be measured, 0 otherwise ("not shown" is no fault of the code).
"""
import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import catchup  # noqa: E402
import cpu  # noqa: E402
import files_304  # noqa: E402
import files_digest  # noqa: E402
import generated  # noqa: E402
import hashing  # noqa: E402
import held  # noqa: E402
import invalidation  # noqa: E402
import invalidation_load  # noqa: E402
import many_nodes  # noqa: E402
import page_tables  # noqa: E402
import proxied  # noqa: E402
import redis_commands  # noqa: E402
import redis_memory  # noqa: E402
import session  # noqa: E402
import streams  # noqa: E402
import table  # noqa: E402
from bench import Bench  # noqa: E402
from env import machine  # noqa: E402
from env.redis import server_program  # noqa: E402
from report import MISSED, Row, as_json, as_markdown  # noqa: E402

ROWS = (files_304, files_digest, proxied, generated, streams, held, session, table, page_tables, invalidation,
        invalidation_load, catchup, redis_commands, redis_memory, many_nodes, hashing)


def first_line(*command):
    return subprocess.run(command, text=True, capture_output=True, timeout=30).stdout.splitlines()[0]


def describe():
    """The machine, as it belongs beside every figure."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    folder = machine.new_folder()
    try:
        redis = first_line(server_program(folder), "--version").split()[2].removeprefix("v=")
    finally:
        shutil.rmtree(folder)
    return {"CPU": model, "processors": str(len(Bench.cpus)), "kernel": platform.release(),
            "httpd": first_line(machine.program("apache2", "httpd"), "-v").split("/")[1].split()[0], "Redis": redis,
            "OpenSSL": first_line("openssl", "version").split()[1], "load before": f"{os.getloadavg()[0]:.1f}"}


def run_row(module, options):
    busy, began = cpu.machine_busy(), time.monotonic()
    figures, trouble = [], ""
    try:
        with Bench(options) as bench:
            figures = module.measure(bench)
    except Exception:  # the other rows are still worth having
        trouble = traceback.format_exc()
    return Row(module.NAME, module.TITLE, figures, time.monotonic() - began, busy, trouble)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [m.NAME for m in ROWS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works, not to quote")
    parser.add_argument("--noise", action="store_true", help="stock httpd on both sides: what differs then is noise")
    parser.add_argument("--out", type=Path, default=machine.BUILD / "tests" / "bench",
                        help="folder for results.json and results.md")
    return parser.parse_args()


def main():
    options = arguments()
    about = describe()
    print("; ".join(f"{k} {v}" for k, v in about.items()))
    if options.quick:
        print("A quick run: too few rounds to be quoted.")
    if options.noise:
        print("Stock httpd on both sides: every ratio should be 1.")
    rows = []
    try:
        for module in [m for m in ROWS if not options.only or m.NAME in options.only]:
            print(f"\n{module.TITLE}", flush=True)
            row = run_row(module, options)
            rows.append(row)
            print("\n".join(f.text() for f in row.figures) or f"   not measured:\n{row.trouble}")
            print(f"   ({row.seconds:.0f} s{'; ' if row.warning else ''}{row.warning})", flush=True)
    finally:
        machine.unstage()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(as_json(about, options.quick or options.noise, rows))
    (options.out / "results.md").write_text(as_markdown(about, options.quick or options.noise, rows))
    print(f"\n{options.out}/results.json, {options.out}/results.md")
    return int(any(row.trouble or any(f.verdict == MISSED for f in row.figures) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
