# SPDX-License-Identifier: Apache-2.0
"""The internal GET behind a conditional write: it asks what a GET of the same URL would get now, takes nothing
from the write, shows nothing to its client and leaves nothing behind."""
import base64
import hashlib
import socket
import subprocess
import threading

import pytest
from env import machine
from env.backend import answer, chunk
from env.http import request_bytes
from env.tags import content_tag
from env.writes import NEW, OLD, Page, put, sent_to


# --- it takes nothing from the write ---

@pytest.mark.parametrize("kind", ["cgi", "cgid"])
def test_the_content_is_the_writes(scripted, kind):
    """httpd's CGI modules read a body whatever the method: a subrequest's must be empty, not the client's."""
    site = scripted(kind)
    tag = site.get("/p.cgi").etag
    assert put(site, "/p.cgi", b"x" * 100000, If_Match=tag).status == 204
    assert sent_to(site) == b"x" * 100000
    assert (site.docs / "methods").read_text().split() == ["GET", "GET", "PUT"]


@pytest.mark.parametrize("framing", [{}, {"Expect": "100-continue"}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("kind", ["cgid", "proxy"])
def test_a_refusal_waits_for_no_content(scripted, proxied, kind, framing):
    """A gigabyte is announced, none is sent; who expected a 100 got none and loses the connection."""
    site, page = (scripted(kind), None) if kind == "cgid" else proxied()
    length = {} if "Transfer-Encoding" in framing else {"Content-Length": "1000000000"}
    with site.connect() as c:
        c.send_raw(request_bytes("PUT", "/r" if page else "/p.cgi", {"If-Match": OLD, **length, **framing}))
        got = c.read("PUT")
        assert (got.status, got.header("Connection")) == (412, "close")
    assert not page or [(r.method, r.header("Expect")) for r in page.asked] == [("GET", None)]


@pytest.mark.parametrize("kind", ["cgid", "proxy"])
def test_who_expects_a_100_gets_it_after_the_judgement(scripted, proxied, kind):
    if kind == "proxy":
        site, page = proxied("Proxy100Continue Off")
        target, tag = "/r", page.tag
    else:
        site, target = scripted(kind), "/p.cgi"
        tag = site.get(target).etag
    with site.connect() as c:
        c.send_raw(request_bytes("PUT", target, {"If-Match": tag, "Content-Length": "3", "Expect": "100-continue"}))
        assert c.sock.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        c.send_raw(b"new")
        assert c.read("PUT").status == 204
    assert (page.writes == [b"new"]) if kind == "proxy" else sent_to(site) == b"new"
    if kind == "proxy":
        assert page.asked[0].header("Expect") is None


def test_the_connection_goes_on_after_a_refusal(proxied):
    site, page = proxied()
    with site.connect() as c:
        assert c.request("PUT", "/r", {"If-Match": OLD}, b"x" * 300000).status == 412
        assert c.get("/r").body == page.body
        assert c.request("PUT", "/r", {"If-Match": page.tag}, NEW).status == 204
    assert page.writes == [NEW]


def test_what_the_application_is_asked(proxied):
    """A GET by the same client, without what belongs to the write alone: a method override would have it write,
    an idempotency key would have its answer repeated to the write."""
    site, page = proxied()
    kept = {"Cookie": "a=b", "Authorization": "Bearer x", "Accept": "text/html", "Accept-Language": "de",
            "Accept-Encoding": "br", "User-Agent": "me", "Origin": "https://www.example.com", "X-Api-Key": "k"}
    dropped = {"Content-Type": "application/json", "Content-Encoding": "x", "Content-Language": "de",
               "X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "X-Method-Override": "DELETE",
               "Idempotency-Key": "1", "Range": "bytes=0-0", "If-Range": OLD, "If-Modified-Since": "x",
               "If-Unmodified-Since": "x", "If-None-Match": OLD, "If-Match": page.tag, "Prefer": "return=minimal",
               "If": '(["x"])', "Lock-Token": "<x>", "Destination": "/x", "Overwrite": "F", "Depth": "0",
               "Upgrade": "h2c", "Trailer": "x"}
    assert site.request("POST", "/r", {**kept, **dropped}, NEW).status == 204
    probe, write = page.asked
    assert (probe.method, probe.target, probe.body) == ("GET", "/r", b"")
    assert {n: probe.header(n) for n in kept} == kept
    assert [n for n in [*dropped, "Content-Length", "Transfer-Encoding"] if probe.header(n)] == []
    assert probe.header("Cache-Control") == "no-cache"
    for name in ("X-Forwarded-For", "X-Forwarded-Host", "Host"):
        assert probe.header(name) == write.header(name) is not None
    assert (write.method, write.body) == ("POST", NEW)
    for name in ("Range", "Content-Type", "X-HTTP-Method-Override", "Idempotency-Key", "If-None-Match"):
        assert write.header(name) == dropped[name]
    assert write.header("If-Match") is write.header("If-Unmodified-Since") is write.header("Cache-Control") is None


def test_a_backend_that_serves_one_connection_at_a_time(new_httpd, etagd):
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as stream:
                    while line := stream.readline():
                        length = 0
                        while (field := stream.readline().strip()):
                            if field.lower().startswith(b"content-length:"):
                                length = int(field.split(b":")[1])
                        stream.read(length)
                        seen.append(line.split()[0])
                        connection.sendall(answer(b"old", [("Content-Type", "text/html")]))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
        site.config = f"ETagEngine On\nProxyPass / http://127.0.0.1:{listener.getsockname()[1]}/ max=1\n"
        site.start()
        assert put(site, "/r", If_Match=content_tag(b"old", "text/html")).status == 200
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert seen == [b"GET", b"PUT"]


# --- it shows nothing to the client ---

def test_a_denied_page_behind_a_redirect(scripted):
    """A script that sends the GET on to where it may not: the error page is not the write's response."""
    site = scripted(directives="<Location /secret>\nRequire all denied\n</Location>\n"
                               "ErrorDocument 403 /denied.html\n")
    site.expect_log("AH01630")
    site.add("denied.html", "denied")
    site.add("response", "Location: /secret\n\n")
    with site.connect() as c:
        assert c.request("PUT", "/p.cgi", {"If-Match": OLD}, NEW).status == 412
        assert c.get("/denied.html").body == b"denied"
    assert sent_to(site) is None


def test_a_redirect_inside(scripted):
    site = scripted()
    site.add("response", "Location: /a.html\n\n")
    site.add("a.html", "a")
    tag = site.get("/p.cgi").etag
    assert tag == content_tag(b"a", "text/html")
    assert put(site, "/p.cgi", If_Match=OLD).status == 412 and sent_to(site) is None
    assert put(site, "/p.cgi", If_Match=tag).status == 204 and sent_to(site) == NEW
    (site.docs / "a.html").unlink()
    assert put(site, "/p.cgi", If_Match=tag).status == 412


def test_interim_responses_stay_inside(proxied, backend):
    site, page = proxied()

    def hinting(request, send):
        if request.method == "GET":
            send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
        return page.serve(request, send)

    backend.routes["/r"] = hinting
    with site.connect() as c:
        c.send_raw(request_bytes("PUT", "/r", {"If-Match": OLD}, NEW))
        assert c.sock.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 412"


CACHE = "CacheEnable disk /\nCacheRoot {run}\nCacheQuickHandler {quick}\nCacheIgnoreCacheControl {ignore}\n"


@pytest.mark.parametrize("ignore", ["Off", "On"])
@pytest.mark.parametrize("quick", ["On", "Off"])
def test_a_cached_page_is_not_the_current_one(new_httpd, etagd, backend, quick, ignore):
    page = Page(backend, headers=[("Cache-Control", "max-age=1000")])
    site = new_httpd(modules=["proxy", "proxy_http", "cache", "cache_disk"], etagd=etagd)
    site.config = (f"ETagEngine On\nProxyPass / {backend.url}/\n" +
                   CACHE.format(run=machine.own_folder(site.folder, "cache"), quick=quick, ignore=ignore))
    site.start()
    stale = site.get("/r").etag
    assert stale == page.tag and site.get("/r").status == 200 and len(page.asked) == 1
    page.body = b"<p>changed by another</p>\n"
    with site.connect() as c:
        got = c.request("PUT", "/r", {"If-Match": stale}, NEW)
        assert got.status in (412, 503) and page.body not in got.body and not page.writes
        if (quick, ignore) == ("Off", "On"):
            assert got.status == 503
            return  # mod_cache's handler was told to heed no client, and keeps us from knowing
        assert got.status == 412 and c.get("/r").status == 200
    assert put(site, "/r", If_Match=page.tag).status == 204 and page.writes == [NEW]


# --- it knows what a GET would carry, or that it does not know ---

def test_the_absolute_form(proxied):
    site, page = proxied()
    target = f"http://www.example.com:{site.port}/r?q"
    assert put(site, target, If_Match=OLD).status == 412
    assert put(site, target, If_None_Match=page.tag).status == 412 and not page.writes
    assert page.asked[-1].target == "/r?q"
    assert put(site, target, If_Match=page.tag).status == 204


def test_a_forward_proxy_judges_nothing(new_httpd, etagd, backend):
    """Conditions are the origin's to judge (RFC 9110 13.2.1), be it one that runs mod_etag: they arrive as they were sent,
    and pages of the proxy's own have no say."""
    page = Page(backend)
    site = new_httpd(modules=["proxy", "proxy_http"], etagd=etagd)
    site.config = "ETagEngine On\nProxyRequests On\n"
    site.start()
    site.add("r", "mine")
    for field in ("If-Match", "If-None-Match"):
        for tag in (page.tag, content_tag(b"mine", "text/html"), OLD):
            assert put(site, f"{backend.url}/r", **{field.replace("-", "_"): tag}).status == 204
            assert page.asked[-1].header(field) == tag and [r.method for r in page.asked].count("GET") == 0


@pytest.mark.parametrize("directives", ["ETagSource upstream", "ETagSource version digest\nETagVersion expr=7",
                                        "ETagSource upstream digest"])
def test_files_have_their_own_source(dav, directives):
    """Whatever ETagSource says, a file's tag is of its bytes."""
    site = dav(directives)
    site.add("f.txt", "one").chmod(0o666)
    tag = site.get("/f.txt").etag
    assert tag == content_tag(b"one", "text/plain")
    assert put(site, "/f.txt", If_Match=OLD).status == 412
    assert put(site, "/f.txt", If_Match=tag).status == 204
    assert put(site, "/f.txt", If_Match=tag).status == 412


def test_the_configuration_of_what_is_read(scripted):
    """Tags are made as the resource that a GET ends at is configured, not as the one that is written."""
    site = scripted(directives="<Files a.html>\nETagSalt s\n</Files>\n")
    site.add("response", "Location: /a.html\n\n")
    site.add("a.html", "a")
    tag = site.get("/p.cgi").etag
    assert tag == content_tag(b"a", "text/html", salt="s")
    assert put(site, "/p.cgi", If_Match=tag).status == 204


def test_a_page_where_we_do_not_act(scripted):
    site = scripted(directives="<Files a.html>\nETagEngine Off\n</Files>\n<Files b.html>\nSetEnv no-etag\n</Files>",
                    modules=["env"])
    for name in ("a.html", "b.html"):
        site.add("response", f"Location: /{name}\n\n")
        site.add(name, name)
        tag = content_tag(name.encode(), "text/html")
        assert site.get("/p.cgi").etag != tag
        assert put(site, "/p.cgi", If_Match=tag).status == 412 and sent_to(site) is None


def test_a_script_that_dies(scripted):
    site = scripted(directives="SetEnv ap_trust_cgilike_cl 1", modules=["env"])
    whole = "Content-Type: text/html\nContent-Length: 11\n\n<p>old</p>\n"
    site.add("response", whole)
    tag = site.get("/p.cgi").etag
    site.add("response", whole[:-5])
    for conditions in ({"If_Match": content_tag(b"<p>old", "text/html")}, {"If_None_Match": tag}):
        got = put(site, "/p.cgi", **conditions)
        assert got.status == 503 and got.header("Retry-After") and sent_to(site) is None


def test_a_chunked_body_that_is_cut_short(proxied, backend):
    """No length was announced: only the missing end tells."""
    site, page = proxied()
    site.expect_log("AH0")

    def half(request, send):
        if request.method != "GET":
            return page.serve(request, send)
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(page.body))
        return False

    backend.routes["/r"] = half
    for conditions in ({"If_Match": page.tag}, {"If_None_Match": OLD}):
        assert put(site, "/r", **conditions).status == 503 and not page.writes


def test_a_body_that_arrives_coded(proxied):
    site, page = proxied(headers=[("Content-Encoding", "gzip")])
    tag = content_tag(page.body, "text/html", coding="gzip")
    assert site.get("/r").etag == tag
    assert put(site, "/r", If_Match=page.tag).status == 412 and not page.writes
    assert put(site, "/r", If_Match=tag).status == 204


def test_a_filter_that_we_do_not_know(proxied):
    """It changes the body behind us: a GET has no tag, and none is current."""
    site, page = proxied("ExtFilterDefine up mode=output ftype=21 cmd=\"/usr/bin/tr a-z A-Z\"\nSetOutputFilter up",
                         modules=["ext_filter"])
    assert (site.get("/r").etag, site.get("/r").body) == (None, page.body.upper())
    assert put(site, "/r", If_Match=page.tag).status == 412 and not page.writes
    page.headers = [("ETag", '"dUpstream7890123456789_"')]
    assert site.get("/r").etag == '"dUpstream7890123456789_"'
    assert put(site, "/r", If_Match='"dUpstream7890123456789_"').status == 204


def test_a_redirect_is_no_empty_page(scripted):
    site = scripted()
    site.add("response", "Location: http://elsewhere.example.com/\n\n")
    for tag in (content_tag(b""), content_tag(b"", "text/html")):
        assert put(site, "/p.cgi", If_Match=tag).status == 412 and sent_to(site) is None
    assert put(site, "/p.cgi", If_None_Match=OLD).status == 412 and sent_to(site) is None


@pytest.mark.parametrize("status, expected", [(301, 412), (401, 412), (403, 412), (405, 412), (408, 503), (429, 503), (500, 503),
                                              (503, 503)])
def test_when_a_get_is_refused(proxied, status, expected):
    site, page = proxied()
    page.status = status
    for conditions in ({"If_Match": page.tag}, {"If_None_Match": OLD}):
        got = put(site, "/r", **conditions)
        assert got.status == expected and bool(got.header("Retry-After")) == (expected == 503) and not page.writes


@pytest.mark.parametrize("status", [404, 410])
def test_where_there_is_nothing(proxied, status):
    site, page = proxied()
    page.status = status
    assert put(site, "/r", If_Match=page.tag).status == 412 and not page.writes
    assert put(site, "/r", If_Match="*", If_None_Match=OLD).status == 412 and not page.writes
    assert put(site, "/r", If_None_Match=page.tag).status == 204
    page.status = 200
    assert put(site, "/r", If_Match=page.tag, If_None_Match="*").status == 412
    assert put(site, "/r", If_Match="*", If_None_Match=OLD).status == 204


def test_a_handler_that_says_nothing(new_httpd, etagd):
    """httpd ends such a response itself: an empty page."""
    site = new_httpd(modules=["lua"], etagd=etagd)
    script = machine.write(site.folder / "h.lua", "function handle(r)\n  r.content_type = 'text/html'\n"
                           "  if r.method ~= 'GET' then r:puts('written') end\n  return apache2.OK\nend\n")
    site.start(f"ETagEngine On\nLuaMapHandler ^/r {script}\n")
    assert put(site, "/r", If_Match=OLD).status == 412
    assert put(site, "/r", If_Match=content_tag(b"", "text/html")).body == b"written"


def test_a_page_without_a_tag_is_another_one(proxied):
    """The page is there and has no tag of ours: none that a client knows is current."""
    site, page = proxied("ETagSource upstream")
    assert put(site, "/r", If_Match=OLD).status == 412 and not page.writes
    assert put(site, "/r", If_None_Match=OLD).status == 204


def test_a_stream_is_not_read_to_its_end(proxied, backend):
    site, page = proxied()
    given_up = threading.Event()

    def stream(request, send):
        if request.method != "GET":
            return page.serve(request, send)
        send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                send(chunk(b"data: x\n\n" * 1000))
        except OSError:
            given_up.set()

    backend.routes["/r"] = stream
    assert put(site, "/r", If_Match=OLD).status == 412 and not page.writes
    assert given_up.wait(20)
    # What was not read to its end has a tag that nobody knows: it may be the one that is excluded.
    assert put(site, "/r", If_None_Match=OLD).status == 412 and not page.writes


@pytest.mark.parametrize("kind", ["cgi", "cgid"])
def test_a_script_that_streams_is_stopped(scripted, kind):
    site = scripted(kind)
    site.expect_log("AH0")
    site.add("p.cgi", "#!/bin/sh\nprintf 'Content-Type: text/event-stream\\n\\n'; exec yes\n").chmod(0o755)
    assert put(site, "/p.cgi", If_Match=OLD).status == 412


def test_a_long_body_is_read_to_its_end(proxied):
    site, page = proxied("ETagBufferLimit 4096")
    page.body = b"x" * 300000
    assert site.get("/r").etag is None
    assert put(site, "/r", If_None_Match=page.tag).status == 412 and not page.writes
    assert put(site, "/r", If_Match=page.tag).status == 204


@pytest.mark.parametrize("section, user, may_read", [
    ("<Limit GET>\nRequire all denied\n</Limit>", None, False),
    ("Require valid-user", "ann", True),
    ("<Limit GET>\nRequire user bob\n</Limit>\n<Limit PUT>\nRequire user ann\n</Limit>", "ann", False),
    ("Require method PUT", None, False),
    ("<Limit GET>\nDeny from all\n</Limit>\nRequire all granted", None, False),
    ("Satisfy Any\nAllow from all\nRequire valid-user", None, True),
    ("Satisfy Any\nDeny from all\nRequire valid-user", "ann", True)])
def test_who_may_write_and_not_read_learns_nothing(proxied, work, section, user, may_read):
    """Where GET is denied and PUT is not, no GET is made, and no tag is confirmed."""
    users = machine.write(work / "users", f"ann:{{SHA}}{base64.b64encode(hashlib.sha1(b'secret').digest()).decode()}\n")
    site, page = proxied(f'<Location /r>\nAuthType Basic\nAuthName x\nAuthUserFile {users}\n{section}\n</Location>',
                         modules=["auth_basic", "authn_file", "authz_user", "access_compat"])
    site.expect_log("AH01630|AH01797|AH01631")
    who = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()} if user else {}
    assert (site.get("/r", who).status == 200) == may_read
    page.asked.clear()
    answers = [put(site, "/r", If_None_Match=t, **who).status for t in (page.tag, OLD)]
    assert answers == ([412, 204] if may_read else [412, 412])
    assert [r.method for r in page.asked] == (["GET", "GET", "PUT"] if may_read else [])
    assert put(site, "/r", **who).status == 204


def test_a_rewritten_page_that_cannot_be_asked_for_directly(scripted):
    site = scripted(modules=["rewrite"], section="RewriteEngine On\nRewriteCond %{ENV:REDIRECT_STATUS} ^$\n"
                                                 "RewriteRule ^p\\.cgi - [F]\nRewriteRule ^item$ /p.cgi\n")
    tag = site.get("/item").etag
    assert tag and site.get("/p.cgi").status == 403
    assert put(site, "/item", If_Match=OLD).status == 412 and sent_to(site) is None
    assert put(site, "/item", If_Match=tag).status == 204 and sent_to(site) == NEW


def test_what_a_script_knows_of_the_request(scripted, etagd):
    """A page that shows the server's name, port and protocol is the same one for the internal GET."""
    site = scripted()
    site.add("p.cgi", "#!/bin/sh\ntest $REQUEST_METHOD = GET || { cat >${0%/*}/received; }\n"
                      "printf 'Content-Type: text/html\\n\\n'\nenv | sort | grep -E '^(SERVER_|REQUEST_|QUERY_|SCRIPT_|PATH_INFO"
                      "|HTTP_HOST|HTTP_IF|CONTENT_|HTTP_CONTENT|REMOTE_ADDR|GATEWAY_)'\n").chmod(0o755)
    for host in (site.host, f"{site.host}:{site.port}", f"{site.host}:80"):
        got = site.get("/p.cgi/a%20b?q=1", host=host)
        assert b"SERVER_PORT=" in got.body and b"SERVER_PROTOCOL=HTTP/1.1" in got.body and got.etag == content_tag(got.body, "text/html")
        assert site.request("PUT", "/p.cgi/a%20b?q=1", {"If-Match": OLD}, NEW, host=host).status == 412
        conditions = {"If-Match": got.etag, "If-Unmodified-Since": "x", "Content-Type": "x/y", "Content-Language": "de"}
        for method, content in (("PUT", NEW), ("DELETE", b"")):
            assert site.request(method, "/p.cgi/a%20b?q=1", conditions, content, host=host).status == 200


@pytest.mark.parametrize("module, section, directives, target", [
    ("dir", "DirectoryIndex p.cgi", "", "/"),
    ("dir", "FallbackResource /p.cgi", "", "/missing/item"),
    ("negotiation", "Options +MultiViews\nMultiviewsMatch Handlers", "", "/p"),
    ("actions", "Action written /p.cgi virtual", "<Location /act>\nSetHandler written\n</Location>", "/act")])
def test_whatever_leads_to_the_script(scripted, module, section, directives, target):
    site = scripted(directives=directives, modules=[module], section=section)
    tag = site.get(target).etag
    assert tag == content_tag(b"<p>old</p>\n", "text/html")
    (site.docs / "methods").unlink()
    with site.connect() as c:
        assert c.request("PUT", target, {"If-Match": OLD}, NEW).status == 412 and sent_to(site) is None
        assert c.request("PUT", target, {"If-Match": tag}, NEW).status == 204 and sent_to(site) == NEW
    assert (site.docs / "methods").read_text().split() == ["GET", "GET", "PUT"]


def test_over_http2(new_httpd, etagd, backend):
    page = Page(backend)
    site = new_httpd(modules=["proxy", "proxy_http", "http2"], etagd=etagd)
    site.config = f"ETagEngine On\nProtocols h2c http/1.1\nProxyPass /r {backend.url}/r\n"
    site.start()

    def curl(tag, size):
        body = machine.write(site.folder / "body", "x" * size)
        done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} "
                               "%{http_code}", "-H", f"If-Match: {tag}", "-H", f"Host: {site.host}", "-T", body,
                               site.url("/r")], text=True, capture_output=True, timeout=60)
        return done.stdout + done.stderr

    assert curl(OLD, 2) == "2 412" and not page.writes
    assert curl(page.tag, 200_000) == "2 204" and page.writes == [b"x" * 200_000]


def test_a_host_without_a_key_has_no_signed_tags(proxied, work):
    secrets = machine.write(work / "secrets", "a secret of sixteen bytes\n", 0o600)
    site, page = proxied(f"ETagSecretFile {secrets}")
    tag = site.get("/r").etag
    assert tag and site.get("/r", host="other.example.net").etag is None
    got = site.request("PUT", "/r", {"If-Match": tag}, NEW, host="other.example.net")
    assert got.status == 412 and not page.writes


def test_names_of_one_site_share_their_signed_tags(proxied, work):
    secrets = machine.write(work / "secrets", "a secret of sixteen bytes\n", 0o600)
    site, page = proxied(f"ETagSecretFile {secrets}\nETagBaseURL https://shop.example/")
    tag = site.get("/r", host="a.example.net").etag
    assert site.request("PUT", "/r", {"If-Match": OLD}, NEW, host="b.example.net:81").status == 412
    assert site.request("PUT", "/r", {"If-Match": tag}, NEW, host="b.example.net:81").status == 204 and page.writes


def test_lines_and_weak_tags(proxied):
    site, page = proxied()
    current, other = page.tag, '"d' + "B" * 22 + '"'
    assert site.request("PUT", "/r", [("If-None-Match", OLD), ("If-None-Match", f"W/{current}")], NEW).status == 412
    assert site.request("PUT", "/r", [("If-None-Match", f"{OLD}, {current[:-1]}-br\"")], NEW).status == 412
    assert site.request("PUT", "/r", [("If-Match", OLD), ("If-Match", other)], NEW).status == 412 and not page.writes
    assert site.request("PUT", "/r", [("If-Match", OLD), ("If-Match", current), ("If-None-Match", current)],
                        NEW).status == 412 and not page.writes
    assert site.request("PUT", "/r", [("If-Match", OLD), ("If-Match", current)], NEW).status == 204
