# SPDX-License-Identifier: Apache-2.0
"""A way to a server that can be shut: what passes through it then is swallowed, as in a partition; nobody is told."""
import socket
import threading


class Gate:
    """lets decides by a connection's first bytes whether it may pass while the gate is shut; None: none may."""

    def __init__(self, port, lets=None):
        self.port_behind, self.lets = port, lets
        self.shut = False
        self.pairs = []  # (near, far, may pass)
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self.server.getsockname()[1]

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
        with self.lock:
            self.pairs.append((near, far, passes))
        threading.Thread(target=self._carry, args=(far, near, passes, b""), daemon=True).start()
        self._carry(near, far, passes, first)

    def _carry(self, source, sink, passes, data):
        try:
            while True:
                if data and (passes or not self.shut):
                    sink.sendall(data)
                data = source.recv(65536)
                if not data:
                    break
        except OSError:
            pass  # the other direction ended it
        if passes or not self.shut:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is gone already

    def close(self):
        """Shuts it."""
        self.shut = True

    def open(self):
        """What was swallowed is lost, so connections that lost something end."""
        self.shut = False
        with self.lock:
            lost = [p for p in self.pairs if not p[2]]
            self.pairs = [p for p in self.pairs if p[2]]
        for near, far, _ in lost:
            for s in (near, far):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it ended by itself

    def end(self):
        self.server.close()
        self.open()
