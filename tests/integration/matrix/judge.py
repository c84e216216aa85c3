# SPDX-License-Identifier: Apache-2.0
"""What the oracle's decision means for one resource, and whether an answer is that.

Who judges which condition where (docs/design.md, "Preconditions"): files, all by us. Pages of applications: tags by us;
dates by us, unless the application saw them and named a status itself. Writes: conditions that name a tag of ours, and
lists without one well-formed tag, by us; others go to the application as they are.
"""
import re
from dataclasses import replace

from . import oracle
from .apps import ABSENT, CONDITIONS
from .cases import names_ours

OURS = re.compile(r'(?:W/)?"[dvg][A-Za-z0-9_-]{22}(?:-gzip|-br|-zstd)?"\Z')
DATES = ("if-modified-since", "if-unmodified-since")
# 15.4.5: what the 200 would have had; and the CORS field, without which a script could not read what it revalidated.
METADATA = ("Cache-Control", "Content-Location", "Expires", "Vary", "Access-Control-Allow-Origin")
CONTENT = ("Content-Type", "Content-Encoding", "Content-Length", "Content-Range", "Content-Language",
           "Transfer-Encoding")
VALIDATORS = ("ETag", "Last-Modified")


def lists(lines):
    return [v for v in (oracle.field(lines, "If-Match"), oracle.field(lines, "If-None-Match")) if v is not None]


def without_tags(lines):
    """A list that is there and has no well-formed member."""
    return any(v != "*" and not oracle.members(v) for v in lists(lines))


def _without(lines, names):
    return [(n, v) for n, v in lines if n.lower() not in names]


def representation(r, method):
    """What the conditions are compared with: a GET's 200. A QUERY's own answer instead (RFC 10008: another
    representation)."""
    plain = r.plain["QUERY" if method == "QUERY" else "GET"]
    if plain.status != 200:
        return oracle.Representation(False)
    modified = plain.one("Last-Modified")
    return oracle.Representation(True, plain.one("ETag"), modified and oracle.date(modified, 0), len(plain.body))


def identity_of(tag):
    return tag.replace('-gzip"', '"')


def _reading(r, method, lines, now):
    """GET and HEAD."""
    application = r.server != "file"
    if application and not r.spec.get("knowing") and not _judges_dates(r, lines):
        lines = _without(lines, DATES)
    if r.spec.get("coded"):
        return _reading_coded(r, method, lines, now)
    decisions = [oracle.decide(method, lines, representation(r, method), now, r.plain[method].status)]
    cut = decisions[0].what in (oracle.PARTIAL, oracle.UNSATISFIABLE)
    if cut and ("etag" in r.spec or oracle.field(lines, "Range") == "bytes=-0"):
        decisions.append(oracle.Decision(oracle.PERFORM))  # 14.2: may be ignored, as where the length is not known
    if r.spec.get("doubt"):
        decisions += _in_doubt(r, method, lines, now)
    if method == "HEAD" and r.plain["HEAD"].one("ETag") is None:
        decisions.append(oracle.Decision(oracle.PERFORM))  # without GET's body its tag is not known
    return decisions


def _reading_coded(r, method, lines, now):
    """Policy: the tag of any coding that the client accepts names the representation, and a 304 repeats the one that
    was sent. Compressed on the way it has no ranges."""
    rep = representation(r, method)
    found = []
    for tag in (rep.tag, identity_of(rep.tag)):
        named = oracle.Representation(rep.exists, tag, rep.modified, rep.length)
        found.append(oracle.decide(method, _without(lines, ("range",)), named, now, r.plain[method].status))
    # If-Match must hold, or If-None-Match fail, for one of them.
    whats = [d.what for d in found]
    better = found[1] if whats[0] == oracle.FAILED or whats[1] == oracle.NOT_MODIFIED != whats[0] else found[0]
    missed = [oracle.Decision(oracle.PERFORM)] if method == "HEAD" and r.plain["HEAD"].one("ETag") is None else []
    return [better] + missed


def _in_doubt(r, method, lines, now):
    """What is right as well where an agreed date is not known at the moment, or a date is another than the agreed one:
    as if there were no date, and the whole instead of a part. In If-Range core takes no date of the last minute."""
    if not any(oracle.date(oracle.field(lines, n), now) for n in (*DATES, "If-Range")):
        return []
    undated = oracle.decide(method, _without(lines, DATES), representation(r, method), now, r.plain[method].status)
    whole = undated.what in (oracle.PARTIAL, oracle.UNSATISFIABLE)
    return [undated] + ([oracle.Decision(oracle.PERFORM)] if whole else [])


def _judges_dates(r, lines):
    """Whether we do it for an application that ignores conditions: where it does not name a status itself, as a backend
    does; and where a tag of ours or "*" was asked for, so that it did not see the date."""
    return r.server in ("cgi", "fpm") or names_ours(lines, OURS) or "*" in lists(lines)


def _writing(r, method, lines, now):
    plain = r.plain[method].status
    if r.spec.get("coded"):  # policy: the tag of any coding names the representation that a write replaces
        tag = representation(r, method).tag
        lines = [(n, v.replace(identity_of(tag), tag)) for n, v in lines]
    rep = representation(r, method)
    if r.server == "file" and plain == 200:  # core goes by the date that it gives a POST
        rep = replace(rep, modified=oracle.date(r.plain[method].one("Last-Modified"), now))
    whole = oracle.decide(method, lines, rep, now, 200)
    if without_tags(lines):
        return [oracle.Decision(oracle.FAILED)] + _refused_anyway(plain)
    if names_ours(lines, OURS):
        if not r.spec.get("knowing") and r.server != "file":  # dates stay the application's business
            whole = oracle.decide(method, _without(lines, DATES), rep, now, 200)
        if r.plain["GET"].status not in (200, 404):  # the current representation cannot be told: no write
            return [oracle.Decision(oracle.FAILED)] + _refused_anyway(plain)
        return [whole] + _refused_anyway(plain)
    if r.server == "file":
        return _by_core(r, method, lines, rep, now)
    if r.spec.get("knowing"):
        return [oracle.decide(method, lines, rep, now, plain)]
    return [oracle.Decision(oracle.PERFORM)]


def _by_core(r, method, lines, rep, now):
    """Core answers a POST to a file like a GET, with a tag of its own making. A list that begins with "*" is "*" to it,
    and does not hide If-Unmodified-Since; a coding's suffix is unknown to it."""
    plain = r.plain[method]
    if plain.status == 200:
        rep = replace(rep, tag=identity_of(plain.one("ETag")))
    as_core = [(n, "*" if v.startswith("*,") else v) for n, v in lines]
    found = [oracle.decide(method, given, rep, now, plain.status) for given in (lines, as_core)]
    alone = oracle.decide(method, _without(lines, ("if-match",)), rep, now, plain.status)
    return found + [alone] if "*" in lists(as_core) and alone.what == oracle.FAILED else found


def _refused_anyway(plain):
    """Whether the method would have been refused is known only to who performs it; 412 may come first."""
    return [] if 200 <= plain < 300 else [oracle.Decision(oracle.PERFORM)]


def expected(r, case, lines, now):
    """The decisions that are right; the first is the RFC's."""
    if case.method in ("GET", "HEAD"):
        return _reading(r, case.method, lines, now)
    if case.method == "QUERY" and (r.plain["QUERY"].one("ETag") or r.spec.get("knowing")):
        if not r.spec.get("knowing"):  # dates are the application's business
            lines = _without(lines, DATES)
        return [oracle.decide("QUERY", lines, representation(r, "QUERY"), now, r.plain["QUERY"].status)]
    if case.method in ("QUERY", "OPTIONS", "TRACE"):  # a QUERY without a tag of its own is not judged
        return [oracle.Decision(oracle.PERFORM)]
    return _writing(r, case.method, lines, now)


# --- comparing ---

def _value(answer, name):
    """Vary is a set of names."""
    value = answer.one(name)
    return sorted(v.strip().lower() for v in value.split(",")) if name == "Vary" and value else value


def _same(got, reference, names):
    return [f"{n}: {got.one(n)!r}, not {reference.one(n)!r}" for n in names if _value(got, n) != _value(reference, n)]


def _absent(got, names):
    return [f"{n}: {got.one(n)!r}, which must not be there" for n in names if got.one(n) is not None]


def _performed(r, case, lines, got):
    plain = r.plain[case.method]
    names = METADATA + ("ETag", "Content-Type", "Content-Range", "Location")
    if not r.spec.get("doubt") or got.one("Last-Modified"):  # an agreed date is left out while it is not known
        names += ("Last-Modified",)
    wrong = _same(got, plain, names)
    if got.status != plain.status:
        wrong.append(f"status {got.status}, not {plain.status}")
    if case.method == "TRACE" and plain.one("Content-Type") == "message/http":
        wrong += _echoed(lines, plain.body, got.body)
    elif got.body != plain.body:
        wrong.append(f"body {got.body!r}, not {plain.body!r}")
    if case.method in ("POST", "PUT", "PATCH", "DELETE") and plain.one("X-Seen"):
        wrong += _seen(lines, got.one("X-Seen"))
    return wrong


def _echoed(lines, plain, body):
    """9.3.8: the request as it was received; plain: the same without conditions, perhaps of another version."""
    first, *rest = plain.decode("latin-1").strip().split("\r\n")
    begin, *others = body.decode("latin-1").strip().split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in rest]
    sent = sorted({(n.lower(), oracle.field(fields + lines, n)) for n, _ in fields + lines if n != "Accept-Encoding"})
    got = sorted((n.lower(), v.strip(" \t")) for n, _, v in (line.partition(":") for line in others)
                 if n.lower() != "accept-encoding")
    same = begin.rsplit(" ", 1)[0] == first.rsplit(" ", 1)[0] and got == sent
    return [] if same else [f"echoed {got!r}, not {sent!r}"]


def _seen(lines, told):
    """What reached the application: a condition as it was sent, or none where we judged it."""
    judged = names_ours(lines, OURS)
    sent = [oracle.field(lines, n) for n in CONDITIONS]
    saw = (told or "").split("|")
    if len(saw) != len(CONDITIONS):
        return [f"X-Seen: {told!r}"]
    wrong = []
    for name, a, b in zip(CONDITIONS, sent, saw):
        a = ABSENT if a is None else a
        # Judged, or without meaning: a date behind a list (13.1.3, 13.1.4), and a range in a write.
        hidden = judged and b == ABSENT and (name in ("If-Match", "If-None-Match", "If-Modified-Since", "Range") or
                                             oracle.field(lines, "If-Match") is not None)
        if a != b and not hidden:
            wrong.append(f"the application saw {name}: {b!r}, not {a!r}")
    return wrong


def _not_modified(r, case, lines, decision, got):
    full = r.plain["QUERY" if case.method == "QUERY" else "GET"]
    tag = decision.matched or full.one("ETag")
    wrong = _absent(got, CONTENT) + _same(got, full, METADATA)
    if got.one("ETag") not in (tag, full.one("ETag") if r.spec.get("knowing") else tag):
        wrong.append(f"ETag: {got.one('ETag')!r}, not {tag!r}")
    # An older date that the client named for the same tag is as true (mod_etag/finish.c).
    named = oracle.field(lines, "If-Modified-Since") if decision.matched else None
    if got.one("Last-Modified") not in (None, full.one("Last-Modified"), named):
        wrong.append(f"Last-Modified: {got.one('Last-Modified')!r}")
    if got.one("Date") is None:
        wrong.append("no Date")
    return wrong + ([f"body {got.body!r}"] if got.body else [])


def _failed(r, case, got):
    full = r.plain["GET"]
    wrong = _absent(got, ("Content-Range", "Content-Location", "Cache-Control", *VALIDATORS))
    if r.server == "file" and case.method == "POST":
        wrong = _absent(got, ("Content-Range",))  # core's own answer, with what it gives a POST
    if case.method == "HEAD" and got.body or full.status == 200 and full.body in got.body:
        wrong.append(f"body {got.body!r}")
    return wrong


def _partial(r, decision, got):
    full = r.plain["GET"]
    first, last = decision.part
    wrong = _same(got, full, METADATA + ("ETag",))
    if got.one("Content-Range") != f"bytes {first}-{last}/{len(full.body)}":
        wrong.append(f"Content-Range: {got.one('Content-Range')!r}")
    if got.body != full.body[first:last + 1]:
        wrong.append(f"body {got.body!r}, not {full.body[first:last + 1]!r}")
    return wrong


def _faults(r, case, lines, decision, got):
    if decision.what == oracle.PERFORM:
        return _performed(r, case, lines, got)
    if got.status != decision.what:
        return [f"status {got.status}, not {decision.what}"]
    if decision.what == oracle.NOT_MODIFIED:
        return _not_modified(r, case, lines, decision, got)
    if decision.what == oracle.FAILED:
        return _failed(r, case, got)
    if decision.what == oracle.PARTIAL:
        return _partial(r, decision, got)
    whole = len(r.plain["GET"].body)
    told = got.one("Content-Range")  # 15.5.17: SHOULD, and httpd loses it
    return [] if told in (None, f"bytes */{whole}") else [f"Content-Range: {told!r}"]


def faults(r, case, lines, now, got):
    """What is wrong with the answer, as lines; nothing when it is one of the right ones."""
    tried = [_faults(r, case, lines, d, got) for d in expected(r, case, lines, now)]
    return [] if not all(tried) else tried[0]


def describe(r, case, lines, wrong, got):
    sent = "\n".join(f"      {n}: {v}" for n, v in lines)
    return f"{r}: {case.method} with {case.named}\n{sent}\n    " + "\n    ".join(wrong) + f"\n    got {got!r}"
