# SPDX-License-Identifier: Apache-2.0
"""What tests of conditional writes share: sites of one resource behind CGI, a proxy or mod_dav."""
from .backend import answer
from .tags import content_tag

OLD = '"d' + "A" * 22 + '"'  # a tag of our form that names nothing
NEW = b"<p>new</p>\n"
SCRIPT = """#!/bin/sh
d=${0%/*}
echo "$REQUEST_METHOD" >>$d/methods
if test "$REQUEST_METHOD" = GET; then cat $d/response; else cat >$d/received; cat $d/written; fi
"""


def put(site, target, body=NEW, method="PUT", **conditions):
    return site.request(method, target, {k.replace("_", "-"): v for k, v in conditions.items()}, body)


def scripted(new_httpd, etagd, kind="cgid", directives="", modules=(), section=""):
    """A CGI script /p.cgi that answers a GET with the file response and a write with the file written; what it was
    sent is in the file received, the methods it saw in methods. section: directives of its directory."""
    site = new_httpd(modules=[kind, *modules], etagd=etagd)
    site.docs.chmod(0o777)
    site.add("p.cgi", SCRIPT).chmod(0o755)
    site.add("response", "Content-Type: text/html\n\n<p>old</p>\n")
    site.add("written", "Status: 204 written\n\n")
    site.config = (f"ETagEngine On\n<Directory {site.docs}>\nOptions ExecCGI FollowSymLinks\n"
                   f"AddHandler cgi-script .cgi\nAllowOverride None\nRequire all granted\n{section}\n</Directory>\n"
                   f"{directives}\n")
    return site.start()


def sent_to(site):
    """The content of the last write that reached the script."""
    received = site.docs / "received"
    return received.read_bytes() if received.exists() else None


class Page:
    """An application with one resource that knows nothing of ETags; keeps what it was asked."""

    def __init__(self, backend, headers=()):
        self.body, self.headers, self.status, self.asked, self.writes = b"<p>old</p>\n", list(headers), 200, [], []
        backend.routes["/r"] = self.serve

    @property
    def tag(self):
        return content_tag(self.body, "text/html")

    def serve(self, request, send):
        self.asked.append(request)
        if request.method != "GET":
            self.writes.append(request.body)
            send(answer(b"", status=204))
        else:
            send(answer(self.body, [("Content-Type", "text/html")] + self.headers, self.status))
        return True


def proxied(new_httpd, etagd, backend, directives="", modules=(), headers=()):
    """(site, Page): the page /r behind ProxyPass."""
    page = Page(backend, headers)
    site = new_httpd(modules=["proxy", "proxy_http", *modules], etagd=etagd)
    site.config = f"ETagEngine On\n{directives}\nProxyPass /r {backend.url}/r\n"
    return site.start(), page


def dav(new_httpd, etagd, directives=""):
    """Files under mod_dav."""
    site = new_httpd(modules=["dav", "dav_fs"], etagd=etagd)
    site.config = (f"ETagEngine On\nDavLockDB {site.folder}/lock\n{directives}\n"
                   "<Location />\nDav On\nRequire all granted\n</Location>\n")
    site.docs.chmod(0o777)
    return site.start()
