# SPDX-License-Identifier: Apache-2.0
"""ETagLastModified beside Agree, dates of what is no plain file, mod_cache in front, and writes by date."""
import time

import pytest
from env import machine
from env.dates import (  # noqa: F401
    asked, date, dated, DAY, embedded, http_date, MTIMES, NEW, new_node, OLD, put, seconds, site,
    STRANGER, undated, whole)
from env.process import wait_for


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
