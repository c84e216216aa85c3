# SPDX-License-Identifier: Apache-2.0
"""ETag-Cache-Control (RFC 9213): how long, and whether at all, a response is answered with before its handler."""
import pytest
from env.process import wait_for
from test_early import HOST, HTML, PAGE, TAG, is_early, learn, reaches, restart, site  # noqa: F401 (site is a fixture)

FIELD = "ETag-Cache-Control"


def serve(backend, *fields):
    backend.page("/p", PAGE, [*HTML, *fields])


def never_early(site, backend, headers=()):
    for _ in range(2):
        reaches(site, backend, "/p", headers)
        assert not is_early(site, backend, "/p", TAG, headers)


def test_it_says_how_long(site, backend):
    """Shorter than ETagTTL, and longer."""
    serve(backend, (FIELD, "max-age=1"))
    learn(site, backend)
    wait_for(lambda: not is_early(site, backend, "/p", TAG), "the second to pass", 5)
    restart(site, "ETagTTL 1s\n" + site.config)
    for path, value in (("/long", "max-age=600"), ("/short", "other")):
        backend.page(path, PAGE, [*HTML, (FIELD, value)])
        learn(site, backend, path)
    wait_for(lambda: not is_early(site, backend, "/short", TAG), "ETagTTL to pass", 5)
    assert is_early(site, backend, "/long", TAG)


def test_a_shared_caches_lifetime_goes_first(site, backend):
    serve(backend, (FIELD, "max-age=600, s-maxage=0"))
    never_early(site, backend)
    serve(backend, (FIELD, "s-maxage=600, max-age=0"))
    learn(site, backend)


@pytest.mark.parametrize("value", [
    "no-store", "private", "no-cache", "max-age=0", "max-age=600, no-store", "no-store, max-age=600", 'private="x-a"',
    'no-cache="set-cookie", max-age=600', "no-store;x=1", "no-store=?0", "max-age=-5", "max-age=1.5", 'max-age="600"',
    "max-age", "max-age=soon", "max-age=600, max-age=0", "must-revalidate, max-age=0"])
def test_it_forbids(site, backend, etagd, value):
    """Also beside a Cache-Control that would allow everything; freshness that is no number of seconds is none."""
    serve(backend, ("Cache-Control", "public, max-age=600"), (FIELD, value))
    never_early(site, backend)
    assert etagd.call("ETAG", "GET", f"http://{HOST}/p") is None


@pytest.mark.parametrize("control", ["no-store", "private, max-age=0", "no-cache"])
def test_cache_control_says_nothing_beside_it(site, backend, control):
    """2.2: the first field of the target list that is valid decides; Cache-Control is for those behind us."""
    serve(backend, ("Cache-Control", control), (FIELD, "max-age=600"))
    learn(site, backend)
    assert site.get("/p", {"If-None-Match": TAG}).header("Cache-Control") == control


@pytest.mark.parametrize("value", ["", "max-age=600,", "max-age=600,,x", "MAX-AGE=600", "max-age=600; Public",
                                   "max-age=", 'x="', "max-age=600 public", "no-store,"])
@pytest.mark.parametrize("control, learned", [("no-store", False), ("private", False), ("max-age=5", True)])
def test_a_malformed_field_is_none(site, backend, value, control, learned):
    """2.1: then Cache-Control is what there is, and no more is trusted than without the field."""
    serve(backend, ("Cache-Control", control), (FIELD, value))
    if learned:
        learn(site, backend)
    else:
        never_early(site, backend)


def test_lines_of_it_are_one(site, backend):
    serve(backend, (FIELD, "max-age=600"), (FIELD, "no-store"))
    never_early(site, backend)


@pytest.mark.parametrize("control, value, learned", [
    ("public", "max-age=600", False), ("private", "public, max-age=600", True), ("public", "public=?0", False),
    ("public", 'public="x"', False), ("public", "max-age=", True)])
def test_credentials(site, backend, control, value, learned):
    """What is answered to one user is for all only where the field that counts says so."""
    serve(backend, ("Cache-Control", control), (FIELD, value))
    reaches(site, backend, "/p", {"X-Api-Key": "a"})
    assert is_early(site, backend, "/p", TAG) is learned


def test_nobody_else_sees_it(site, backend):
    """Neither on a page nor on what we answer for it; other caches' fields pass."""
    others = [("CDN-Cache-Control", "max-age=60"), ("Surrogate-Control", "max-age=9")]
    serve(backend, *others, (FIELD, "max-age=600"))
    for method, headers in (("GET", {}), ("HEAD", {}), ("QUERY", {}), ("GET", {"If-None-Match": TAG})):
        got = site.request(method, "/p", headers)
        assert got.header(FIELD) is None
        if got.status == 200:
            assert [got.header(n) for n, _ in others] == [v for _, v in others]
    backend.page("/gone", b"gone", [*HTML, (FIELD, "max-age=600")], status=404)
    assert site.get("/gone").header(FIELD) is None
    restart(site, site.config.replace("ETagEngine On", "ETagEngine DetectionOnly"))
    assert site.get("/p").header(FIELD) == "max-age=600"


def test_anothers_field_is_not_for_us(site, backend):
    serve(backend, ("CDN-Cache-Control", "no-store"), ("Mod-Cache-Control", "no-store"))
    learn(site, backend)


def test_the_server_may_set_it(site, backend):
    restart(site, f"{site.config}Header set {FIELD} no-store\n")
    never_early(site, backend)
    assert site.get("/p").header(FIELD) is None
