# SPDX-License-Identifier: Apache-2.0
"""The servers of the matrix: one httpd before files, CGI scripts, PHP-FPM and a backend."""
import gzip
import time

from env.process import wait_for
from env.process import wait_for
from env.tags import content_tag

from . import apps, cases, h2wire, oracle, wire

# What is judged; what changes nothing; what is not there at all.
ENGINES = {
    "On": "ETagEngine On\nETagCacheStatus On\nETagLastModified Pass\nETagTimeout 1s\n",
    "DetectionOnly": "ETagEngine DetectionOnly\nETagTimeout 1s\n",
    None: "",
}
OURS = """\
<LocationMatch "^/(cgi|fpm|proxy)/learned">
ETagEarly On
</LocationMatch>
<Location /file/agreed.txt>
ETagLastModified Agree
</Location>
"""
CONFIG = """\
ServerTokens Prod
LogLevel authz_core:crit
MaxKeepAliveRequests 0
KeepAliveTimeout 60
ProxyPass /proxy/ {backend}/proxy/
<Directory {docs}/cgi>
Options ExecCGI
AddHandler cgi-script .cgi
</Directory>
<FilesMatch "\\.php$">
SetHandler "{php}"
</FilesMatch>
<LocationMatch "^/(file|cgi|fpm|proxy)/coded">
SetOutputFilter DEFLATE
</LocationMatch>
<Location /file/>
{headers}
</Location>
<Location /file/denied.txt>
Require all denied
</Location>
"""
MODULES = ["headers", "filter", "deflate", "proxy", "proxy_http", "proxy_fcgi"]
SUFFIX = {"file": ".txt", "cgi": ".cgi", "fpm": ".php", "proxy": ""}
AT_ONCE = 5000


class Resource:
    """plain: method -> the answer to a request without conditions, taken just before the cases are sent."""

    def __init__(self, server, state, spec):
        self.server, self.state, self.spec = server, state, spec
        self.path = f"/{server}/{state.replace(', ', '-').replace(' ', '-')}{SUFFIX[server]}"
        self.accept = [("Accept-Encoding", "gzip")] if spec.get("coded") else []
        self.plain = {}

    def __repr__(self):
        return f"{self.server}, {self.state}"


def resources():
    table = cases.table("resources")
    return [Resource(server, state, table["states"][state]) for server, states in table["servers"].items()
            for state in states]


class Site:
    """Running servers. etagd: an Etagd that runs, or one that does not. HTTP/2 is spoken where httpd's MPM can.
    engine: ETagEngine, or None for stock httpd. agreed: also files with an agreed date, which need some seconds; True
    or "named": wait until they have it."""

    def __init__(self, new_httpd, php, backend, etagd, mpm="event", module=None, engine="On", agreed=False):
        self.engine, self.agreed = engine, agreed
        self.fields = cases.table("resources")["fields"]
        self.backend = backend
        self.resources = [r for r in resources() if agreed or not r.spec.get("doubt")]
        modules = MODULES + (["cgi"] if mpm == "prefork" else ["cgid", "http2"])
        self.httpd = new_httpd(modules=modules, mpm=mpm, etagd=etagd, module=module, own=engine is not None)
        headers = "\n".join(f'Header {"merge" if n == "Vary" else "set"} {n} "{v}"' for n, v in self.fields.items())
        self.httpd.config = ENGINES[engine] + (OURS if engine else "") + CONFIG.format(
            backend=backend.url, docs=self.httpd.docs, php=php.handler, headers=headers)
        if mpm != "prefork":
            self.httpd.config += "Protocols h2c http/1.1\n"
        self.httpd.expect_log("AH00135: Invalid method in request QUERY /file")
        for r in self.resources:
            self._make(r)
        self.dated = engine == "On" and etagd.running
        self.httpd.start()
        self._look()

    def _make(self, r):
        if r.server == "proxy":
            self.backend.routes[r.path] = apps.route(r.state, r.spec, self.fields)
        elif r.server == "cgi":
            self.httpd.add(r.path, apps.script(r.state, r.spec, self.fields)).chmod(0o755)
        elif r.server == "fpm":
            self.httpd.add(r.path, apps.php(r.state, r.spec, self.fields))
        elif r.spec.get("status") != 404:
            self.httpd.add(r.path, apps.body_of("GET", r.state), mtime=apps.MODIFIED)

    def _ask_plainly(self):
        """Whether each answered as it does from now on: an agreed date is not told before it is some seconds old, nor
        by a child that is about to map the table."""
        asked = [(r, m) for r in self.resources for m in apps.METHODS]
        for (r, m), got in zip(asked, self._send([(m, r.path, r.accept, body_for(m)) for r, m in asked])):
            r.plain[m] = got
        return not self.dated or all(r.plain[m].one("Last-Modified") for r in self.resources if r.spec.get("doubt")
                                     for m in ("GET", "HEAD"))

    def _look(self):
        """What each resource answers to plain requests. Twice: a page is learned by the first."""
        for r in self.resources:
            if r.spec.get("doubt") and self.agreed == "named":
                wait_for(lambda r=r: self._dated(r), f"a date of {r.path} from every child", 30)
        self._ask_plainly()
        wait_for(self._ask_plainly, "agreed dates", 20)
        for r in self.resources:
            for m in apps.METHODS:
                self._check(r, m, r.plain[m])

    def _dated(self, r):
        answers = self._send([("GET", r.path, [], b"")] * 60)
        return all(got.one("Last-Modified") for got in answers)

    def _check(self, r, method, got):
        """What the application sent: its ETag on any method, its dates; our tag where it sent none."""
        if r.server == "file" and method not in ("GET", "HEAD") or r.server == "cgi" and method == "OPTIONS" or \
                r.server != "proxy" and method == "TRACE":
            return  # core's answers
        status, headers, body = apps.plan(method, r.spec, self.fields)
        wrong = [] if got.status == status else [f"not {status}"]
        if not r.spec.get("doubt"):
            wrong += [f"{n} is not {v}" for n, v in headers.items()
                      if n != "Content-Type" and v not in (got.one(n) or "")]
        coded = got.one("Content-Encoding") == "gzip"
        text = gzip.decompress(got.body) if coded and got.body else got.body
        if (r.server != "file" or status == 200) and body and method != "HEAD":
            wrong += [] if text.decode() == apps.body_of(method, r.state) else ["another body"]
        if method == "GET" and status == 200:
            wrong += [] if coded == r.spec.get("coded", False) else ["compressed or not"]
        if method == "GET" and status == 200 and "etag" not in r.spec and self.engine == "On":
            tag = content_tag(text, got.one("Content-Type"), suffix="-gzip" if coded else "")
            wrong += [] if got.one("ETag") == tag else [f"the ETag is not {tag}"]
        if wrong:
            raise AssertionError(f"{r}, plain {method}: {wrong}: {got!r}")

    def _send(self, requests, h2=False):
        """requests: (method, target, lines, body)."""
        return (h2wire if h2 else wire).run(self.httpd.port, requests, self.httpd.host)

    def ask(self, pairs, h2=False, now=None):
        """pairs: (resource, case), sent in this order. Yields (resource, case, lines, second, response). A resource may
        be another Site's: its tags and dates are sent. now: the present second, where two runs must send the same."""
        for at in range(0, len(pairs), AT_ONCE):
            part, second = pairs[at:at + AT_ONCE], now or int(time.time())
            sent = [cases.fill(c, self._placeholders(r, c.method, second)) + r.accept for r, c in part]
            answers = self._send([(c.method, r.path, lines, body_for(c.method))
                                  for (r, c), lines in zip(part, sent)], h2)
            for (r, c), lines, got in zip(part, sent, answers):
                yield r, c, lines, second, got

    @staticmethod
    def _placeholders(r, method, now):
        get, own = r.plain["GET"], r.plain[method].one("ETag")
        ok = get.status == 200
        modified = get.one("Last-Modified") if ok else None
        return cases.placeholders(get.one("ETag") if ok else None, oracle.date(modified, now), own, now)


def body_for(method):
    return b"sent" if method in ("POST", "PUT", "PATCH", "QUERY") else b""
