# SPDX-License-Identifier: Apache-2.0
"""ETagLastModified Agree: one date for a content at a URL on every node, which no other content ever had there;
where nobody can vouch for that, no date at all."""
import email.utils
import time

import pytest
from env import machine
from env.names import Date
from env.process import wait_for
from env.tags import content_tag

OLD, NEW = b"<p>the old content</p>\n", b"<p>new content</p>\n"
HOST = "www.example.com"
MTIMES = (1_500_000_000, 1_600_000_000, 1_700_000_000)
DAY = 86400
STRANGER = "stranger.example.net"


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


def seconds(text):
    return int(email.utils.parsedate_to_datetime(text).timestamp())


def dated(node, target="/p.html"):
    """Last-Modified of a node's 200, once it has one."""
    return wait_for(lambda: node.get(target).header("Last-Modified"), f"a date from {node.folder.name}")


def asked(node, date, target="/p.html", field="If-Modified-Since"):
    return node.get(target, {field: date if isinstance(date, str) else http_date(date)})


def whole(answer, body):
    assert (answer.status, answer.body) == (200, body), answer
    return answer


def undated(answer, body=OLD):
    assert whole(answer, body).header("Last-Modified") is None and answer.etag, answer


def not_modified(answer, body, named=None):
    """A 304 carries the date where the client asked by one, or none; never another."""
    assert (answer.status, answer.etag, answer.body) == (304, content_tag(body, "text/html"), b""), answer
    assert answer.header("Last-Modified") in (None, named), answer


def put(node, body, mtime):
    node.add("p.html", body, mtime=mtime)


@pytest.fixture
def date(redis):
    """What Redis holds of /p.html's date."""
    return Date(redis, HOST, "/p.html")


@pytest.fixture
def new_node(redis, date, new_etagd, new_httpd):
    """Makes nodes. The first content has been known for a day: nobody waits until it is old enough."""
    made = []

    def make(directives="", mtime=MTIMES[0], **how):
        daemon = new_etagd(redis=redis, node=f"node{len(made)}").start()
        daemon.wait_info("state", "held", 15)
        node = new_httpd(f"ETagEngine On\nETagTimeout 1s\n{directives}", etagd=daemon, **how)
        put(node, OLD, mtime)
        made.append(node.start())
        if len(made) == 1:
            node.get("/p.html")
            date.move(-DAY)
        return node

    return make


@pytest.fixture
def nodes(new_node):
    """Three of them, whose copies of the file were made years apart."""
    return [new_node(mtime=mtime) for mtime in MTIMES]


@pytest.fixture
def site(new_node):
    """One of them."""
    return new_node()


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

@pytest.fixture
def embedded(httpd):
    httpd.config += "ETagTimeout 1s\n"
    put(httpd, OLD, MTIMES[0])
    return httpd.start()


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


# --- other directives, other responses ---

def test_pass_leaves_the_files_time(embedded):
    site = embedded
    site.stop()
    site.start(site.config + "ETagLastModified Pass\n")
    stamp = http_date(MTIMES[0])
    assert site.get("/p.html").header("Last-Modified") == stamp
    for when in (stamp, http_date(MTIMES[0] + 1), http_date(time.time() - DAY)):
        assert asked(site, when).status == 304
        whole(asked(site, when, field="If-Unmodified-Since"), OLD)
    whole(asked(site, MTIMES[0] - 1), OLD)
    assert asked(site, MTIMES[0] - 1, field="If-Unmodified-Since").status == 412


def test_off_has_no_dates(embedded):
    """Then a date is no condition at all, not even a doubtful one."""
    site = embedded
    site.stop()
    site.start(site.config + "ETagLastModified Off\n")
    undated(site.get("/p.html"))
    for when in (http_date(0), http_date(MTIMES[0]), http_date(time.time())):
        for field in ("If-Modified-Since", "If-Unmodified-Since"):
            undated(asked(site, when, field=field))
        undated(site.get("/p.html", {"Range": "bytes=0-2", "If-Range": when}))
    whole(site.get("/p.html", {"Range": "bytes=0-2", "If-Range": http_date(MTIMES[0])}), OLD)
    assert site.get("/p.html", {"Range": "bytes=0-2", "If-Unmodified-Since": http_date(0)}).status == 206


def test_detection_only_changes_no_date(embedded, new_httpd):
    site = embedded
    site.stop()
    site.start("ETagEngine DetectionOnly\n")
    stock = new_httpd("", own=False)
    put(stock, OLD, MTIMES[0])
    stock.start()
    for when in (0, MTIMES[0] - 1, MTIMES[0], MTIMES[0] + 1, time.time(), time.time() + DAY):
        for field in ("If-Modified-Since", "If-Unmodified-Since"):
            for extra in ({}, {"Range": "bytes=0-2"}, {"Range": "bytes=0-2", "If-Range": http_date(MTIMES[0])}):
                a, b = (n.get("/p.html", {field: http_date(when), **extra}) for n in (site, stock))
                assert (a.status, a.body, a.header("Last-Modified")) == (b.status, b.body, b.header("Last-Modified"))


def test_negotiated_files_have_no_date(new_httpd, etagd):
    """One URL, several contents at a time."""
    site = new_httpd("ETagEngine On\n<Directory />\nOptions MultiViews\n</Directory>\nAddLanguage en .en\n"
                     "AddLanguage de .de\nLanguagePriority en\n", modules=["negotiation"], etagd=etagd)
    for language in ("en", "de"):
        site.add(f"page.html.{language}", f"<p>{language}</p>", mtime=MTIMES[0])
    site.start()
    for language in ("en", "de"):
        for when in (None, http_date(MTIMES[0]), http_date(time.time())):
            answer = site.get("/page.html", {"Accept-Language": language, "If-Modified-Since": when})
            assert answer.body == f"<p>{language}</p>".encode() and answer.etag, answer
            assert answer.header("Last-Modified") is None


def test_filtered_files_have_no_date(new_httpd, etagd):
    site = new_httpd("ETagEngine On\nAddOutputFilterByType SUBSTITUTE text/html\nSubstitute s/old/very.old/\n",
                     modules=["filter", "substitute"], etagd=etagd)
    put(site, OLD, MTIMES[0])
    site.start()
    body = OLD.replace(b"old", b"very.old")
    undated(site.get("/p.html"), body)
    for when in (MTIMES[0], time.time()):
        undated(asked(site, when), body)


def test_mod_include_keeps_its_own(new_httpd, etagd):
    site = new_httpd("ETagEngine On\n<Directory />\nOptions +Includes\nSSILastModified on\n</Directory>\n"
                     "AddOutputFilter INCLUDES .html\n", modules=["include"], etagd=etagd)
    put(site, OLD, MTIMES[0])
    site.start()
    assert whole(site.get("/p.html"), OLD).header("Last-Modified") == http_date(MTIMES[0])


def test_mod_cache_in_front(new_node, date, work):
    """Fresh for a tenth of the age that the date says; revalidated by it; and where the content has got another date,
    the entry is made anew: mod_cache compares the dates of its clients by before and after."""
    root = machine.own_folder(work, "cache")
    site = new_node(f"CacheRoot {root}\nCacheEnable disk /\nCacheQuickHandler Off\nCacheHeader On\n",
                    modules=["cache", "cache_disk"])
    revalidate = {"Cache-Control": "max-age=0"}
    site.get("/p.html", {"Cache-Control": "no-cache"})
    named = dated(site)

    def x_cache(answer):
        return answer.header("X-Cache").split(" ")[0]

    wait_for(lambda: x_cache(site.get("/p.html")) == "HIT", "the page to be stored with its date")
    for headers, status in ((revalidate, "REVALIDATE"), ({}, "HIT")):
        answer = site.get("/p.html", headers)
        assert (x_cache(answer), answer.header("Last-Modified"), answer.body) == (status, named, OLD), answer
    later = http_date(date.move(3600))
    answer = wait_for(lambda: (lambda a: a if a.header("Last-Modified") == later else None)(
        site.get("/p.html", revalidate)), "the new date of the same content")
    assert answer.body == OLD
    answer = site.get("/p.html")
    assert (x_cache(answer), answer.header("Last-Modified"), answer.body) == ("HIT", later, OLD), answer


def test_autoindex_keeps_its_own(new_httpd, etagd):
    site = new_httpd("ETagEngine On\n<Directory />\nOptions +Indexes\n</Directory>\nIndexOptions TrackModified\n",
                     modules=["autoindex"], etagd=etagd)
    put(site, OLD, MTIMES[0])
    site.start()
    assert site.get("/").header("Last-Modified")


# --- writes ---

@pytest.fixture
def dav(new_node):
    site = new_node("DavLockDB lock\n<Directory />\nDav On\n</Directory>\n", modules=["dav", "dav_fs"])
    site.docs.chmod(0o777)
    (site.docs / "p.html").chmod(0o666)
    return site


def write(site, when, method="PUT", body=NEW, **more):
    when = when if isinstance(when, str) else http_date(when)
    return site.request(method, "/p.html", {"If-Unmodified-Since": when, **more}, body if method == "PUT" else b"").status


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_holds_for_the_very_date(dav, method):
    named = dated(dav)
    for other in (seconds(named) - 1, seconds(named) + 1, MTIMES[0], time.time(), time.time() + DAY):
        assert write(dav, other, method) == 412 and (dav.docs / "p.html").read_bytes() == OLD, other
    assert write(dav, named, method) == 204
    assert method == "DELETE" or dav.get("/p.html").body == NEW


def test_an_older_date_permits_no_second_write(dav, date):
    named = dated(dav)
    date.age()
    assert write(dav, named) == 204
    for _ in range(2):
        assert write(dav, named, body=b"lost update") in (412, 503)
    later = dated(dav)
    assert write(dav, named, body=b"lost update") == 412
    assert dav.get("/p.html").body == NEW
    assert write(dav, later, body=OLD) == 204


def test_a_write_by_date_that_cannot_be_judged(dav):
    tag, named = dav.get("/p.html").etag, dated(dav)
    dav.stop()
    dav.etagd = dav.folder / "nobody.sock"
    dav.expect_log("etagd|nobody.sock")
    dav.start()
    answer = dav.request("PUT", "/p.html", {"If-Unmodified-Since": named}, NEW)
    assert answer.status == 503 and answer.header("Retry-After") and dav.get("/p.html").body == OLD
    # Without a key no date was ever told: whatever it is of, it is of nothing here.
    assert dav.request("PUT", "/p.html", {"If-Unmodified-Since": named}, NEW, host=STRANGER).status == 412
    # If-Match goes before it.
    assert dav.request("PUT", "/p.html", {"If-Unmodified-Since": named, "If-Match": tag}, NEW).status == 204


@pytest.mark.parametrize("value", ["yesterday", "0"])
def test_an_invalid_date_forbids_no_write(dav, value):
    dated(dav)
    assert write(dav, value) == 204
