# SPDX-License-Identifier: Apache-2.0
"""A way to a server that can be shut: what passes through it then is swallowed, as in a partition; nobody is told.

It can be shut in one direction, and it can keep bytes back for a time."""
import socket
import threading
import time


class Pair:
    """A connection through the gate."""

    def __init__(self, near, far, passes):
        self.near, self.far, self.passes = near, far, passes
        self.dead = False  # nothing goes through it any more, and neither end knows

    def shut_down(self):
        for s in (self.near, self.far):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already


class Gate:
    """lets decides by a connection's first bytes whether it may pass while the gate is shut; None: none may."""

    def __init__(self, port, lets=None):
        self.port_behind, self.lets = port, lets
        self.commands_shut = self.answers_shut = False
        self.delay = 0.0  # seconds for which what passes is kept back
        self.pairs = []
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self.server.getsockname()[1]

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            first = near.recv(65536)
            passes = bool(self.lets and self.lets(first))
            far = socket.create_connection(("127.0.0.1", self.port_behind))
        except OSError:
            near.close()
            return
        pair = Pair(near, far, passes)
        with self.lock:
            self.pairs.append(pair)
        answers = threading.Thread(target=self._carry, args=(pair, far, near, b""), daemon=True)
        answers.start()
        self._carry(pair, near, far, first)
        answers.join()
        with self.lock:
            if pair in self.pairs:
                self.pairs.remove(pair)
        near.close()
        far.close()

    def _swallows(self, pair, source):
        shut = self.commands_shut if source is pair.near else self.answers_shut
        return not pair.passes and (shut or pair.dead)

    def _carry(self, pair, source, sink, data):
        try:
            while True:
                if self.delay:
                    time.sleep(self.delay)  # the network's own time: it is what is being imitated
                if data and not self._swallows(pair, source):
                    sink.sendall(data)
                data = source.recv(65536)
                if not data:
                    break
        except OSError:
            pass  # the other direction ended it
        if not self._swallows(pair, source):
            pair.shut_down()

    def close(self, commands=True, answers=True):
        """Shuts it, or one direction of it."""
        self.commands_shut, self.answers_shut = commands, answers

    def forget(self):
        """Connections there are now are dead without a word to either end; new ones pass."""
        with self.lock:
            for pair in self.pairs:
                pair.dead = True

    def open(self):
        """What was swallowed is lost, so connections that lost something end."""
        self.commands_shut = self.answers_shut = False
        self.delay = 0.0
        with self.lock:
            lost = [p for p in self.pairs if not p.passes]
        for pair in lost:
            pair.shut_down()

    def end(self):
        self.server.close()
        self.open()
