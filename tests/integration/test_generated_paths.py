# SPDX-License-Identifier: Apache-2.0
"""Filters, authentication, rewriting and redirects: the tag is that of what this client may see."""
import base64
import hashlib
import time

import pytest
from env import machine
from env.process import wait_for
from env.tags import content_tag

PAGE = b"<p>the word is before</p>\n"
PROXY = ["proxy", "proxy_http"]
HTML = [("Content-Type", "text/html")]


def tag(body):
    return content_tag(body, "text/html")


def got(a):
    return a.status, a.etag, a.body


def executable(site, name, text):
    site.add(name, "#!/bin/sh\n" + text).chmod(0o755)


def basic(password):
    return {"Authorization": "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()}


AUTH_MODULES = ["auth_basic", "authn_file", "authz_user", "rewrite"]


def auth(site):
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    users = machine.write(site.folder / "users", f"ann:{{SHA}}{digest}\n")
    return f'AuthType Basic\nAuthName "x"\nAuthUserFile {users}\nRequire valid-user\n'


@pytest.mark.parametrize("target", ["/p.html", "/p.cgi"])
def test_substitute_reloaded_with_another_pattern(new_httpd, etagd, target):
    site = new_httpd(modules=["cgid", "filter", "substitute"], etagd=etagd)

    def conf(word):
        return (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                f'AddOutputFilterByType SUBSTITUTE text/html\nSubstitute "s/before/{word}/"\n</Directory>\n')

    site.add("p.html", PAGE, mtime=time.time() - 86400)
    executable(site, "p.cgi", "printf 'Content-Type: text/html\\n\\n'; cat ${0%/*}/p.html\n")
    site.start(conf("one"))
    one, two = PAGE.replace(b"before", b"one"), PAGE.replace(b"before", b"two")
    assert got(site.get(target)) == (200, tag(one), one)
    assert got(site.get(target, {"If-None-Match": tag(one)})) == (304, tag(one), b"")
    # The file's own bytes never went out.
    assert got(site.get(target, {"If-None-Match": tag(PAGE)})) == (200, tag(one), one)
    site.graceful(conf("two"))
    wait_for(lambda: site.get(target).body == two, "the children of before to end")
    assert got(site.get(target, {"If-None-Match": tag(one)})) == (200, tag(two), two)
    assert got(site.get(target, {"If-None-Match": tag(two)})) == (304, tag(two), b"")


def test_server_side_includes(new_httpd, etagd):
    site = new_httpd(modules=["include", "env"], etagd=etagd)

    def conf(value):
        return (f"ETagEngine On\nSetEnv WORD {value}\n<Directory {site.docs}>\nOptions Includes\n"
                "AddType text/html .shtml\nAddOutputFilter INCLUDES .shtml\n</Directory>\n")

    site.add("p.shtml", '<!--#echo var="WORD" -->,<!--#include virtual="/part.txt" -->', mtime=time.time() - 86400)
    site.add("part.txt", "part", mtime=time.time() - 86400)
    site.start(conf("one"))
    assert got(site.get("/p.shtml")) == (200, tag(b"one,part"), b"one,part")
    assert got(site.get("/p.shtml", {"If-None-Match": tag(b"one,part")})) == (304, tag(b"one,part"), b"")
    site.add("part.txt", "PART")
    assert got(site.get("/p.shtml", {"If-None-Match": tag(b"one,part")})) == (200, tag(b"one,PART"), b"one,PART")
    site.graceful(conf("two"))
    wait_for(lambda: site.get("/p.shtml").body == b"two,PART", "the children of before to end")
    assert got(site.get("/p.shtml", {"If-None-Match": tag(b"one,PART")})) == (200, tag(b"two,PART"), b"two,PART")


@pytest.mark.parametrize("early", ["", "ETagEarly On\n"])
def test_authentication_comes_first(new_httpd, etagd, backend, early):
    site = new_httpd(modules=PROXY + AUTH_MODULES, etagd=etagd)
    site.add("files/p.html", PAGE, mtime=time.time() - 86400)
    backend.page("/app/p", PAGE)
    backend.page("/app/public", PAGE, HTML + [("Cache-Control", "public")])
    site.config = (f"ETagEngine On\n{early}ProxyPass /app {backend.url}/app\n"
                   f"<LocationMatch ^/(files|app)>\n{auth(site)}</LocationMatch>\n")
    site.start()
    for target in ("/files/p.html", "/app/p", "/app/public"):
        for _ in range(2):
            assert got(site.get(target, basic("secret"))) == (200, tag(PAGE), PAGE)
            late = site.get(target, {**basic("secret"), "If-None-Match": tag(PAGE)})
            assert got(late) == (304, tag(PAGE), b"")
            for sent in (tag(PAGE), "*"):
                for who in ({}, basic("wrong")):
                    refused = site.get(target, {**who, "If-None-Match": sent})
                    assert (refused.status, refused.etag) == (401, None), refused
    site.expect_log("AH01617|password mismatch")


@pytest.mark.parametrize("early", ["", "ETagEarly On\n"])
def test_rewrite_to_a_protected_target(new_httpd, etagd, backend, early):
    """The request that is rewritten is not the one that is answered: its target decides who may see it."""
    site = new_httpd(modules=PROXY + AUTH_MODULES, etagd=etagd)
    site.add("secret/p.html", PAGE, mtime=time.time() - 86400)
    backend.page("/app/public", PAGE, HTML + [("Cache-Control", "public")])
    site.config = (f"ETagEngine On\n{early}ProxyPass /app {backend.url}/app\n"
                   f"<Directory {site.docs}>\nOptions FollowSymLinks\nRewriteEngine On\n"
                   "RewriteRule ^open$ /secret/p.html\nRewriteRule ^openapp$ /app/public\n</Directory>\n"
                   f"<LocationMatch ^/(secret|app)>\n{auth(site)}</LocationMatch>\n")
    site.start()
    for target in ("/open", "/openapp"):
        for _ in range(2):
            assert got(site.get(target, basic("secret"))) == (200, tag(PAGE), PAGE)
            assert got(site.get(target, {**basic("secret"), "If-None-Match": tag(PAGE)})) == (304, tag(PAGE), b"")
            for sent in (tag(PAGE), "*"):
                refused = site.get(target, {"If-None-Match": sent})
                assert (refused.status, refused.etag) == (401, None), refused


@pytest.fixture
def cgi(new_httpd, etagd):
    site = new_httpd(modules=["cgid", *AUTH_MODULES], etagd=etagd)
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                   "</Directory>\n")
    return site


@pytest.mark.parametrize("early", ["", "ETagEarly On\n"])
def test_script_that_redirects_internally(cgi, early):
    """Location: /path of a script: the client's conditionals are for what it gets in the end."""
    cgi.add("p.html", PAGE, mtime=time.time() - 86400)
    executable(cgi, "go.cgi", "printf 'Location: /p.html\\n\\n'\n")
    executable(cgi, "secret.cgi", "printf 'Location: /secret/p.html\\n\\n'\n")
    cgi.add("secret/p.html", PAGE, mtime=time.time() - 86400)
    cgi.config += f"{early}<Location /secret/>\n{auth(cgi)}</Location>\n"
    cgi.start()
    for _ in range(2):
        assert got(cgi.get("/go.cgi")) == (200, tag(PAGE), PAGE)
        assert got(cgi.get("/go.cgi", {"If-None-Match": tag(PAGE)})) == (304, tag(PAGE), b"")
        assert got(cgi.get("/go.cgi", {"If-None-Match": tag(b"")})) == (200, tag(PAGE), PAGE)
        assert cgi.get("/go.cgi", {"If-Match": tag(b"")}).status == 412
        assert got(cgi.get("/secret.cgi", basic("secret"))) == (200, tag(PAGE), PAGE)
        assert cgi.get("/secret.cgi", {"If-None-Match": tag(PAGE)}).status == 401


def test_directory_index_and_fallback(new_httpd, etagd):
    site = new_httpd(modules=["cgid"], etagd=etagd)
    site.add("index.html", PAGE, mtime=time.time() - 86400)
    executable(site, "front.cgi", "printf 'Content-Type: text/html\\n\\n%s' $REQUEST_URI\n")
    site.add("app/empty", "")
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                   f"</Directory>\nDirectoryIndex index.html\n<Directory {site.docs}/app>\n"
                   "FallbackResource /front.cgi\n</Directory>\n")
    site.start()
    assert got(site.get("/")) == (200, tag(PAGE), PAGE)
    assert got(site.get("/", {"If-None-Match": tag(PAGE)})) == (304, tag(PAGE), b"")
    for path in ("/app/a", "/app/b"):
        body = path.encode()
        assert got(site.get(path)) == (200, tag(body), body)
        assert got(site.get(path, {"If-None-Match": tag(body)})) == (304, tag(body), b"")
    assert got(site.get("/app/b", {"If-None-Match": tag(b"/app/a")})) == (200, tag(b"/app/b"), b"/app/b")


def test_generated_error_documents_have_no_tag(cgi):
    executable(cgi, "sorry.cgi", "printf 'Content-Type: text/html\\nETag: \"sorry\"\\n\\nsorry'\n")
    executable(cgi, "fail.cgi", "printf 'Status: 500\\nContent-Type: text/html\\n\\nfailed'\n")
    cgi.config += "ErrorDocument 404 /sorry.cgi\n"
    cgi.start()
    for headers in ({}, {"If-None-Match": '"sorry"'}, {"If-None-Match": tag(b"sorry")}, {"If-None-Match": "*"}):
        assert got(cgi.get("/nowhere", headers)) == (404, None, b"sorry")
        assert got(cgi.get("/fail.cgi", headers)) == (500, None, b"failed")


def test_action_handler_is_not_skipped(new_httpd, etagd):
    """A file that a script renders is generated content, whatever stat says of the file."""
    site = new_httpd(modules=["actions", "cgid"], etagd=etagd)
    site.add("page.tpl", b"template", mtime=time.time() - 86400)
    executable(site, "render.cgi", "printf 'Content-Type: text/html\\n\\nrendered '; cat ${0%/*}/word\n")
    site.add("word", "one")
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n"
                   "AddType text/html .tpl\nAddHandler render .tpl\nAction render /render.cgi\n</Directory>\n")
    site.start()
    first = b"rendered one"
    assert got(site.get("/page.tpl")) == (200, tag(first), first)
    assert got(site.get("/page.tpl", {"If-None-Match": tag(first)})) == (304, tag(first), b"")
    assert got(site.get("/page.tpl", {"If-None-Match": tag(b"template")})) == (200, tag(first), first)
    site.add("word", "two")
    assert got(site.get("/page.tpl", {"If-None-Match": tag(first)})) == (200, tag(b"rendered two"), b"rendered two")


def test_a_handler_that_serves_files_with_a_tag_of_its_own(new_httpd, etagd):
    """mod_file_cache sends a whole file as core does: the ETag beside it is the handler's word, not core's."""
    site = new_httpd(modules=["file_cache", "headers"], etagd=etagd)
    site.add("p.html", PAGE, mtime=1_700_000_000)
    site.expect_log("mod_file_cache is loaded|Header set ETag")
    conf = f"CacheFile {site.docs}/p.html\nFileETag None\n"
    site.start(f'ETagEngine On\n{conf}Header set ETag "\\"app-1\\"" early\n')
    assert got(site.get("/p.html")) == (200, '"app-1"', PAGE)
    site.stop()
    site.start(f"ETagEngine On\n{conf}")  # says nothing: the tag is of the bytes
    assert got(site.get("/p.html")) == (200, tag(PAGE), PAGE)
