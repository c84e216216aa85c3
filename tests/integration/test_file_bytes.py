# SPDX-License-Identifier: Apache-2.0
"""Which bytes a file's tag speaks for. The file system is the test's own, and moves at the worst moment."""
import time

import pytest

from env.files import how_kept
from env.tags import content_tag

ONE, TWO = b"<p>one content</p>\n", b"<p>two content</p>\n"


def tag(body):
    return content_tag(body, "text/html")


@pytest.fixture
def fuse(new_fuse):
    return new_fuse(ONE)


@pytest.fixture
def site(fuse, new_httpd, etagd):
    """Trusts the file system as if it were a disk."""
    site = new_httpd("ETagEngine On\nETagTimeout 2s\nETagTrustFS fuse\n", etagd=etagd)
    site.config += f"Alias /fuse {fuse.folder}\n<Directory {fuse.folder}>\nRequire all granted\n</Directory>\n"
    return site.start()


def got(site, headers=()):
    answer = site.get("/fuse/f.html", headers)
    return answer.status, answer.body, answer.etag


def test_the_descriptor_counts_and_not_the_name(site, fuse):
    """Between open and fstat another file takes the name: tag and bytes are the old one's, nothing is the new one's."""
    fuse.others[3] = TWO

    def rename():
        fuse.named = 3

    fuse.opened = rename
    assert got(site) == (200, ONE, tag(ONE))
    assert got(site) == (200, TWO, tag(TWO))
    assert got(site, {"If-None-Match": tag(ONE)}) == (200, TWO, tag(TWO))
    fuse.opened, fuse.named = lambda: None, 2
    assert got(site, {"If-None-Match": tag(ONE)}) == (304, b"", tag(ONE))


def test_what_changes_while_it_is_hashed_has_no_tag(site, fuse, etagd):
    def touch():
        fuse.mtime += 1
        fuse.was_read = lambda: None

    fuse.was_read = touch
    assert got(site) == (200, ONE, None)
    assert etagd.info()["files_published"] == "0" and how_kept(etagd, fuse.file) is None
    assert got(site) == (200, ONE, tag(ONE)), "at rest it has one"


def test_what_ends_before_its_size_has_no_tag(site, fuse, etagd):
    fuse.size = len(ONE) + 1
    assert site.head("/fuse/f.html").etag is None
    assert etagd.info()["files_published"] == "0"


@pytest.mark.parametrize("age, mtime, kept", [(0, 0, None), (1, 0, None), (10, 0, "for good"), (10, 4_000_000_000, "for good"),
                                              (-1000, 0, None)])
def test_only_what_has_not_changed_for_two_seconds_is_kept(site, fuse, etagd, age, mtime, kept):
    """By ctime alone, which nobody can set: what mtime says does not matter."""
    fuse.ctime, fuse.mtime = time.time() - age, mtime
    assert got(site) == (200, ONE, tag(ONE))
    assert how_kept(etagd, fuse.file) == kept
    assert etagd.info()["files_published"] == ("1" if kept else "0")


def test_another_mount_in_the_same_place(site, fuse, new_fuse, etagd):
    """Inode, size and times are as before, and so may be the device: the mount is another one."""
    assert got(site) == (200, ONE, tag(ONE))
    assert got(site, {"If-None-Match": tag(ONE)}) == (304, b"", tag(ONE))
    new_fuse(TWO)
    assert got(site, {"If-None-Match": tag(ONE)}) == (200, TWO, tag(TWO))
    assert how_kept(etagd, fuse.file) == "for good"


def test_a_lie_that_is_trusted_is_believed(site, fuse):
    """What ETagTrustFS means: stat says the same, so the tag is the same. The tests above would see a module that
    hashes every time."""
    assert got(site) == (200, ONE, tag(ONE))
    fuse.content = TWO
    assert got(site) == (200, TWO, tag(ONE))


def test_a_part_of_a_file_is_hashed_as_the_bytes_it_is(new_httpd, etagd):
    """mod_asis sends a file from behind its headers on: one FILE bucket, which does not begin at 0."""
    site = new_httpd("ETagEngine On\nETagTimeout 2s\nAddHandler send-as-is .asis\n", modules=["asis"], etagd=etagd)
    body = b"<p>a page</p>\n" * 100
    site.add("p.asis", b"Content-Type: text/html\n\n" + body)
    site.start()
    answer = site.get("/p.asis")
    assert (answer.status, answer.body, answer.etag) == (200, body, tag(body))
    assert etagd.info()["files_published"] == "0"
