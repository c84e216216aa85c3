# SPDX-License-Identifier: Apache-2.0
"""httpd as it is measured: ours and stock from one binary, one configuration, the same files."""
import os
import socket
import time

from env import http
from env.httpd import Httpd
from env.process import Failed, wait_for

# One child with a fixed number of threads: no process begins or ends while CPU time is counted. No access
# log and no search for .htaccess (as distributions have it): what the module costs would look smaller
# beside them.
COMMON = """\
ServerLimit 1
StartServers 1
ThreadLimit 32
ThreadsPerChild 32
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
<Directory />
AllowOverride None
</Directory>
"""
SETTLE = 3.2  # a file's digest is kept once its ctime is older than two whole seconds (file_identity.h)


class BenchHttpd(Httpd):
    """Its name is the address that wrk asks for: a name it does not know would get no key."""

    def __init__(self, folder, config="", modules=(), **how):
        super().__init__(folder, config, modules, host="127.0.0.1", **how)

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    def base_config(self):
        lines = super().base_config().splitlines()
        return "\n".join(line for line in lines if not line.startswith("CustomLog")) + "\n" + COMMON


def ours(bench, config, modules=(), etagd=None):
    """httpd with the module; without it in a run that shows the noise."""
    if bench.noise:
        return BenchHttpd(bench.own_folder("ours"), config, modules, own=False)
    return BenchHttpd(bench.own_folder("ours"), config + "ETagEngine On\n", modules, etagd=etagd or bench.etagd())


def settled(*paths):
    """Waits until the files are old enough for their digests to be kept."""
    newest = max(os.stat(p).st_ctime for p in paths)
    wait_for(lambda: time.time() > newest + SETTLE, "files to settle", SETTLE + 2)


def size_of_304(server, target, headers):
    """Bytes of the 304 to this request on a connection kept alive."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as s:
        s.sendall(http.request_bytes("GET", target, headers, host=server.authority))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    if not data.startswith(b"HTTP/1.1 304 "):
        raise Failed(f"{target}: 304 expected:\n{data[:500].decode('latin-1')}")
    return len(data)


def _until_closed(server, requests):
    with socket.create_connection(("127.0.0.1", server.port), 30) as s:
        s.sendall(requests)
        return b"".join(iter(lambda: s.recv(65536), b""))


def size_of_200(server, target):
    """Bytes of the 200 on a connection kept alive, whatever its framing: what one more request brings."""
    one = http.request_bytes("GET", target, host=server.authority)
    last = http.request_bytes("GET", target, {"Connection": "close"}, host=server.authority)
    data = _until_closed(server, one + last)
    if not data.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"{target}: 200 expected:\n{data[:500].decode('latin-1')}")
    return len(data) - len(_until_closed(server, last))


def validator(server, target, timeout=30.0):
    """The tag of target once a request with it is answered 304."""

    def probe():
        tag = server.get(target, host=server.authority).etag
        if tag and server.get(target, {"If-None-Match": tag}, host=server.authority).status == 304:
            return tag
        return None

    return wait_for(probe, f"304 for {target}", timeout)
