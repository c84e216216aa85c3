# SPDX-License-Identifier: Apache-2.0
"""ETagTrustFS: file systems whose stat may lie, and those whose server may stop answering."""
import os
import time

import pytest

from env.files import boot_id, how_kept, identity, settled
from env.process import wait_for
from env.tags import content_tag

ONE, TWO = b"<p>one content</p>\n", b"<p>two content</p>\n"


@pytest.fixture
def fuse(new_fuse):
    return new_fuse(ONE)


@pytest.fixture
def site(fuse, new_httpd, etagd):
    site = new_httpd("ETagEngine On\nETagTimeout 2s\n", etagd=etagd)
    site.config += (f"Alias /fuse {fuse.folder}\n<Directory {fuse.folder}>\nRequire all granted\n</Directory>\n"
                    f"Alias /trusted {fuse.folder}\n<Location /trusted>\nETagTrustFS nfs fuse\n</Location>\n"
                    f"Alias /other {fuse.folder}\n<Location /other>\nETagTrustFS squashfs\n</Location>\n")
    return site


def tag_at(site, folder, sent=ONE):
    answer = site.get(f"/{folder}/f.html")
    assert (answer.status, answer.body) == (200, sent)
    return answer.etag


def test_a_digest_of_fuse_is_kept_for_a_minute(site, etagd, fuse):
    site.start()
    for folder in ("fuse", "other"):
        assert tag_at(site, folder) == content_tag(ONE, "text/html")
        assert how_kept(etagd, fuse.file) == "for a minute", "naming another file system changes nothing"
    assert tag_at(site, "trusted") == content_tag(ONE, "text/html")
    assert how_kept(etagd, fuse.file) == "for good"


def test_of_what_was_kept_for_a_minute_nothing_is_written_down(site, etagd, fuse):
    site.start()
    tag_at(site, "fuse")
    assert etagd.info()["files_published"] == "1" and etagd.info()["digests_kept"] == "0"
    tag_at(site, "trusted")
    assert etagd.info()["files_published"] == "2" and etagd.info()["digests_kept"] == "1"


@pytest.mark.long
def test_a_lie_is_over_within_a_minute(site, fuse):
    """Content that changes and says nothing of it: its old tag is believed for a minute at the most."""
    site.start()
    old, new = content_tag(ONE, "text/html"), content_tag(TWO, "text/html")
    assert tag_at(site, "fuse") == old
    fuse.content = TWO

    def tag():
        answer = site.get("/fuse/f.html")
        assert answer.body == TWO and answer.etag in (old, new)
        return answer.etag

    wait_for(lambda: tag() == new, "the new content's tag", 63)
    assert site.get("/fuse/f.html", {"If-None-Match": old}).status == 200


def test_large_files_where_the_administrator_says_more(site, etagd, fuse):
    """httpd's word counts: etagd, which knows no directive, hashes under the identity that httpd asks for."""
    site.config += "ETagInlineLimit 0\n"
    site.start()
    for folder, kept in (("fuse", "for a minute"), ("trusted", "for good")):
        wait_for(lambda: tag_at(site, folder) == content_tag(ONE, "text/html"), "etagd to hash the file", 30)
        assert how_kept(etagd, fuse.file) == kept
    assert etagd.info()["files_hashed"] == "2" and etagd.info()["files_refused"] == "0"


def test_none_is_for_every_file_system(new_httpd, etagd):
    site = new_httpd("ETagEngine On\nETagTimeout 2s\nETagTrustFS None\n", etagd=etagd)
    path = settled(site.add("p.html", ONE))
    site.start()
    assert site.get("/p.html").etag == content_tag(ONE, "text/html")
    assert how_kept(etagd, path) == "for a minute"


def test_a_file_server_that_hangs_does_not_keep_etagd_from_ending(fuse, new_etagd):
    etagd = new_etagd()
    etagd.environment["ASAN_OPTIONS"] = "detect_leaks=0"  # looking for leaks stops every thread, and waits for this one
    etagd.start()
    name = identity(fuse.file)
    fuse.file.read_bytes()  # and closed: the kernel learns that it need not ask at the process's end
    fd = os.open(fuse.file, os.O_RDONLY)
    try:
        etagd.call("ETAG", "FILE", f"file:{boot_id()}:80000021.8.1.7.9.1.0.1.0", b"d" * 32)
        fuse.answering.clear()
        assert etagd.call("ETAG", "HASH", name, fds=[fd]) == "QUEUED"
        wait_for(lambda: fuse.asked, "etagd's thread to wait for the file server")
        begun = time.monotonic()
        assert etagd.stop() == 0
        assert time.monotonic() - begun < 20
        assert "a file server does not answer" in etagd.tail()
    finally:
        fuse.answering.set()
        os.close(fd)
    etagd.start()
    assert etagd.info()["digests_restored"] == "1", "what was known is written down first"


def test_a_file_server_that_hangs_does_not_stop_etagd(fuse, etagd):
    """A descriptor of a server that is gone: examining it may take forever, and only that waits."""
    name = identity(fuse.file)
    fd = os.open(fuse.file, os.O_RDONLY)
    try:
        fuse.answering.clear()
        assert etagd.call("ETAG", "HASH", name, fds=[fd]) == "QUEUED"
        for _ in range(20):
            assert etagd.call("PING") == "PONG"
        assert etagd.info()["files_waiting"] == "1"
        fuse.answering.set()
        etagd.wait_info("files_waiting", "0")
    finally:
        fuse.answering.set()
        os.close(fd)
    assert int(etagd.info()["files_hashed"]) + int(etagd.info()["files_refused"]) == 1
