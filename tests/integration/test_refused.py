# SPDX-License-Identifier: Apache-2.0
"""Where the kernel refuses memfd or sealing: one clear line from etagd, and httpd serves without it."""
import ctypes
import platform
import struct
import subprocess

import pytest
from env.tags import content_tag

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_NR, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279}


def refuse(number):
    """The process and its children get EPERM for one system call (seccomp(2), classic BPF)."""
    code = b"".join(struct.pack("HBBI", *line) for line in (
        (LOAD_NR, 0, 0, 0), (JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO_EPERM), (RETURN, 0, 0, ALLOW)))
    program = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", 4, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


@pytest.mark.skipif(platform.machine() not in MEMFD_CREATE, reason="the number of memfd_create here is not known")
def test_without_memfd(new_etagd, new_httpd):
    etagd = new_etagd()
    done = subprocess.run([str(etagd.binary), "--socket", str(etagd.socket)], capture_output=True, text=True, timeout=10,
                          preexec_fn=lambda: refuse(MEMFD_CREATE[platform.machine()]))
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    assert lines[0].startswith("etagd: ") and "memfd" in lines[0]

    httpd = new_httpd("ETagEngine On\n", etagd=etagd)
    httpd.expect_log("etagd")
    httpd.add("a.txt", "text")
    httpd.start()
    tag = httpd.get("/a.txt").etag
    assert tag == content_tag(b"text", "text/plain")
    assert httpd.get("/a.txt", {"If-None-Match": tag}).status == 304
