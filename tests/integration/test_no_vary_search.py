# SPDX-License-Identifier: Apache-2.0
"""ETagIgnoreQuery No-Vary-Search: URLs that differ in what their responses say does not count share one record."""
import pytest
from env.backend import answer
from env.process import wait_for
from env.tags import content_tag
from test_cluster import cluster  # noqa: F401 (a fixture)
from test_early import HOST, HTML, OTHER, PAGE, TAG, is_early, learn, reaches, restart, site, xadd  # noqa: F401

NVS = "No-Vary-Search"
UTM = 'params=("utm" "gclid")'


@pytest.fixture
def searching(site):
    restart(site, f"ETagIgnoreQuery {NVS}\n{site.config}")
    return site


def says(backend, value, body=PAGE, more=()):
    """Every query of /p is answered with this body, and with this field if there is any."""
    backend.page("/p", body, [*HTML, *more] + ([(NVS, value)] if value is not None else []))


def by_query(backend, value, key):
    """The body depends on what key makes of the query, and the field says the truth."""
    def serve(request, send):
        send(answer(body_of(request.target.partition("?")[2]), [*HTML, (NVS, value)], request=request))
        return True

    def body_of(query):
        return f"<p>{key(query)}</p>".encode()

    backend.routes["/p"] = serve
    return lambda query: content_tag(body_of(query), "text/html")


def asks(site, backend, query):
    """Whether /p?query, with the tag of PAGE, reaches the backend."""
    return not is_early(site, backend, "/p" + query, TAG)


# ---- what is one, and what is not ----

@pytest.mark.parametrize("value, first, same, others", [
    (UTM, "?a=1&utm=x", ["?a=1", "?utm&a=1", "?a=1&gclid=7&utm=2&utm", "?%61=1&%75tm=2", "?&a=1&&"],
     ["?utm=x", "?a=2", "?a=1&a=1", "?a=1&b=1", "?a=1&UTM=2", "?A=1"]),
    (UTM, "", ["?", "?utm=1"], ["?a"]),
    ('except=("a")', "?a=1&b=2", ["?a=1", "?c=1&a=1"], ["?b=2", "?a=2", "?a=1&a=2"]),
    ("except=()", "?a=1", ["", "?b=2"], []),
    ("key-order", "?a=1&b=2", ["?b=2&a=1"], ["?a=1", "?a=2&b=1"]),
    (f"{UTM}, key-order", "?a=1&b=2", ["?b=2&utm&a=1"], ["?b=2", "?b=1&a=2"]),
    ('params=("a"), x-new=("y")', "?a=1", ["?a=2", ""], ["?b"]),
    ('params=("a+b" "%C3%A9")', "?a%20b=1", ["?%c3%a9=2", ""], ["?a%2Bb"]),
    # not said, or not understood: the query as it is
    (None, "?a=1", [], ["?a=2", "", "?%61=1", "?a=1&"]),
    *[(value, "?a=1", [], ["?a=2", "?a=1&utm", "", "?%61=1"])
      for value in ("", "params", "params=utm", 'params="utm"', 'params=("utm" 1)', 'params=("utm"), except=("a")',
                    'params=("utm"),', 'params=("utm"', 'key-order=1, params=("utm")', "key-order=?0", "params=()",
                    'params=("' + "u" * 300 + '")', 'Params=("utm")')],
])
def test_what_shares_a_record(searching, backend, value, first, same, others):
    says(backend, value)
    assert reaches(searching, backend, "/p" + first).etag == TAG
    for query in same:
        assert not asks(searching, backend, query), query
    for query in others:
        assert asks(searching, backend, query), query
    assert not asks(searching, backend, first)
    assert searching.get("/p" + first).header(NVS) == (value if value is None else value.strip())


def test_only_where_it_is_asked_for(site, backend):
    says(backend, UTM)
    learn(site, backend, "/p?a=1&utm=x")
    assert asks(site, backend, "?a=1&utm=y")


def test_two_pages_of_one_path(searching, backend):
    """Each query that counts has its own tag, and none is lent another's."""
    tag = by_query(backend, UTM, lambda q: [p for p in q.split("&") if p and not p.startswith("utm")])
    for n in "1", "2":
        assert reaches(searching, backend, f"/p?a={n}&utm=x").etag == tag(f"a={n}")
    for n, other in ("1", "2"), ("2", "1"):
        assert is_early(searching, backend, f"/p?utm=y&a={n}", tag(f"a={n}"))
        assert reaches(searching, backend, f"/p?a={n}", {"If-None-Match": tag(f"a={other}")}).status == 200


def test_beside_vary(searching, backend):
    says(backend, UTM, more=[("Vary", "X-Kind")])
    learn(searching, backend, "/p?utm=1", headers={"X-Kind": "a"})
    assert is_early(searching, backend, "/p?utm=2", TAG, {"X-Kind": "a"})
    assert not is_early(searching, backend, "/p?utm=3", TAG, {"X-Kind": "b"})


def test_what_a_rewrite_adds_always_counts(searching, backend):
    restart(searching, f"{searching.config}RewriteEngine On\n"
                       "RewriteCond %{QUERY_STRING} utm=(\\w)\nRewriteRule ^/p$ /p?own=%1 [QSA,PT]\n")
    says(backend, UTM)
    learn(searching, backend, "/p?utm=a")
    assert asks(searching, backend, "?utm=b") and asks(searching, backend, "")


@pytest.mark.parametrize("source, fields", [("generation", []), ("version", [("ETag-Version", "7")]),
                                            ("upstream", [("ETag", '"own"')])])
def test_with_every_source(searching, backend, source, fields):
    restart(searching, f"ETagSource {source}\n{searching.config}")
    says(backend, UTM, more=fields)
    tag = reaches(searching, backend, "/p?a=1&utm=1").etag
    assert tag and is_early(searching, backend, "/p?a=1&utm=2", tag)
    assert reaches(searching, backend, "/p?a=2", {"If-Match": OTHER}).status in (200, 412)


# ---- responses that say different things ----

@pytest.mark.parametrize("other", [None, 'params=("a")', "key-order", 'except=("b")'])
def test_what_responses_say_differently_counts_in_every_way(searching, backend, other):
    """Then a request shares a response only with those that are equal to it by all of them."""
    says(backend, UTM)
    learn(searching, backend, "/p?a=1&utm=1")
    assert not asks(searching, backend, "?a=1&utm=2")
    says(backend, other)
    reaches(searching, backend, "/p?b=1")
    new = b"<p>other</p>"
    says(backend, other, new)
    for query in ("?a=1&utm=3", "?a=1&utm=1", "?a=2"):
        assert reaches(searching, backend, "/p" + query, {"If-None-Match": TAG}).body == new
    assert is_early(searching, backend, "/p?a=1&utm=3", content_tag(new, "text/html"))


# ---- invalidation ----

@pytest.mark.parametrize("fields", [
    ("url", f"{HOST}/p"), ("url", f"{HOST}/p?a=1"), ("url", f"{HOST}/p?a=1&utm=other"), ("url", f"https://{HOST}/p?zzz"),
    ("url", f"{HOST}/%70?utm"), ("prefix", f"{HOST}/p"), ("host", HOST), ("all", "1")])
def test_any_spelling_forgets(searching, backend, etagd, fields):
    says(backend, UTM)
    learn(searching, backend, "/p?a=1&utm=1")
    xadd(etagd, *fields)
    for query in ("?a=1", "?a=1&utm=1", "?utm=9&a=1"):
        changed = b"<p>" + query.encode() + b"</p>"
        says(backend, UTM, changed)
        assert reaches(searching, backend, "/p" + query, {"If-None-Match": TAG}).body == changed
        xadd(etagd, *fields)


def test_a_write_forgets(searching, backend):
    says(backend, UTM)
    learn(searching, backend, "/p?a=1&utm=1")
    assert reaches(searching, backend, "/p?utm=7", method="POST").status == 200
    reaches(searching, backend, "/p?a=1&utm=2", {"If-None-Match": TAG})


# ---- nodes ----

@pytest.fixture
def nodes(cluster):
    for node in cluster.nodes:
        restart(node, f"ETagIgnoreQuery {NVS}\n{node.config}")
    return cluster


@pytest.mark.parametrize("other", [None, 'except=("utm")', 'params=("a")'])
def test_nodes_that_were_told_different_things(nodes, other):
    """What one node's response says binds the others, who were told more was equal."""
    one, two, three = nodes.nodes
    says(nodes.backend, UTM)
    assert one.get("/p?a=1&utm=1").etag == TAG
    wait_for(lambda: nodes.is_early(three, target="/p?a=1&utm=2"), "what the first has learned")
    new = b"<p>changed</p>\n"
    says(nodes.backend, other, new)
    assert two.get("/p?a=1&utm=2").body == new
    for node in nodes.nodes:
        wait_for(lambda n=node: not nodes.confirms(n, PAGE, "/p?a=1&utm=2"), f"{node.folder.name} to be told", 2)
        assert not nodes.confirms(node, PAGE, "/p?a=1&utm=3")


def test_learned_on_one_node_early_on_all(nodes):
    says(nodes.backend, UTM)
    assert nodes.nodes[0].get("/p?a=1&utm=0").etag == TAG
    for n, node in enumerate(nodes.nodes):
        wait_for(lambda: nodes.is_early(node, target=f"/p?utm={n}&a=1"), f"{node.folder.name} to know")
    nodes.redis.cli("XADD", "{etag}:log", "*", "url", f"{HOST}/p?utm=nobody")
    says(nodes.backend, UTM, b"<p>changed</p>\n")
    for n, node in enumerate(nodes.nodes):
        wait_for(lambda: not nodes.confirms(node, PAGE, f"/p?a=1&utm={n}"), f"{node.folder.name} to forget", 2)
