# SPDX-License-Identifier: Apache-2.0
"""An early answer belongs to the request, the resource and the policy that made its record."""
import pytest
from env import machine
from env.process import wait_for
from test_early import (HOST, HTML, OTHER, PAGE, TAG, is_early, learn, reaches, restart, site,  # noqa: F401 (site is a fixture)
                        xadd)
from test_generated_paths import AUTH_MODULES, auth, basic

KEY = f"http://{HOST}/p"


# ---- the policy ----

@pytest.mark.parametrize("directive", ["ETagVary X-Kind", "ETagIgnoreQuery utm_source", "ETagSource digest", "ETagSalt 2",
                                       f"ETagBaseURL http://{HOST}"])
def test_another_policy_knows_nothing(site, backend, directive):
    """What was learned stays in the table over a restart of httpd, for those alone who would have learned the same."""
    learn(site, backend)
    restart(site, site.config)
    assert is_early(site, backend, "/p", TAG)
    restart(site, f"{directive}\n{site.config}")
    reaches(site, backend, "/p", {"If-None-Match": TAG})


@pytest.mark.parametrize("inside, status", [("Require all denied", 403), ("ETagEarly Off", 304), ("ETagSalt b", 200),
                                            ("ETagSource upstream", 200)])
def test_if_sections_decide_for_their_own_requests(site, backend, inside, status):
    """<If>: authorization and configuration are the request's, whoever made the record."""
    site.expect_log("AH01630: client denied")
    chosen = {"X-Kind": "b", "If-None-Match": TAG}
    restart(site, f"{site.config}<If \"%{{HTTP:X-Kind}} == 'b'\">\n{inside}\n</If>\n")
    learn(site, backend)
    before = backend.count()
    a = site.get("/p", chosen)
    assert a.status == status and backend.count() == before + (status != 403), a
    assert is_early(site, backend, "/p", TAG)


# ---- the resource ----

@pytest.mark.parametrize("same", [True, False])
def test_a_script_counts_by_its_place_below_the_document_root(new_httpd, etagd, same):
    """Nodes keep equal trees in different folders; another script under the same URL is another resource."""
    nodes = [new_httpd(modules=["cgid", "alias"], etagd=etagd) for _ in range(2)]
    for site, name in zip(nodes, ("page.cgi", "page.cgi" if same else "other.cgi")):
        script = site.add(name, "#!/bin/sh\necho >>${0%/*}/runs\nprintf 'Content-Type: text/html\\n\\n<p>page</p>'\n")
        script.chmod(0o755)
        site.start(f"ETagEngine On\nETagEarly On\nETagTimeout 1s\nAlias /page {site.docs}/{name}\n<Directory {site.docs}>\n"
                   "Options ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n")
    tag = nodes[0].get("/page").etag
    assert nodes[0].get("/page", {"If-None-Match": tag}).status == 304
    assert nodes[1].get("/page", {"If-None-Match": tag}).status == 304
    ran = [len((site.docs / "runs").read_text()) if (site.docs / "runs").exists() else 0 for site in nodes]
    assert ran == ([1, 0] if same else [1, 1])


def test_a_response_without_vary_belongs_to_the_names_known_so_far(site, backend):
    """Names only grow: what says nothing of X-Kind is for this request's X-Kind alone."""
    backend.page("/p", PAGE, HTML + [("Vary", "X-Kind")])
    learn(site, backend, headers={"X-Kind": "a"})
    backend.page("/p", PAGE)
    learn(site, backend, headers={"X-Kind": "b"})
    reaches(site, backend, "/p", {"X-Kind": "c", "If-None-Match": TAG})
    reaches(site, backend, "/p", {"If-None-Match": TAG})
    for kind in "ab":
        assert is_early(site, backend, "/p", TAG, {"X-Kind": kind})


# ---- the request ----

@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_methods_without_conditionals(site, backend, method):
    learn(site, backend)
    for conditional in ({"If-None-Match": TAG}, {"If-None-Match": "*"}, {"If-Match": OTHER}):
        a = reaches(site, backend, "/p", conditional, method)
        assert (a.status, a.body) == (200, PAGE), a


@pytest.mark.parametrize("method", ["PROPFIND", "QUERY", "SEARCH", "REPORT", "OPTIONS"])
def test_other_safe_methods_teach_nothing(site, backend, etagd, method):
    for _ in range(2):
        assert reaches(site, backend, "/p", method=method).status == 200
    assert etagd.call("ETAG", "GET", KEY) is None
    reaches(site, backend, "/p", {"If-None-Match": TAG})


def test_a_user_without_a_header_is_a_credential(site, backend):
    """Whatever authentication left of the request: a name was found."""
    site.modules += AUTH_MODULES
    restart(site, f"{site.config}<Location /mine>\n{auth(site)}RequestHeader unset Authorization\n</Location>\n")
    backend.page("/mine", PAGE)
    for _ in range(2):
        assert site.get("/mine", basic("secret")).etag == TAG
        assert not is_early(site, backend, "/mine", TAG, basic("secret"))
    assert backend.requests[-1].header("Authorization") is None


# ---- the tag ----

def test_secrets_rotate_without_learning(site, backend, etagd):
    """Records hold the unsigned value: a new secret signs it, an older one is still recognised."""
    def secrets(*names):
        machine.write(site.folder / "secret", "".join(f"{n} secret of enough bytes 0123456789\n" for n in names), 0o400)

    secrets("first")
    restart(site, f"ETagSecretFile {site.folder}/secret\n{site.config}")
    first = site.get("/p").etag
    assert first != TAG and is_early(site, backend, "/p", first)
    learned = etagd.info("Store")["puts"]
    secrets("second", "first")
    site.graceful()
    wait_for(lambda: site.get("/p", {"If-None-Match": OTHER}).etag != first, "the new secret to sign")
    second = site.get("/p").etag
    assert is_early(site, backend, "/p", first) and is_early(site, backend, "/p", second)
    secrets("second")
    site.graceful()
    wait_for(lambda: site.get("/p", {"If-None-Match": first}).status == 200, "the first secret to be forgotten")
    assert is_early(site, backend, "/p", second)
    assert etagd.info("Store")["puts"] == learned


@pytest.mark.parametrize("source, header", [("digest", ()), ("version", [("ETag-Version", "r42")])])
def test_salt_changes_every_recipe(site, backend, source, header):
    backend.page("/p", PAGE, [*HTML, *header])
    before = f"ETagSource {source}\n{site.config}"
    restart(site, before)
    old = site.get("/p").etag
    assert is_early(site, backend, "/p", old)
    restart(site, f"ETagSalt 2\n{before}")
    new = reaches(site, backend, "/p", {"If-None-Match": old})
    assert new.status == 200 and new.etag[:-23] == old[:-23] and new.etag != old
    assert is_early(site, backend, "/p", new.etag)


# ---- the log ----

def test_writes_append_only_where_something_is_early(site, backend, etagd):
    restart(site, f"{site.config}<Location /late>\nETagEarly Off\n</Location>\n")
    for path in ("/late/p", "/p"):
        backend.page(path, PAGE)
    before = int(etagd.call("XLEN", "{etag}:log"))
    for _ in range(3):
        reaches(site, backend, "/late/p", method="POST")
    assert int(etagd.call("XLEN", "{etag}:log")) == before
    reaches(site, backend, "/p", method="POST")
    assert int(etagd.call("XLEN", "{etag}:log")) == before + 1


@pytest.mark.parametrize("fields", [("url", "www.exmaple.com/p"), ("host", "exmaple.com"), ("prefix", "/p"),
                                    ("group", "exmaple.com news"), ("url", ""), ("tga", "x")])
def test_what_is_not_understood_counts_as_all(site, backend, etagd, fields):
    learn(site, backend)
    before = int(etagd.info("Log")["operations_widened"])
    xadd(etagd, *fields)
    reaches(site, backend, "/p", {"If-None-Match": TAG})
    assert int(etagd.info("Log")["operations_widened"]) == before + 1
    assert "forgets everything" in etagd.tail() and " ".join(fields).strip() in etagd.tail()
