# SPDX-License-Identifier: Apache-2.0
"""PHP as a FastCGI server: php-cgi on a unix socket, which is PHP-FPM's protocol without its service."""
import socket

from . import machine
from .process import Process


class Php(Process):
    """Scripts are named by httpd (mod_proxy_fcgi); reads no php.ini."""

    name = "php"

    def __init__(self, folder, workers=4):
        super().__init__(folder)
        self.socket = self.folder / "php.sock"
        # Without a limit a child ends after 500 requests, under a request that httpd has just sent.
        self.environment = {"PHP_FCGI_CHILDREN": str(workers), "PHP_FCGI_MAX_REQUESTS": "0"}

    def argv(self):
        return [machine.program("php-cgi"), "-n", "-d", "expose_php=0", "-b", self.socket]

    def ready(self):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(self.socket))
            except OSError:
                return False
        return True

    @property
    def handler(self):
        """What SetHandler wants."""
        return f"proxy:unix:{self.socket}|fcgi://localhost"
