# SPDX-License-Identifier: Apache-2.0
"""ETagLastModified Agree: one date for a content at a URL on every node, which no other content ever had there;
where nobody can vouch for that, no date at all."""
import time

import pytest
from env import machine
from env.dates import (  # noqa: F401
    asked, date, dated, DAY, embedded, http_date, MTIMES, NEW, new_node, nodes, not_modified, OLD, put,
    seconds, site, STRANGER, undated, whole)
from env.process import wait_for
from env.tags import content_tag


# --- three nodes ---

def test_three_nodes_name_one_date(nodes):
    named = {dated(node) for node in nodes}
    assert len(named) == 1, named
    named = named.pop()
    for node in nodes:
        not_modified(asked(node, named), OLD, named)
        assert node.head("/p.html").header("Last-Modified") == named
        head = node.head("/p.html", {"If-Modified-Since": named})
        assert (head.status, head.header("Last-Modified")) == (304, named)
        both = node.get("/p.html", {"If-Modified-Since": http_date(0), "If-None-Match": head.etag})
        assert (both.status, both.header("Last-Modified")) == (304, named)
        part = node.get("/p.html", {"Range": "bytes=0-2"})
        assert (part.status, part.body, part.header("Last-Modified")) == (206, OLD[:3], named)


def test_no_other_date_is_believed(nodes):
    """Neither a file's own date nor an earlier or later one: a later one may be of content that another node had."""
    named = seconds(dated(nodes[0]))
    for node in nodes:
        assert seconds(dated(node)) == named
        for other in (*MTIMES, named - 1, named + 1, named + DAY // 2, time.time() - 1, time.time()):
            whole(asked(node, int(other)), OLD)
        not_modified(asked(node, named), OLD, http_date(named))


def test_same_content_deployed_again_keeps_its_date(nodes):
    named = dated(nodes[0])
    for node in nodes:
        put(node, OLD, time.time() - 60)
    for node in nodes:
        assert dated(node) == named
        not_modified(asked(node, named), OLD, named)


class History:
    """Every date that was seen, and the one content that it may confirm."""

    def __init__(self):
        self.content = {}

    def see(self, answer):
        date = answer.header("Last-Modified")
        if date and answer.status == 200:
            assert self.content.setdefault(date, answer.body) == answer.body, f"{date} was given to two contents"

    def check(self, nodes, body):
        """Each node, which has this content now, confirms no date of another."""
        for node in nodes:
            self.see(whole(node.get("/p.html"), body))
            for date, content in self.content.items():
                answer = asked(node, date)
                assert answer.status == 200 or content == body, (date, content, answer)
                self.see(answer)


def test_rollback_to_older_files(nodes, date):
    """The old content comes back with its old modification times; nothing of the new one is confirmed."""
    history = History()
    first = dated(nodes[0])
    history.check(nodes, OLD)
    date.age()
    for node in nodes:
        put(node, NEW, time.time() - 60)
    second = dated(nodes[0])
    assert seconds(second) > seconds(first)
    history.check(nodes, NEW)
    assert len(history.content) == 2
    date.age()
    for node, mtime in zip(nodes, MTIMES):
        put(node, OLD, mtime)
    assert seconds(dated(nodes[0])) > seconds(second), "a date goes forwards: caches compare by before and after"
    history.check(nodes, OLD)
    assert len(history.content) == 3


def test_rolling_deployment(nodes, date):
    """Two contents at a time: each date belongs to one of them, on every node."""
    history = History()
    for node in nodes:
        history.see(node.get("/p.html"))
    for body in (NEW, OLD, b"<p>third</p>\n"):
        date.age()
        for switched in range(len(nodes)):
            put(nodes[switched], body, MTIMES[1])
            for _ in range(2):
                for i, node in enumerate(nodes):
                    answer = node.get("/p.html")
                    assert (answer.body == body) or i > switched
                    history.see(answer)
                    for seen, content in list(history.content.items()):
                        assert asked(node, seen).status == 200 or content == answer.body, (seen, content)
        dated(nodes[0])
        history.check(nodes, body)
    assert len(set(history.content.values())) == 3


def test_node_without_a_name_in_a_rolling_deployment(nodes, date, new_httpd, work):
    """It still serves the old content after the new one was named: its responses' Date proves nothing elsewhere."""
    behind = new_httpd("ETagEngine On\n", etagd=work / "nobody.sock")
    behind.expect_log("etagd|nobody.sock")
    put(behind, OLD, MTIMES[0])
    behind.start()
    dated(nodes[0])
    date.age()
    put(nodes[0], NEW, MTIMES[1])
    named = seconds(dated(nodes[0]))
    old = behind.get("/p.html")
    undated(old)
    assert seconds(old.header("Date")) > named
    whole(asked(nodes[0], old.header("Date")), NEW)


@pytest.mark.parametrize("directive", ["ETagSalt other", "AddType text/plain .html"])
def test_what_changes_the_tag_ends_the_date(nodes, directive):
    named = dated(nodes[0])
    nodes[0].stop()
    nodes[0].start(nodes[0].config + directive + "\n")
    whole(asked(nodes[0], named), OLD)


# --- one node ---

def test_equal_times_and_sizes_after_the_store_was_lost(embedded, etagd):
    """Images are built with one time for all files, and an embedded store begins anew with etagd."""
    site = embedded
    site.expect_log("etagd")
    named = dated(site)
    etagd.stop()
    put(site, OLD[::-1], MTIMES[0])
    etagd.start()
    whole(asked(site, named), OLD[::-1])
    assert dated(site) != named
    whole(asked(site, named), OLD[::-1])
    whole(asked(site, MTIMES[0]), OLD[::-1])


def test_store_lost_within_the_second(embedded, etagd):
    """A date is the second at which the store was asked first; two stores may have begun in one."""
    site, seen = embedded, {}
    site.expect_log("etagd")
    for i in range(6):
        body = b"<p>%d</p>" % i
        put(site, body, MTIMES[0])
        answer = whole(site.get("/p.html"), body)
        assert seen.setdefault(answer.header("Last-Modified"), body) == body or not answer.header("Last-Modified")
        for when in range(-3, 2):
            whole(asked(site, time.time() + when), body)
        etagd.stop()
        etagd.start()


def test_without_etagd(new_httpd, work):
    site = new_httpd("ETagEngine On\n", etagd=work / "nobody.sock")
    site.expect_log("etagd|nobody.sock")
    put(site, OLD, MTIMES[0])
    site.start()
    confirms_no_date(site)


def confirms_no_date(site, dates=(), host=None):
    tag = content_tag(OLD, "text/html")
    undated(site.get("/p.html", host=host))
    for when in (*dates, http_date(MTIMES[0]), http_date(MTIMES[0] + 1), http_date(time.time())):
        for field in ("If-Modified-Since", "If-Unmodified-Since"):
            undated(site.get("/p.html", {field: when}, host=host))
            undated(site.get("/p.html", {field: when, "Range": "bytes=0-2", "If-Range": when}, host=host))
        undated(site.get("/p.html", {"If-Unmodified-Since": when, "Range": "bytes=0-2"}, host=host))
        not_modified(site.get("/p.html", {"If-None-Match": tag, "If-Modified-Since": http_date(0)}, host=host), OLD)
    head = site.head("/p.html", host=host)
    assert (head.status, head.header("Last-Modified")) == (200, None)


def test_etagd_killed_and_back(embedded, etagd):
    site = embedded
    site.expect_log("etagd")
    named = dated(site)
    etagd.kill()
    # Of all children: one that has not mapped the table has no date from the beginning.
    wait_for(lambda: not any(site.get("/p.html").header("Last-Modified") for _ in range(30)), "the lease to lapse", 10)
    confirms_no_date(site, [named])
    etagd.start()
    wait_for(lambda: site.get("/p.html").header("Last-Modified"), "a date again", 15)


def test_host_without_key(site):
    named = dated(site)
    confirms_no_date(site, [named], host=STRANGER)
    not_modified(asked(site, named), OLD, named)


def test_future_dates(site):
    dated(site)
    future = http_date(time.time() + 30 * DAY)
    whole(asked(site, future), OLD)
    whole(asked(site, future, field="If-Unmodified-Since"), OLD)
    whole(site.get("/p.html", {"If-Unmodified-Since": future, "Range": "bytes=0-2"}), OLD)


def test_if_unmodified_since(site):
    named = dated(site)
    whole(asked(site, named, field="If-Unmodified-Since"), OLD)
    part = site.get("/p.html", {"If-Unmodified-Since": named, "Range": "bytes=0-2"})
    assert (part.status, part.body) == (206, OLD[:3])
    for earlier in (seconds(named) - 1, MTIMES[0]):
        assert asked(site, earlier, field="If-Unmodified-Since").status == 412
        # If-Match goes before it (RFC 9110 13.2.2).
        whole(site.get("/p.html", {"If-Match": content_tag(OLD, "text/html"),
                                   "If-Unmodified-Since": http_date(earlier)}), OLD)
    # It decides before If-None-Match does.
    both = {"If-None-Match": content_tag(OLD, "text/html"), "If-Unmodified-Since": http_date(MTIMES[0])}
    assert site.get("/p.html", both).status == 412
    not_modified(site.get("/p.html", {**both, "If-Unmodified-Since": named}), OLD, named)


@pytest.mark.parametrize("value", ["yesterday", "", "0"])
def test_invalid_dates_are_no_condition(site, value):
    dated(site)
    for field in ("If-Modified-Since", "If-Unmodified-Since"):
        whole(asked(site, value, field=field), OLD)


def test_if_range_with_a_date(site):
    named = seconds(dated(site))
    for when in (named - 1, named + 1, MTIMES[0]):
        whole(site.get("/p.html", {"Range": "bytes=3-5", "If-Range": http_date(when)}), OLD)
    part = site.get("/p.html", {"Range": "bytes=3-5", "If-Range": http_date(named)})
    assert (part.status, part.body, seconds(part.header("Last-Modified"))) == (206, OLD[3:6], named)


def test_if_range_within_a_minute_of_the_date_is_weak(site, date):
    """RFC 9110 8.8.2.2, as core has it."""
    dated(site)
    date.move(DAY - 10)
    named = wait_for(lambda: (lambda text: text if time.time() - seconds(text) < 60 else None)(dated(site)),
                     "the young date to be known")
    whole(site.get("/p.html", {"Range": "bytes=3-5", "If-Range": named}), OLD)


@pytest.mark.parametrize("ahead", [DAY, 0])
def test_a_date_in_this_nodes_future_is_not_sent(site, date, ahead):
    """The clock that named it is ahead of ours, or not far enough behind it."""
    dated(site)
    named = date.move(DAY + ahead)
    wait_for(lambda: not site.get("/p.html").header("Last-Modified"), "the former date to be forgotten")
    undated(asked(site, named))


# --- what is asked ---

def test_one_name_for_all_spellings_of_a_file(nodes, redis):
    named = dated(nodes[0])
    for target in ("/p.html?a=1", "/p.html?", "/%70.html", "//p.html", "/p.htm%6c?b"):
        answer = whole(nodes[0].get(target), OLD)
        assert answer.header("Last-Modified") == named, target
    assert len(redis.call("KEYS", "*#m")) == 1


def test_urls_that_name_no_file_have_no_dates(new_node, redis, work):
    """One page for whatever is asked for: strangers must not fill the store with names for it."""
    other = machine.own_folder(work, "other")
    machine.write(other / "a.html", OLD)
    site = new_node(f"DirectoryIndex p.html\nFallbackResource /p.html\nAlias /alias {other}\nRewriteEngine On\n"
                    "RewriteRule ^/rewritten/ %{DOCUMENT_ROOT}/p.html\nAcceptPathInfo On\n"
                    f"<Directory {other}>\nRequire all granted\n</Directory>\n", modules=["rewrite"])
    for target in ("/nothing", "/p.html/info", "/rewritten/p.html", "/rewritten/x", "/a/p.html"):
        undated(site.get(target))
    dated(site, "/")
    wait_for(lambda: "alias" in str(redis.call("KEYS", "*#m")) or site.get("/alias/a.html").status != 200, "a name there")
    assert {k.split(b"/", 3)[3] for k in redis.call("KEYS", "*#m")} == {b"p.html#m", b"#m", b"alias/a.html#m"}


def test_a_tag_alone_asks_for_no_date(new_node, redis):
    site = new_node('LogFormat "%{etag-why}n %>s" why\nCustomLog why.log why\n')
    tag = content_tag(OLD, "text/html")

    def log(least):
        lines = (site.folder / "why.log").read_text().splitlines()
        return lines if len(lines) >= least else None

    def early():
        before = len(log(0))
        assert site.get("/p.html", {"If-None-Match": tag}).status == 304
        return wait_for(lambda: log(before + 1), "the access log")[-1] == "file 304"

    wait_for(early, "the file to be two seconds old: until then nothing is decided early")
    redis.call("DEL", *redis.call("KEYS", "*#m"))
    redis.call("XADD", "{etag}:log", "*", "all", "1")
    for _ in range(5):
        assert early()
    assert redis.call("KEYS", "*#m") == []
