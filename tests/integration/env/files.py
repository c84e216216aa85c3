# SPDX-License-Identifier: Apache-2.0
"""Identities of files, written from their specification in etagd/lib/file_identity.h."""
import ctypes
import os
import struct
import subprocess
import time

from .process import wait_for


def boot_id():
    return open("/proc/sys/kernel/random/boot_id").read().strip()


def minute():
    return f".{int(time.clock_gettime(time.CLOCK_BOOTTIME)) // 60:x}"


def mount_of(path):
    """MNT, and what follows CTIME_NS where nothing is said of file systems."""
    stx = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).statx(-100, os.fsencode(path), 0, 0x1000 | 0x4000, stx) == 0
    mask, mount = struct.unpack_from("I", stx)[0], struct.unpack_from("Q", stx, 0x90)[0]
    fs = os.statvfs(path)
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", path], text=True).strip()
    disk = kind in ("ext2/ext3", "xfs", "btrfs", "zfs", "f2fs", "tmpfs")
    if mask & 0x4000:  # unique
        return mount, "" if disk or kind == "overlayfs" else minute()
    return mount ^ fs.f_fsid * 0x9E3779B97F4A7C15 % 2**64, "" if disk and not fs.f_flag & os.ST_RDONLY else minute()


def lasting_identity(path):
    """Without MINUTE, whatever the mount."""
    st = os.stat(path)
    numbers = [mount_of(path)[0], os.major(st.st_dev), os.minor(st.st_dev), st.st_ino, st.st_size,
               *divmod(st.st_mtime_ns, 10**9), *divmod(st.st_ctime_ns, 10**9)]
    return f"file:{boot_id()}:" + ".".join(f"{n:x}" for n in numbers)


def identity(path):
    return lasting_identity(path) + mount_of(path)[1]


def settled(path):
    """Waits until the file is old enough for its digest to be kept."""
    ctime = os.stat(path).st_ctime
    wait_for(lambda: time.time() - ctime > 3.1, "the file to be older than two seconds by every clock")
    return path


def how_kept(etagd, path):
    """"for good", "for a minute", or None when etagd knows no digest of the file."""
    if etagd.call("ETAG", "GET", lasting_identity(path)):
        return "for good"
    return "for a minute" if etagd.call("ETAG", "GET", lasting_identity(path) + minute()) else None
