# SPDX-License-Identifier: Apache-2.0
"""The least that must work: one directive, an etagd without configuration, one file."""
import os
import time

TAG_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_engine_on_is_enough(httpd):
    httpd.add("index.html", "<p>hello</p>\n", mtime=time.time() - 86400)
    httpd.start()
    first = httpd.get("/index.html")
    assert first.status == 200 and first.body == b"<p>hello</p>\n"
    tag = first.etag
    assert tag is not None, first
    assert tag[0] == tag[-1] == '"' and tag[1] == "d" and len(tag) == 25, tag
    assert set(tag[1:-1]) <= TAG_CHARACTERS
    again = httpd.get("/index.html", {"If-None-Match": tag})
    assert again.status == 304 and again.etag == tag and again.body == b""
    other = httpd.get("/index.html", {"If-None-Match": '"d' + "A" * 22 + '"'})
    assert other.status == 200 and other.etag == tag


def test_new_content_new_tag(httpd):
    path = httpd.add("page.html", "one", mtime=1_700_000_000)
    httpd.start()
    old = httpd.get("/page.html").etag
    path.write_text("two")  # same length, same mtime: only ctime and the bytes tell
    os.utime(path, (1_700_000_000, 1_700_000_000))
    answer = httpd.get("/page.html", {"If-None-Match": old})
    assert answer.status == 200 and answer.body == b"two" and answer.etag != old


def test_two_nodes_agree(new_httpd, etagd, new_etagd):
    nodes = [new_httpd("ETagEngine On\n", etagd=d) for d in (etagd, new_etagd().start())]
    for age, node in enumerate(nodes, 1):
        node.add("style.css", "p { margin: 0 }\n", mtime=time.time() - 86400 * age)
        node.start()
    tags = {n.get("/style.css").etag for n in nodes}
    assert len(tags) == 1 and None not in tags, tags
    tag = tags.pop()
    assert [n.get("/style.css", {"If-None-Match": tag}).status for n in nodes] == [304, 304]


def test_stock_httpd_is_untouched_when_off(new_httpd, etagd):
    """Loaded but not switched on, the module leaves httpd's own validators alone."""
    ours, stock = new_httpd(etagd=etagd), new_httpd(own=False)
    for node in (ours, stock):
        node.add("a.txt", "text", mtime=1_700_000_000)
        node.start()
    assert ours.get("/a.txt").etag == stock.get("/a.txt").etag is not None


def test_head_carries_the_tag_of_get(httpd):
    httpd.add("a.txt", "text", mtime=1_700_000_000)
    httpd.start()
    assert httpd.head("/a.txt").etag == httpd.get("/a.txt").etag is not None
