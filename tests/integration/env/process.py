# SPDX-License-Identifier: Apache-2.0
"""A server process: started as the servers' account, awaited, stopped by its own process id."""
import os
import signal
import subprocess
import time
from pathlib import Path

from . import machine


class Failed(Exception):
    """A server did not do what it had to; the text holds the end of its log."""


def wait_for(probe, what, timeout=10.0):
    """Asks probe until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(0.004)  # between two questions: what other processes do raises no event here


class Process:
    """Subclasses give argv() and ready(); a context manager that starts and stops."""

    name = "process"
    start_timeout = 15.0
    stop_timeout = 15.0

    def __init__(self, folder):
        self.folder = Path(folder)
        self.log = self.folder / f"{self.name}.log"
        self.environment = {}
        self.outlive_us = False  # the demo's KEEP=1: not stopped when Python ends
        self.identity = None     # setpriv's options instead of the unprivileged account's; root only
        self.proc = None

    def argv(self):
        raise NotImplementedError

    def ready(self):
        """True once the server answers; called again and again while it starts."""
        raise NotImplementedError

    def _command(self):
        command = [machine.program("setpriv")]
        if not self.outlive_us:
            command += ["--pdeathsig", "TERM"]
        who = machine.account()
        if self.identity is not None:
            command += self.identity
        elif who:
            command += [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
        elif self.outlive_us:
            return [str(a) for a in self.argv()]
        return command + [str(a) for a in self.argv()]

    def spawn(self):
        """Starts without waiting for readiness."""
        assert self.proc is None, f"{self.name} runs already"
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "HOME": str(self.folder)}
        env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        env.update(self.environment)
        with open(self.log, "ab") as out:
            # A session of its own: httpd's parent signals its whole process group when it stops.
            self.proc = subprocess.Popen(self._command(), cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=out, start_new_session=True)
        machine.give(self.log)
        return self

    def start(self):
        self.spawn()

        def probe():
            if self.proc.poll() is not None:
                status, self.proc = self.proc.returncode, None
                raise Failed(f"{self.name} ended with status {status} while starting:\n{self.tail()}")
            return self.ready()

        try:
            wait_for(probe, f"{self.name} to answer", self.start_timeout)
        except Failed as e:
            if self.proc:
                self.kill()
            raise Failed(f"{e}\n{self.tail()}") from None
        return self

    @property
    def pid(self):
        return self.proc.pid if self.proc else None

    @property
    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def signal(self, number):
        self.proc.send_signal(number)

    def wait(self, timeout=None):
        """Waits for the end; returns the exit status (negative: the signal that ended it)."""
        try:
            status = self.proc.wait(self.stop_timeout if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not end in time:\n{self.tail()}") from None
        self.proc = None
        return status

    def stop(self):
        """SIGTERM and wait. Returns the exit status, None when it was not running."""
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """SIGKILL, as a crash would."""
        if self.proc is not None:
            self.proc.kill()
            self.proc.wait()
            self.proc = None

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def problems(self):
        """What went wrong without a test noticing, as a list of lines."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        marks = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "Assertion `")
        return [line for line in text.splitlines() if any(m in line for m in marks)]

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
