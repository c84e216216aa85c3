# SPDX-License-Identifier: Apache-2.0
"""The applications of the matrix: one behaviour, as a shell script (CGI), in PHP and behind ProxyPass.

An application performs any method at once, whatever conditions came with it, and tells in X-Seen which it saw. Only
"knowing" ones (behind ProxyPass) evaluate conditions, and do it exactly.
"""
import time

from env.backend import answer

from . import oracle
from .cases import imf

MODIFIED = 1760000000  # of every dated resource
CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE")
ABSENT = "-"  # in X-Seen


def seen(lookup):
    """X-Seen's value; lookup gives a field's value or None."""
    return "|".join(ABSENT if lookup(n) is None else lookup(n).strip() for n in CONDITIONS)


def plan(method, spec, fields):
    """(status, headers without X-Seen, whether a body follows) of the answer to method."""
    status = spec.get("status", 200)
    if status == 404 and method not in ("GET", "HEAD", "QUERY"):
        status = 201
    elif status == 200 and method in ("PUT", "DELETE"):
        status = 204
    headers = {"Content-Type": "text/html"}
    if status == 200 and method in ("GET", "HEAD"):
        headers.update(fields)
        if spec.get("dated"):
            headers["Last-Modified"] = imf(MODIFIED)
        if "etag" in spec:
            headers["ETag"] = spec["etag"]
    elif status < 300 and "etag" in spec:
        headers["ETag"] = '"q"' if method == "QUERY" else '"new"'
    if "location" in spec:
        headers["Location"] = spec["location"]
    return status, headers, status != 204


def body_of(method, state):
    digits = "0123456789" * (40 if state == "coded" else 4)  # long enough to be compressed
    return f"<p>{method if method not in ('GET', 'HEAD') else 'page'}, {state}: {digits}</p>\n"


def script(state, spec, fields):
    """As a CGI script; printf and case are the shell's own, so that it is one process."""
    # What is sent must be read: a script that ends before gets httpd a broken pipe.
    lines = ["#!/bin/sh", '[ -z "$CONTENT_LENGTH" ] || read -r content', "case $REQUEST_METHOD in"]
    for method in METHODS:
        status, headers, body = plan(method, spec, fields)
        if status != 200:  # without Status httpd's mod_cgi evaluates conditions as well
            headers = {"Status": status, **headers}
        lines.append(f"{method}) printf '%s\\n' " + " ".join(f"'{n}: {v}'" for n, v in headers.items()))
        text = body_of(method, state)[:-1] if body and method != "HEAD" else ""
        lines.append(f"body='{text}' ;;")
    lines.append("esac")
    variables = " ".join('"${HTTP_%s-%s}"' % (n.upper().replace("-", "_"), ABSENT) for n in CONDITIONS)
    lines.append(f"printf 'X-Seen: %s|%s|%s|%s|%s|%s\\n\\n' {variables}")
    lines.append("[ -z \"$body\" ] || printf '%s\\n' \"$body\"")
    return "\n".join(lines) + "\n"


def php(state, spec, fields):
    lines = ["<?php", "switch ($_SERVER['REQUEST_METHOD']) {"]
    for method in METHODS:
        status, headers, body = plan(method, spec, fields)
        lines.append(f"case '{method}': http_response_code({status});")
        lines += [f"header('{n}: {v}');" for n, v in headers.items()]
        lines.append(f"$body = '{body_of(method, state)[:-1] if body else ''}'; break;")
    names = ", ".join(f"'HTTP_{n.upper().replace('-', '_')}'" for n in CONDITIONS)
    lines += ["}", f"$seen = array_map(fn($n) => $_SERVER[$n] ?? '{ABSENT}', [{names}]);",
              "header('X-Seen: ' . implode('|', $seen));", 'if ($body !== "") echo $body, "\\n";']
    return "\n".join(lines) + "\n"


def route(state, spec, fields):
    """As a route of env.backend.Backend."""

    def decide(request, status, text):
        kind = "QUERY" if request.method == "QUERY" else "GET"  # a result is a representation of its own
        code, headers, _ = plan(kind, spec, fields)
        modified = MODIFIED if "Last-Modified" in headers else None
        rep = oracle.Representation(code == 200, headers.get("ETag"), modified, len(text))
        return oracle.decide(request.method, request.headers, rep, int(time.time()), status)

    def serve(request, send):
        status, headers, body = plan(request.method, spec, fields)
        text = body_of(request.method, state).encode() if body else b""
        headers["X-Seen"] = seen(request.header)
        decision = decide(request, status, text) if spec.get("knowing") else oracle.Decision(oracle.PERFORM)
        if decision.what in (oracle.NOT_MODIFIED, oracle.FAILED):
            status, text = decision.what, b""
            del headers["Content-Type"]
        if decision.what == oracle.FAILED:
            headers = {"X-Seen": headers["X-Seen"]}
        elif decision.what == oracle.PARTIAL:
            first, last = decision.part
            headers["Content-Range"] = f"bytes {first}-{last}/{len(text)}"
            status, text = 206, text[first:last + 1]
        elif decision.what == oracle.UNSATISFIABLE:
            headers = {"Content-Range": f"bytes */{len(text)}"}
            status, text = 416, b""
        send(answer(text, headers, status, request))
        return True

    return serve
