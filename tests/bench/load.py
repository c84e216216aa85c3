# SPDX-License-Identifier: Apache-2.0
"""Load by wrk: keep-alive connections, one request, for a while."""
import os
import subprocess
from dataclasses import dataclass

from env import machine

SCRIPT = """\
done = function(summary, latency, requests)
   local e = summary.errors
   io.write(string.format("FIGURES %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
                          e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class BadLoad(Exception):
    """The load was not what was meant to be measured."""


@dataclass
class Load:
    requests: int
    seconds: float
    bytes: int
    cpu_ns: int = 0  # of the server, see measured()

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def ns_per_request(self):
        return self.cpu_ns / self.requests


def client_cpu():
    """Where the client runs, the servers do not: None where there is only one processor."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1] if len(usable) > 1 else None


def pin(server_tree, cpus):
    for pid in server_tree:
        for tid in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(tid), cpus)


def wrk(folder, url, headers, seconds, connections, cpus=None):
    """One run. Nothing but complete responses without error is accepted."""
    script = machine.write(folder / "figures.lua", SCRIPT)
    command = [machine.program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    pinned = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
    done = subprocess.run([*command, url], text=True, capture_output=True, timeout=seconds + 60, preexec_fn=pinned)
    line = [t for t in done.stdout.splitlines() if t.startswith("FIGURES ")]
    if done.returncode or not line:
        raise BadLoad(f"wrk failed:\n{done.stdout}{done.stderr}")
    requests, microseconds, size, errors = map(int, line[0].split()[1:])
    if errors or not requests:
        raise BadLoad(f"{errors} errors in {requests} requests to {url}")
    return Load(requests, microseconds / 1e6, size)


def only(load, response_size, connections):
    """Refuses a load that did not consist of responses of this size alone (a 304 is much shorter than a 200);
    one response per connection may be under way at the end."""
    if abs(load.bytes - load.requests * response_size) > connections * response_size:
        raise BadLoad(f"{load.bytes} bytes for {load.requests} responses, {response_size} expected for each")
    return load
