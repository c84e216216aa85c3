# SPDX-License-Identifier: Apache-2.0
"""Files: one tag on every node, and what the conditionals and ranges of a request make of it."""
import email.utils
import os
import shutil
import signal
import subprocess
import time

import pytest
from env import machine
from env.process import wait_for
from env.tags import OURS, content_tag

BODY = b"<p>" + b"0123456789" * 200 + b"</p>\n"
TAG = content_tag(BODY, "text/html")
OTHER = '"d' + "A" * 22 + '"'
DAY = 86400


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


@pytest.fixture
def site(httpd):
    httpd.add("p.html", BODY, mtime=time.time() - DAY)
    return httpd


def ok(answer, body=BODY, tag=TAG):
    assert (answer.status, answer.etag, answer.body) == (200, tag, body), answer
    return answer


def not_modified(answer, tag=TAG):
    assert (answer.status, answer.etag, answer.body) == (304, tag, b""), answer
    assert not any(answer.all(n) for n in ("Content-Type", "Content-Length", "Content-Encoding")), answer
    return answer


def test_one_tag_on_three_document_roots(new_httpd, new_etagd):
    nodes = [new_httpd("ETagEngine On\n", etagd=new_etagd().start()) for _ in range(3)]
    inodes = set()
    for age, node in enumerate(nodes, 1):
        inodes.add(node.add("p.html", BODY, mtime=time.time() - DAY * age).stat().st_ino)
        node.start()
    assert len(inodes) == 3
    for node in nodes:
        tag = ok(node.get("/p.html")).etag
        assert OURS.match(tag)
    for node in nodes:
        not_modified(node.get("/p.html", {"If-None-Match": tag}))


@pytest.mark.parametrize("sent", [
    TAG, "W/" + TAG, "*", f'"x", {TAG}', f'{TAG}, "x"', f'"a,b", W/"c" ,, {TAG}', f"unquoted, {TAG}",
    f'"unterminated, {TAG}', f'"a\\", {TAG}', f"\t{TAG} ", f"{OTHER}, W/{TAG}", "*x, " + TAG])
def test_if_none_match_that_matches(site, sent):
    """A malformed element is ignored; it hides no well-formed one."""
    site.start()
    not_modified(site.get("/p.html", {"If-None-Match": sent}), "W/" + TAG if "W/" + TAG in sent else TAG)


@pytest.mark.parametrize("sent", [OTHER, "unquoted", '""', TAG.strip('"'), "w/" + TAG, TAG.lower(), "", "*x",
                                  TAG[:-1] + '-gzip"', pytest.param(", ".join(['"%05d"' % i for i in range(900)]), id="900 tags")])
def test_if_none_match_that_does_not(site, sent):
    site.start()
    ok(site.get("/p.html", {"If-None-Match": sent}))


@pytest.mark.parametrize("when", [-30 * DAY, 30 * DAY])
def test_a_date_does_not_decide_beside_a_tag(site, when):
    site.start()
    since = http_date(time.time() + when)
    not_modified(site.get("/p.html", {"If-None-Match": TAG, "If-Modified-Since": since}))
    ok(site.get("/p.html", {"If-None-Match": OTHER, "If-Modified-Since": since}))


def test_dates_alone(site):
    """As the RFC compares them; ETagLastModified Agree is in test_last_modified.py."""
    site.config += "ETagLastModified Pass\n"
    site.start()
    modified = ok(site.get("/p.html")).header("Last-Modified")
    not_modified(site.get("/p.html", {"If-Modified-Since": modified}))
    ok(site.get("/p.html", {"If-Modified-Since": http_date(time.time() - 2 * DAY)}))
    ok(site.get("/p.html", {"If-Unmodified-Since": modified}))
    assert site.get("/p.html", {"If-Unmodified-Since": http_date(time.time() - 2 * DAY)}).status == 412


def test_range_and_if_none_match(site):
    site.start()
    not_modified(site.get("/p.html", {"If-None-Match": TAG, "Range": "bytes=0-9"}))
    part = site.get("/p.html", {"If-None-Match": OTHER, "Range": "bytes=0-9"})
    assert (part.status, part.etag, part.body) == (206, TAG, BODY[:10]), part


@pytest.mark.parametrize("sent, status", [
    (TAG, 200), ("*", 200), (f"{OTHER}, {TAG}", 200), (f'W/"x", {TAG}', 200),
    (OTHER, 412), ("W/" + TAG, 412), ("unquoted", 412), ("", 412), ("*x", 412)])
def test_if_match(site, sent, status):
    site.start()
    answer = site.get("/p.html", {"If-Match": sent})
    assert answer.status == status, answer
    if status == 412:
        assert answer.etag is None and BODY not in answer.body
    else:
        ok(answer)


def test_if_range(site):
    site.start()
    part = {"Range": "bytes=5-14"}
    good = site.get("/p.html", {**part, "If-Range": TAG})
    assert (good.status, good.etag, good.body) == (206, TAG, BODY[5:15]), good
    assert good.header("Content-Range") == f"bytes 5-14/{len(BODY)}"
    for bad in (OTHER, "W/" + TAG, "unquoted", f"{TAG}, {TAG}"):
        ok(site.get("/p.html", {**part, "If-Range": bad}))


def test_head_is_get_without_body(site):
    site.start()
    get = ok(site.get("/p.html"))
    head = site.head("/p.html")
    assert (head.status, head.body) == (200, b"")
    for name in ("ETag", "Last-Modified", "Content-Length", "Content-Type", "Accept-Ranges"):
        assert head.header(name) == get.header(name), name
    not_modified(site.head("/p.html", {"If-None-Match": TAG}))
    ok(site.head("/p.html", {"If-None-Match": OTHER}), body=b"")


def test_options_ignores_conditionals(site):
    site.start()
    assert site.request("OPTIONS", "/p.html", {"If-Match": OTHER, "If-None-Match": "*"}).status == 200


def test_negotiated_tag_is_whole(new_httpd, etagd):
    """Core leaves the closing quote off the tags of MultiViews."""
    site = new_httpd("ETagEngine On\n<Directory /> \nOptions MultiViews\n</Directory>\nAddLanguage en .en\n"
                     "AddLanguage de .de\nLanguagePriority en\n", modules=["negotiation"], etagd=etagd)
    for language in ("en", "de"):
        site.add(f"page.html.{language}", f"<p>{language}</p>", mtime=time.time() - DAY)
    site.start()
    for language in ("en", "de"):
        body = f"<p>{language}</p>".encode()
        tag = content_tag(body, "text/html", language)
        ask = {"Accept-Language": language}
        answer = ok(site.get("/page", ask), body, tag)
        assert "accept-language" in answer.header("Vary").lower()
        again = not_modified(site.get("/page", {**ask, "If-None-Match": tag}), tag)
        assert again.header("Vary") == answer.header("Vary")


def test_fileetag_none_and_inode_are_replaced(site):
    site.config += f"<Directory {site.docs}>\nFileETag None\n</Directory>\n"
    site.start()
    not_modified(site.get("/p.html", {"If-None-Match": ok(site.get("/p.html")).etag}))


def test_error_document_has_no_tag(site):
    site.add("missing.html", "<p>not here</p>", mtime=time.time() - DAY)
    site.config += "ErrorDocument 404 /missing.html\nErrorDocument 412 /missing.html\n"
    site.start()
    tag = content_tag(b"<p>not here</p>", "text/html")
    for target, headers, status in (("/nowhere", {}, 404), ("/nowhere", {"If-None-Match": tag}, 404),
                                    ("/nowhere", {"If-None-Match": "*"}, 404), ("/p.html", {"If-Match": OTHER}, 412)):
        answer = site.get(target, headers)
        assert (answer.status, answer.etag, answer.body) == (status, None, b"<p>not here</p>"), answer
    assert site.get("/missing.html").etag == tag


def test_content_type_and_salt_are_part_of_the_tag(site):
    site.add("a.txt", b"[]")
    site.add("a.json", b"[]")
    site.add("salted/a.json", b"[]")
    site.config += "<Location /salted>\nETagSalt 2026-11\n</Location>\nAddDefaultCharset utf-8\n"
    site.start()
    ok(site.get("/a.json"), b"[]", content_tag(b"[]", "application/json"))
    ok(site.get("/a.txt"), b"[]", content_tag(b"[]", "text/plain; charset=utf-8"))
    ok(site.get("/salted/a.json"), b"[]", content_tag(b"[]", "application/json", salt="2026-11"))


def secret_file(folder, *secrets):
    return machine.write(folder / "secret", "".join(f"{s}\n" for s in secrets), 0o400)


def test_secret_and_its_rotation(site):
    site.add("same.html", BODY)
    site.config += f"ETagSecretFile {secret_file(site.folder, 'first secret of enough bytes 012345')}\n"
    site.start()
    first = {name: site.get(name).etag for name in ("/p.html", "/same.html")}
    assert all(OURS.match(t) and t != TAG for t in first.values())
    assert first["/p.html"] != first["/same.html"], "equal bytes show as equal"
    secret_file(site.folder, "second secret of enough bytes 01234", "first secret of enough bytes 012345")
    site.graceful()
    second = wait_for(lambda: (t := site.get("/p.html").etag) != first["/p.html"] and t, "the new secret to sign")
    assert OURS.match(second) and second not in first.values()
    for tag in (first["/p.html"], second):
        not_modified(site.get("/p.html", {"If-None-Match": tag}), tag)
    ok(site.get("/p.html", {"If-None-Match": first["/same.html"]}), tag=second)
    ok(site.get("/p.html", {"If-None-Match": TAG}), tag=second)
    assert site.get("/p.html", {"If-Match": first["/p.html"]}).status == 200
    assert site.get("/p.html", {"If-Match": first["/same.html"]}).status == 412


def test_sendfile_stays(site, work):
    """The digest is made without reading the response's buckets: the kernel still sends the file."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed: cannot see whether sendfile is used")
    big = os.urandom(1_000_000)
    site.add("big.txt", big, mtime=time.time() - DAY)
    site.config += "EnableSendfile On\n"
    site.start()
    trace = work / "trace"
    tracer = subprocess.Popen([strace, "-f", "-qq", "-e", "trace=sendfile", "-o", trace,
                               *[a for pid in site.children() for a in ("-p", str(pid))]],
                              stderr=subprocess.PIPE, text=True)
    try:
        def attached():
            if tracer.poll() is not None:
                pytest.skip("ptrace is not permitted here: " + tracer.stderr.read().strip())
            return all(f"TracerPid:\t{tracer.pid}" in open(f"/proc/{pid}/status").read() for pid in site.children())

        wait_for(attached, "strace to attach")
        for _ in range(2):  # hashed, then from the cache
            ok(site.get("/big.txt"), big, content_tag(big, "text/plain"))
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
    sent = [int(line.rsplit("=", 1)[1].split()[0]) for line in trace.read_text().splitlines()
            if "sendfile(" in line and "= -1" not in line and "unfinished" not in line]
    assert sum(n for n in sent if n > 0) == 2 * len(big), trace.read_text()
