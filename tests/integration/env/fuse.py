# SPDX-License-Identifier: Apache-2.0
"""A file system with one file, whose stat says what the test wants and whose server can stop answering."""
import ctypes
import errno
import os
import select
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
LOOKUP, FORGET, GETATTR, STATFS, OPEN, READ, RELEASE, INIT = 1, 2, 3, 17, 14, 15, 18, 26
OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 27, 29, 36, 42
ROOT, FILE = 1, 2
PAST = 1_700_000_000


class Unavailable(Exception):
    """No FUSE here, and why."""


class Fuse:
    """Mounted at folder while it is a context: folder/f.html holds content, and its times are what they are set to.

    named: which of the inodes (numbers from 2) the name means now; content: of the first; others: of more.
    opened, was_read: called by the server before it answers that.
    """

    def __init__(self, folder, content):
        self.folder, self.content, self.others, self.named = folder, content, {}, FILE
        self.mtime = self.ctime = PAST
        self.size = None  # says it is
        self.opened = self.was_read = lambda: None
        self.answering = threading.Event()
        self.answering.set()

    @property
    def file(self):
        return self.folder / "f.html"

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("needs root to mount")
        try:
            self.fd = os.open("/dev/fuse", os.O_RDWR)
        except OSError as e:
            raise Unavailable(f"/dev/fuse: {e.strerror}") from e
        options = f"fd={self.fd},rootmode=40755,user_id=0,group_id=0,allow_other"
        if LIBC.mount(b"fuse", os.fsencode(self.folder), b"fuse", 2 | 4, options.encode()) != 0:
            os.close(self.fd)
            raise Unavailable(f"mount: {os.strerror(ctypes.get_errno())}")
        self.end, self.wake = os.pipe()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.answering.set()
        LIBC.umount2(os.fsencode(self.folder), 1 | 2)  # force, detach: nobody keeps waiting
        os.close(self.wake)
        self.thread.join(10)
        os.close(self.end)
        os.close(self.fd)

    @property
    def asked(self):
        """Whether somebody waits for an answer, while it does not answer."""
        return bool(select.select([self.fd], [], [], 0)[0])

    def _serve(self):
        while True:
            ready, _, _ = select.select([self.fd, self.end], [], [])
            if self.end in ready:
                return
            self.answering.wait()
            try:
                request = os.read(self.fd, 1 << 18)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # unmounted
            self._answer(request)

    def _answer(self, request):
        _, op, unique, node = struct.unpack_from("IIQQ", request)
        if op in (FORGET, BATCH_FORGET, INTERRUPT):
            return
        data = self._reply(op, node, request[40:])
        status, data = (-data, b"") if isinstance(data, int) else (0, data)
        try:
            os.write(self.fd, struct.pack("IiQ", 16 + len(data), status, unique) + data)
        except OSError:
            pass  # who asked is gone

    def _attributes(self, node):
        mode, size = (0o040755, 0) if node == ROOT else (0o100644, self.size or len(self._content(node)))
        return struct.pack("QQQQQQIIIIIIIIII", node, size, 1, PAST, int(self.mtime), int(self.ctime), 0, 0, 0, mode, 1,
                           0, 0, 0, 4096, 0)

    def _content(self, node):
        return self.others.get(node, self.content)

    def _reply(self, op, node, body):
        if op == INIT:
            return struct.pack("IIIIHHIIHH32x", 7, 26, 0, 0, 16, 16, 1 << 17, 1, 0, 0)[:64]
        if op == GETATTR:
            return struct.pack("QII", 0, 0, 0) + self._attributes(node)  # asked again each time
        if op == LOOKUP:
            if body.rstrip(b"\0") != b"f.html":
                return errno.ENOENT
            return struct.pack("QQQQII", self.named, 1, 0, 0, 0, 0) + self._attributes(self.named)
        if op in (OPEN, OPENDIR):
            self.opened()
            return struct.pack("QII", 0, 0, 0)
        if op == READ:
            _, offset, size = struct.unpack_from("QQI", body)
            self.was_read()
            return self._content(node)[offset:offset + size]
        if op in (RELEASE, RELEASEDIR):
            return b""
        if op == STATFS:
            return struct.pack("QQQQQIIII24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        return errno.ENOSYS
