# SPDX-License-Identifier: Apache-2.0
"""A way to Redis that keeps back the answers of one connection from a certain command on, until told otherwise."""
import socket
import threading


class Late:
    def __init__(self, port, after):
        """after: bytes of that command."""
        self.port_behind, self.after = port, after
        self.sent, self.go_on = threading.Event(), threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=16)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return "redis://127.0.0.1:%d/0" % self.server.getsockname()[1]

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.port_behind))
            except OSError:
                return
            kept_back = threading.Event()
            threading.Thread(target=self._carry, args=(near, far, kept_back, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, kept_back, False), daemon=True).start()

    def _carry(self, source, sink, kept_back, commands):
        try:
            while data := source.recv(65536):
                if commands and self.after in data:
                    kept_back.set()
                    self.sent.set()
                if not commands and kept_back.is_set():
                    self.go_on.wait()
                sink.sendall(data)
        except OSError:
            pass  # the other direction ended it
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already

    def end(self):
        self.go_on.set()
        self.server.close()
