# SPDX-License-Identifier: Apache-2.0
"""Every kind of content: what stock httpd answers stays as it is but for the tag, and the tag behaves as RFC 9110 says."""
import gzip
import re
import subprocess

import pytest
from env import kinds, machine
from env.backend import Backend
from env.etagd import Etagd
from env.httpd import Httpd
from env.php import Php
from env.tags import OURS

NEVER_ON_304 = ("Content-Type", "Content-Encoding", "Content-Length", "Content-Range")
ALWAYS_ON_304 = ("ETag", "Cache-Control", "Content-Location", "Vary", "Expires", "Set-Cookie", "X-Kind")
# Headers that are ours to change on a 200. A tag makes a body rangeable; held back, its length is known.
OUR_HEADERS = {"etag", "accept-ranges", "content-length", "transfer-encoding", "date", "expires"}
OTHER = '"d' + "A" * 22 + '"'
# The dates of files, which are not stock's by default: test_last_modified.py.
FLAVOURS = {"late": "ETagEngine On\n", "early": "ETagEngine On\nETagEarly On\nETagLastModified Pass\n",
            "digest": "ETagEngine On\nETagSource digest\nETagLastModified Pass\n",
            "alone": "ETagEngine On\nETagEarly On\nETagLastModified Pass\n"}  # without any etagd


@pytest.fixture(scope="module")
def sites(shared_servers, mpm):
    """By flavour, and "stock": one folder of documents, one application."""
    with Backend() as backend:
        kinds.serve(backend)
        made, docs, etagd, php = {}, None, shared_servers(Etagd).start(), shared_servers(Php).start()
        for name, engine in {**FLAVOURS, "stock": ""}.items():
            socket = etagd if name != "alone" else etagd.folder / "nobody"
            site = shared_servers(Httpd, modules=kinds.modules(mpm), mpm=mpm, own=bool(engine), etagd=socket if engine else None)
            docs = docs or site.docs
            site.config = engine + kinds.config(site, backend, php, docs)
            site.expect_log("AH0|malformed|proxy|nobody")
            made[name] = site
        kinds.fill(docs)
        for site in made.values():
            site.start()
        kinds.wait_settled(made["stock"])
        yield made


def body_of(a):
    """Decoded, where Python can: coded bytes differ with where the coder was flushed."""
    coding = a.header("Content-Encoding")
    return {"br": b"", "zstd": a.body, None: a.body}.get(coding) if coding in ("br", "zstd", None) else gzip.decompress(a.body)


def headers_of(a, without=OUR_HEADERS):
    return sorted((n.lower(), v) for n, v in a.headers if n.lower() not in without)


def whole(answer, plain):
    assert (answer.status, answer.etag) == (200, plain.etag) and body_of(answer) == body_of(plain), answer


def not_modified(answer, plain, tag):
    assert (answer.status, answer.etag, answer.body) == (304, tag, b""), answer
    assert not any(answer.all(n) for n in NEVER_ON_304), answer
    for name in ALWAYS_ON_304:
        if name == "Vary" and plain.header(name) == "*,Accept-Encoding":  # httpd's spelling of "*"
            assert answer.header(name) == "*"
        elif name not in ("ETag", "Expires", "Set-Cookie"):
            assert answer.all(name) == plain.all(name), (name, answer, plain)
    assert bool(answer.all("Expires")) == bool(plain.all("Expires"))


def check_tag(site, target, ask, plain):
    """What a tag must do, whoever made it."""
    tag = plain.etag

    def get(**more):
        return site.get(target, {**ask, **{k.replace("_", "-"): v for k, v in more.items()}})

    not_modified(get(If_None_Match=tag), plain, tag)
    not_modified(get(If_None_Match=f'"x", {tag}, "y"'), plain, tag)
    assert get(If_None_Match="*").status == 304
    whole(get(If_None_Match=OTHER), plain)
    not_modified(get(If_None_Match=tag, If_Modified_Since="Sun, 01 Nov 2020 10:00:00 GMT"), plain, tag)
    not_modified(get(If_None_Match=tag, Range="bytes=0-9"), plain, tag)
    assert get(If_Match=OTHER).status == 412
    if tag.startswith("W/"):
        assert get(If_Match=tag).status == 412
    else:
        whole(get(If_Match=tag), plain)
        assert get(If_None_Match="W/" + tag).status == 304


def check_ranges(site, target, ask, plain):
    n = len(plain.body)

    def get(**more):
        return site.get(target, {**ask, **{k.replace("_", "-"): v for k, v in more.items()}})

    whole(get(Range="bytes=0-9", If_Range=OTHER), plain)
    coded = plain.all("Content-Encoding") and plain.etag.endswith(('-gzip"', '-br"'))
    if n < 20 or coded or plain.etag.startswith("W/"):
        if coded:
            whole(get(Range="bytes=0-9"), plain)
            whole(get(Range="bytes=0-9", If_Range=plain.etag), plain)
        return
    part = get(Range="bytes=5-14", If_Range=plain.etag)
    if part.status == 200:  # streamed: nothing to cut
        return whole(part, plain)
    assert (part.status, part.etag, part.body) == (206, plain.etag, plain.body[5:15]), part
    assert part.header("Content-Range") == f"bytes 5-14/{n}"
    assert get(Range="bytes=-3").body == plain.body[-3:]
    beyond = get(Range=f"bytes={n}-")
    assert beyond.status == 416 and not beyond.all("ETag")
    several = get(Range="bytes=0-1,5-9")
    assert several.status == 206 and several.etag == plain.etag
    assert several.header("Content-Type").startswith("multipart/byteranges")
    assert [p.split(b"\r\n\r\n")[1][:k] for p, k in zip(several.body.split(b"\r\n--")[1:], (2, 5))] == [
        plain.body[:2], plain.body[5:10]]


ASKS = {"plain": {}, "gzip": {"Accept-Encoding": "gzip"}, "br": {"Accept-Encoding": "br"}}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("target", kinds.PATHS)
def test_against_stock(sites, flavour, target):
    ours, stock = sites[flavour], sites["stock"]
    without = OUR_HEADERS | {"last-modified"} if flavour == "late" else OUR_HEADERS
    for ask in ASKS.values() if flavour == "late" else [ASKS["gzip"]]:
        for who in ({}, kinds.basic()) if "closed" in target else ({},):
            first, plain, reference = (s.get(target, {**ask, **who}) for s in (ours, ours, stock))
            assert (plain.status, body_of(plain)) == (reference.status, body_of(reference)), plain
            assert first.etag == plain.etag, (first, plain)
            assert headers_of(plain, without) == headers_of(reference, without), (plain, reference)
            if plain.status != 200:
                assert plain.all("ETag") == ([] if plain.status in (401, 403, 404) and "/app" not in target else reference.all("ETag"))
                continue
            if plain.etag:
                check_tag(ours, target, {**ask, **who}, plain)
                check_ranges(ours, target, {**ask, **who}, plain)
            head, stock_head = (s.head(target, {**ask, **who}) for s in (ours, stock))
            assert head.status == 200 and head.body == b"" and head.etag in (None, plain.etag)
            assert headers_of(head, without) == headers_of(stock_head, without)
            lengths = {str(n) for n in (len(plain.body), len(body_of(reference)))}  # whichever coding
            assert set(head.all("Content-Length")) <= lengths | set(stock_head.all("Content-Length"))


@pytest.mark.parametrize("target", kinds.PATHS)
def test_other_methods_are_stock(sites, target):
    """Status and tag of what is no GET."""
    for method in ("POST", "PUT", "PATCH", "OPTIONS", "DELETE"):
        if target.startswith("/dav/") and method in ("PUT", "DELETE"):
            continue
        ours, stock = (sites[s].request(method, target, {}, b"x") for s in ("late", "stock"))
        assert not any(OURS.match(t) for t in ours.all("ETag")), "only a GET's answer carries a tag of ours"
        assert (ours.status, ours.body) == (stock.status, stock.body), (method, ours, stock)
