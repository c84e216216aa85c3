# SPDX-License-Identifier: Apache-2.0
"""Page tables of 400 processes that read one table, as the children of a prefork httpd do."""
import re
import subprocess

from env import machine
from env.process import Failed
from report import Figure

NAME = "page-tables"
TITLE = "Page tables of 400 processes that read the table"
PROCESSES, QUICK_PROCESSES, MIB = 400, 20, 64
SHMEM_HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
LINE = re.compile(r"^\d+ processes, \d+ MiB: (\d+) kB of page tables each, (\d+) kB of the table in huge pages$", re.M)


def setting():
    """Whether the kernel gives shared memory huge pages: the bracketed word. etagd asks for them, "advise" is enough."""
    try:
        with open(SHMEM_HUGE) as f:
            return re.search(r"\[(\w+)\]", f.read()).group(1)
    except OSError:
        return "not known to this kernel"


def measure(bench):
    processes = bench.rounds(PROCESSES, QUICK_PROCESSES)
    done = subprocess.run([machine.BUILD / "tests" / "bench" / "table_readers", str(processes), str(MIB)], text=True,
                          capture_output=True, timeout=600)
    found = LINE.search(done.stdout)
    if done.returncode or not found:
        raise Failed(f"table_readers ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    each, huge = map(int, found.groups())
    return [Figure(f"of each of {processes}, table of {MIB} MiB", [each], None, "kB",
                   facts=[f"{each * processes / 1024:.0f} MiB in all; {huge} kB of the table in huge pages "
                          f"(shmem_enabled: {setting()})"])]
