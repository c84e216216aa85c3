# SPDX-License-Identifier: Apache-2.0
"""A site with one of every kind of content that httpd serves, for tests that ask the same of all of them."""
import base64
import gzip
import hashlib
import os
import random
import time

from . import machine
from .backend import answer, chunk
from .process import wait_for

MODULES = ["filter", "deflate", "brotli", "headers", "expires", "include", "negotiation", "autoindex", "actions", "rewrite",
           "asis", "dav", "dav_fs", "auth_basic", "authn_file", "authz_user", "substitute", "setenvif", "env", "proxy",
           "proxy_http", "proxy_fcgi", "info"]
PAGE = b"<p>" + b"every kind of content, and the same tag " * 30 + b"</p>\n"
HTML = ("Content-Type", "text/html")

CONFIG = """\
ServerTokens Prod
CustomLog {folder}/status.log "%m %U %{{etag-status}}n %{{etag-why}}n"
DocumentRoot {docs}
DavLockDB {folder}/lock
ErrorDocument 404 /missing.html
AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html text/plain
AddHandler cgi-script .cgi
AddHandler type-map .var
AddHandler send-as-is .asis
AddHandler render .tpl
Action render /render.cgi
AddLanguage en .en
AddLanguage de .de
AddEncoding x-gzip .gz
AddType text/html .shtml .tpl .gz
AddOutputFilter INCLUDES .shtml
Alias /alias {docs}/dir
AliasMatch ^/~anna/(.*)$ {docs}/dir/$1
<Directory {docs}>
Options ExecCGI Includes FollowSymLinks
Require all granted
DirectoryIndex index.html
</Directory>
<Directory {docs}/list>
Options Indexes
IndexOptions FancyIndexing
</Directory>
<Directory {docs}/neg>
Options MultiViews
LanguagePriority en
</Directory>
<Directory {docs}/fallback>
FallbackResource /fallback/front.cgi
</Directory>
<Directory {docs}/rewritten>
RewriteEngine On
RewriteRule ^page$ /dir/index.html
RewriteRule ^app$ {backend}/plain [P]
</Directory>
<Directory {docs}/subst>
SetOutputFilter SUBSTITUTE
Substitute s/every/any/
</Directory>
<Directory {docs}/expiring>
ExpiresActive On
ExpiresDefault "access plus 1 hour"
Header set X-Kind file
</Directory>
<Directory {docs}/untagged>
FileETag None
</Directory>
<Directory {docs}/dav>
Dav On
</Directory>
<Location /closed/>
AuthType Basic
AuthName site
AuthUserFile {folder}/users
Require valid-user
</Location>
<Location /denied/>
Require all denied
</Location>
<FilesMatch "\\.php$">
SetHandler "{php}"
</FilesMatch>
ProxyPass /app {backend} disablereuse=on
ProxyPass /over {backend} disablereuse=on
<Location /over/>
ProxyErrorOverride On
</Location>
"""

# Files: the same bytes in many places.
FILES = ["p.html", "dir/index.html", "dir/p.txt", "expiring/p.html", "untagged/p.html", "subst/p.html", "dav/p.html",
         "closed/p.html", "denied/p.html", "typeless", "neg/page.html.en", "list/a.txt", "missing.html"]
CGI = {
    "plain.cgi": "printf 'Content-Type: text/html\\n\\n'; cat p.html",
    "own.cgi": "printf 'Content-Type: text/html\\nETag: \"own\"\\n\\n'; cat p.html",
    "dated.cgi": "printf 'Content-Type: text/html\\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\\n\\n'; cat p.html",
    "gone.cgi": "printf 'Status: 410 Gone\\nContent-Type: text/html\\n\\n<p>gone</p>'",
    "local.cgi": "printf 'Location: /dir/index.html\\n\\n'",
    "closed.cgi": "printf 'Location: /closed/p.html\\n\\n'",
    "away.cgi": "printf 'Location: http://www.example.org/\\n\\n'",
    "render.cgi": "printf 'Content-Type: text/html\\n\\nrendered '; cat \"$PATH_TRANSLATED\"",
    "fallback/front.cgi": "printf 'Content-Type: text/html\\n\\nfront %s' \"$REQUEST_URI\"",
}

PHP = {
    "plain.php": "readfile('p.html');",
    "own.php": "header('ETag: \"own\"'); readfile('p.html');",
    "dated.php": "header('Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT'); header('Vary: Accept-Language'); readfile('p.html');",
    "flushed.php": "readfile('p.html'); flush(); readfile('p.html');",
    "gone.php": "http_response_code(410); echo '<p>gone</p>';",
}

PATHS = ["/p.html", "/", "/dir/", "/dir", "/typeless", "/link.txt", "/empty.txt", "/long.bin", "/alias/p.txt", "/~anna/p.txt", "/list/",
         "/neg/page", "/neg/typed.var", "/neg/packed", "/p.html.gz", "/page.shtml", "/page.tpl", "/head.asis", "/fallback/some/page",
         "/rewritten/page", "/rewritten/app", "/subst/p.html", "/expiring/p.html", "/untagged/p.html", "/dav/p.html",
         "/closed/p.html", "/denied/p.html", "/nowhere", "/p.html/below"] + [
             "/" + name for name in CGI if name not in ("render.cgi", "fallback/front.cgi")]
APP = ["/plain", "/chunked", "/trailers", "/own", "/weak", "/md5", "/unquoted", "/cookie", "/private", "/vary", "/star", "/nocontent",
       "/created", "/part", "/moved", "/missing", "/broken", "/gzipped", "/zstd", "/nocache", "/two-tags", "/long", "/json"]
PATHS += ["/" + name for name in PHP]
PATHS += ["/app" + p for p in APP] + ["/over" + p for p in ("/plain", "/missing", "/broken", "/own")]


def basic(user="anna", password="secret"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def modules(mpm):
    return MODULES + (["cgi"] if mpm == "prefork" else ["cgid", "http2"])


def fill(docs):
    """Writes the files; httpd that share the folder serve the same files, times included."""
    day = time.time() - 86400

    def add(name, content, mode=0o644):
        path = machine.write(docs / name, content, mode)
        for parent in path.relative_to(docs).parents:
            (docs / parent).chmod(0o755)
        os.utime(path, (day, day))
        return path

    for name in FILES:
        add(name, PAGE)
    add("index.html", b"<p>home</p>\n")
    add("missing.html", b"<p>not here</p>\n")
    add("empty.txt", b"")
    add("long.bin", random.Random(1).randbytes(1_500_000))
    add("neg/page.html.de", b"<p>deutsch</p>\n" * 20)
    add("neg/typed.var", "URI: page.html.en\nContent-Type: text/html\nContent-Language: en\n\n"
                         "URI: page.html.de\nContent-Type: text/html\nContent-Language: de\n")
    add("neg/packed.html", PAGE)
    add("neg/packed.html.gz", gzip.compress(PAGE, mtime=0))
    add("p.html.gz", gzip.compress(PAGE, mtime=0))
    add("page.shtml", b'<p><!--#include virtual="/dir/p.txt" --></p>\n')
    add("page.tpl", b"template")
    add("head.asis", b"Status: 200 as it is\nContent-Type: text/html\n\n" + PAGE)
    add("fallback/unused", b"")
    add("rewritten/unused", b"")
    for name, text in CGI.items():
        add(name, f"#!/bin/sh\ncat >/dev/null\ncd {docs}\n{text}\n", 0o755)
    for name, text in PHP.items():
        add(name, f"<?php\n{text}\n")
    add("last.txt", b"last")
    link = docs / "link.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(docs / "dir" / "p.txt")


def wait_settled(stock):
    """Core's tags are weak in a file's first second."""
    wait_for(lambda: stock.get("/last.txt").etag.startswith('"'), "strong tags")


def _conditional(tag, body):
    """An application that compares If-None-Match with its tag as one string, as common guides do it."""

    def page(request, send):
        matches = request.method in ("GET", "HEAD") and request.header("If-None-Match") == tag
        send(answer(b"" if matches else body, [HTML, ("ETag", tag)], 304 if matches else 200, request))
        return True

    return page


def serve(backend):
    """Sets the application's routes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n"
    pieces = b"".join(chunk(PAGE[i:i + 100]) for i in range(0, len(PAGE), 100))
    pages = {
        "/plain": ([HTML], 200, PAGE), "/cookie": ([HTML, ("Set-Cookie", "a=1")], 200, PAGE),
        "/private": ([HTML, ("Cache-Control", "private")], 200, PAGE), "/star": ([HTML, ("Vary", "*")], 200, PAGE),
        "/vary": ([HTML, ("Vary", "Accept-Language"), ("Cache-Control", "max-age=9")], 200, PAGE),
        "/nocontent": ([], 204, b""), "/created": ([HTML, ("ETag", '"made"'), ("Location", "/app/plain")], 201, b"made"),
        "/part": ([HTML, ("Content-Range", "bytes 0-9/100"), ("ETag", '"app"')], 206, b"0123456789"),
        "/moved": ([HTML, ("Location", "/app/plain")], 302, b"moved"), "/missing": ([HTML, ("ETag", '"sorry"')], 404, b"sorry"),
        "/broken": ([HTML, ("ETag", '"err"')], 500, b"broken"), "/nocache": ([HTML, ("Cache-Control", "no-store")], 200, PAGE),
        "/gzipped": ([HTML, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")], 200, gzip.compress(PAGE, mtime=0)),
        "/zstd": ([HTML, ("Content-Encoding", "zstd"), ("ETag", '"app-zstd"')], 200, b"(\xb5/\xfd" + PAGE[:90]),
        "/two-tags": ([HTML, ("ETag", '"one"'), ("ETag", '"two"')], 200, PAGE), "/long": ([HTML], 200, PAGE * 1500),
        "/unquoted": ([HTML, ("ETag", "1f-4a5b6c")], 200, PAGE), "/json": ([("Content-Type", "application/json")], 200, b'{"a":1}'),
    }
    for path, (headers, status, body) in pages.items():
        backend.page(path, body, headers, status)
    backend.routes["/own"] = _conditional('"app-1"', PAGE)
    backend.routes["/weak"] = _conditional('W/"app-1"', PAGE)
    backend.routes["/md5"] = _conditional(f'"{hashlib.md5(PAGE).hexdigest()}"', PAGE)

    def chunked(end):
        def page(request, send):
            send(head + b"\r\n" + (b"" if request.method == "HEAD" else pieces + end))
        return page

    backend.routes["/chunked"] = chunked(b"0\r\n\r\n")
    backend.routes["/trailers"] = chunked(b"0\r\nX-Trailer: t\r\n\r\n")


def config(site, backend, php, docs):
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    machine.write(site.folder / "users", f"anna:{{SHA}}{digest}\n")
    protocols = "" if site.mpm == "prefork" else "Protocols h2c http/1.1\n"
    return protocols + CONFIG.format(docs=docs, folder=site.folder, backend=backend.url, php=php.handler)
