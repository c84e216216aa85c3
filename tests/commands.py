# SPDX-License-Identifier: Apache-2.0
"""Commands in sessions of their own, several at a time, none of which outlives us."""
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

_running = set()
_ending = False


def run(argv, timeout, environ=None, cwd=None):
    """(status, output) of a command; a timeout is a failure with whatever was printed."""
    if _ending:
        raise SystemExit
    env = dict(os.environ, **(environ or {}))
    done = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=env,
                            stdin=subprocess.DEVNULL, start_new_session=True)
    _running.add(done)
    if _ending:  # while it was being started
        os.killpg(done.pid, signal.SIGTERM)
    try:
        output, _ = done.communicate(timeout=timeout)
        status = done.returncode
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, signal.SIGKILL)
        output, _ = done.communicate()
        status = f"none after {timeout} s"
    finally:
        _running.discard(done)
    return status, output.decode(errors="replace")


def side_by_side(function, items, most):
    """[function(item), ...] in the order of items, at most so many at a time."""
    with ThreadPoolExecutor(most) as pool:
        return list(pool.map(function, items))


def end_with_us():
    """Told to end, by make or by a person: what was started must not go on without us."""
    def end(number, _frame):
        global _ending
        _ending = True
        for command in list(_running):
            os.killpg(command.pid, signal.SIGTERM)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
