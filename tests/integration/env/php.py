# SPDX-License-Identifier: Apache-2.0
"""PHP-FPM: a master of the test's own, on a unix socket."""
import socket

from . import machine
from .process import Process

CONFIG = """\
[global]
error_log = {folder}/php.log
daemonize = no
[www]
listen = {socket}
pm = static
pm.max_children = {workers}
"""


class Php(Process):
    """Scripts are named by httpd (mod_proxy_fcgi); reads no php.ini. A worker serves one connection at a time."""

    name = "php"

    def __init__(self, folder, workers=4):
        super().__init__(folder)
        self.socket = self.folder / "php.sock"
        self.conf_file = self.folder / "php-fpm.conf"
        self.workers = workers

    def argv(self):
        machine.write(self.conf_file, CONFIG.format(folder=self.folder, socket=self.socket, workers=self.workers))
        # Debian names the program after its version.
        return [machine.program("php-fpm", "php-fpm8.2", "php-fpm8.4"), "-n", "-d", "expose_php=0", "-F", "-y", self.conf_file]

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
