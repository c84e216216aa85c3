# SPDX-License-Identifier: Apache-2.0
"""Digests of files: they outlive etagd, and a node makes each of them once."""
import hashlib
import os

import pytest

from env import machine
from env.files import boot_id, settled
from env.process import wait_for
from env.tags import content_tag, digest_tag

PAST = 1_700_000_000
LARGE = 256 << 20  # bytes, sparse: a second of hashing or less, and no room on the disk


HUGE = (2 << 30) + 12345


def tag_of_zeros(size):
    digest = hashlib.sha256()
    for at in range(0, size, 1 << 20):
        digest.update(bytes(min(1 << 20, size - at)))
    return digest_tag(digest.digest(), "application/pdf")


@pytest.fixture(scope="module")
def tag_of_large():
    return tag_of_zeros(LARGE)


def large_file(site, size=LARGE):
    path = site.add("large.pdf", b"")
    os.truncate(path, size)
    os.utime(path, (PAST, PAST))
    return path


def restart_all(site, etagd):
    """New processes on both sides: nothing is remembered but what etagd wrote down."""
    site.stop()
    etagd.stop()
    etagd.start()
    site.start()


def hashed(site, target):
    """Asks until the node knows the file's tag; returns the tag."""
    return wait_for(lambda: site.head(target).etag, f"{target} to be hashed", 60)


@pytest.mark.parametrize("size", [LARGE, pytest.param(HUGE, marks=pytest.mark.long)])
def test_a_download_goes_on_after_a_restart(new_httpd, etagd, size):
    """Of everything on this node: a large file has its tag at the first request."""
    tag = tag_of_zeros(size)
    site = new_httpd("ETagEngine On\nETagTimeout 2s\n", etagd=etagd)
    settled(large_file(site, size))
    site.start()
    assert site.head("/large.pdf").etag is None, "over ETagInlineLimit: nobody waits for it"
    assert hashed(site, "/large.pdf") == tag
    assert etagd.info()["files_hashed"] == "1"

    restart_all(site, etagd)
    info = etagd.info()
    assert (info["digests_restored"], info["digest_file_at_start"]) == ("1", "read")
    # A download that was cut off goes on where it was.
    part = site.get("/large.pdf", {"Range": f"bytes={size - 1000}-", "If-Range": tag})
    assert (part.status, part.etag, part.body) == (206, tag, bytes(1000)), part
    assert part.header("Content-Range") == f"bytes {size - 1000}-{size - 1}/{size}"
    assert site.get("/large.pdf", {"If-None-Match": tag}).status == 304
    info = etagd.info()
    assert (info["files_hashed"], info["files_waiting"], info["files_published"]) == ("0", "0", "0"), info


def test_small_files_are_not_hashed_again_either(new_httpd, etagd):
    site = new_httpd("ETagEngine On\nETagTimeout 2s\n", etagd=etagd)
    bodies = {f"/{i}.html": os.urandom(1000 + i) for i in range(20)}
    for name, body in bodies.items():
        last = site.add(name, body, mtime=PAST)
    settled(last)
    site.start()
    for name, body in bodies.items():
        assert site.get(name).etag == content_tag(body, "text/html")
    assert etagd.info()["files_published"] == "20"
    restart_all(site, etagd)
    assert etagd.info()["digests_restored"] == "20"
    for name, body in bodies.items():
        assert site.get(name).etag == content_tag(body, "text/html")
    assert etagd.info()["files_published"] == "0"


def test_a_file_changed_while_etagd_was_away(new_httpd, etagd):
    site = new_httpd("ETagEngine On\nETagTimeout 2s\n", etagd=etagd)
    path = site.add("p.html", b"old bytes", mtime=PAST)
    settled(path)
    site.start()
    old = site.get("/p.html").etag
    site.stop()
    etagd.stop()
    path.write_bytes(b"new bytes")
    os.utime(path, (PAST, PAST))  # size and mtime as before
    etagd.start()
    site.start()
    answer = site.get("/p.html", {"If-None-Match": old})
    assert (answer.status, answer.body, answer.etag) == (200, b"new bytes", content_tag(b"new bytes", "text/html"))


@pytest.mark.parametrize("how", ["flipped", "cut", "writable", "other boot", "link"])
def test_a_state_file_in_doubt_is_not_used(new_httpd, new_etagd, how, tag_of_large):
    """What a wrong file costs is time: the file is hashed again."""
    etagd = new_etagd().start()
    site = new_httpd("ETagEngine On\nETagTimeout 2s\n", etagd=etagd)
    settled(large_file(site))
    site.start()
    assert hashed(site, "/large.pdf") == tag_of_large
    site.stop()
    etagd.stop()
    state = etagd.folder / "etagd.sock.digests"
    content = bytearray(state.read_bytes())
    if how == "flipped":
        content[150] ^= 1  # in the digest
    elif how == "cut":
        del content[-1:]
    elif how == "other boot":
        content[24:60] = b"0" * 36
    if how == "link":
        state.rename(state.with_suffix(".moved"))
        state.symlink_to(state.with_suffix(".moved"))
    else:
        machine.write(state, bytes(content), 0o620 if how == "writable" else 0o600)
    etagd.start()
    site.start()
    assert etagd.info()["digests_restored"] == "0"
    assert site.head("/large.pdf").etag is None
    assert hashed(site, "/large.pdf") == tag_of_large


@pytest.mark.parametrize("option, name", [("", "etagd.sock.digests"), ("DigestFile {work}/mine\n", "mine"),
                                          ("StateDir {work}\n", "etagd.sock.digests"), ("DigestFile none\n", None)])
def test_where_the_state_file_lies(new_etagd, work, option, name):
    etagd = new_etagd(config=option.format(work=work)).start()
    path = machine.write(work / "a.bin", b"some bytes", 0o644)
    settled(path)
    assert etagd.call("ETAG", "FILE", f"file:{boot_id()}:80000021.8.1.7.9.1.0.1.0", b"d" * 32) == "OK"
    etagd.stop()
    found = [p for p in [*etagd.folder.iterdir(), *work.iterdir()] if p.name in ("mine", "etagd.sock.digests")]
    assert [p.name for p in found] == ([name] if name else []), found
    if name:
        assert found[0].stat().st_mode & 0o7777 == 0o600
        etagd.start()
        assert etagd.info()["digest_file"] == str(found[0])
        known = etagd.call("ETAG", "GET", f"file:{boot_id()}:80000021.8.1.7.9.1.0.1.0")
        assert known and b"file" in known


def test_kill_9_keeps_what_was_written_before(new_etagd):
    """No drain, no file: the next start only hashes again."""
    etagd = new_etagd().start()
    etagd.call("ETAG", "FILE", f"file:{boot_id()}:80000021.8.1.7.9.1.0.1.0", b"d" * 32)
    etagd.stop()
    etagd.start()
    etagd.call("ETAG", "FILE", f"file:{boot_id()}:80000021.8.1.8.9.1.0.1.0", b"e" * 32)
    etagd.kill()
    etagd.start()
    assert etagd.info()["digests_restored"] == "1"
