# SPDX-License-Identifier: Apache-2.0
"""What RFC 9110 asks of a conditional request. Written from its text alone: nothing here is shared with, or was taken
from, the module or its unit tests.

Where the RFC leaves room the policy table of docs/design.md decides; those places are marked "policy".
"""
import calendar
import re
from dataclasses import dataclass
from typing import Optional, Tuple

PERFORM, NOT_MODIFIED, FAILED, PARTIAL, UNSATISFIABLE = "perform", 304, 412, 206, 416

# Methods that ask for a representation: 304 where it is the one that the client has. A conditional QUERY is a
# conditional GET of what its result is a representation of (RFC 10008 2.6, A.5).
READS = ("GET", "HEAD", "QUERY")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# 8.8.3: etagc is VCHAR without DQUOTE, and obs-text. "W/" is case-sensitive; there is no escape.
TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAG_ALONE = re.compile(TAG + r"\Z")
# 5.6.1: members are separated by commas and optional white space. A quoted part that closes protects its commas.
MEMBER = re.compile(r'[ \t]*((?:"[^"]*"|[^,"]|"(?=[^"]*\Z))*?)[ \t]*(?:,|\Z)')


@dataclass(frozen=True)
class Representation:
    """The selected representation before the method is performed (8.8, 13.1)."""
    exists: bool
    tag: Optional[str] = None           # the ETag field as a 200 carries it
    modified: Optional[int] = None      # Last-Modified, seconds since 1970
    length: int = 0                     # of the body of a 200


@dataclass(frozen=True)
class Decision:
    what: object                        # PERFORM, 304, 412, 206 or 416
    matched: Optional[str] = None       # the member of If-None-Match that made it a 304, as sent
    part: Optional[Tuple[int, int]] = None  # first and last byte of a 206


def field(lines, name):
    """5.2, 5.3: several lines of a field are one value, joined by a comma. None when absent."""
    values = [v.strip(" \t") for n, v in lines if n.lower() == name.lower()]
    return ", ".join(values) if values else None


def members(value):
    """The well-formed entity-tags of a list. Policy: what is malformed is ignored and hides nothing."""
    found, at = [], 0
    while at < len(value):
        part = MEMBER.match(value, at)
        if part.end() == at:
            break
        if TAG_ALONE.match(part.group(1)):
            found.append(part.group(1))
        at = part.end()
    return found


def strong(a, b):
    """8.8.3.2"""
    return not a.startswith("W/") and not b.startswith("W/") and a == b


def weak(a, b):
    """8.8.3.2"""
    return a[a.index('"'):] == b[b.index('"'):]


def date(value, now):
    """5.6.7: seconds since 1970, or None for what is not one HTTP-date."""
    if value is None:
        return None
    month = "|".join(MONTHS)
    short, long = "|".join(DAYS), "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
    clock = r"(\d\d):(\d\d):(\d\d)"
    for form in (rf"(?:{short}), (\d\d) ({month}) (\d{{4}}) {clock} GMT",
                 rf"(?:{long}), (\d\d)-({month})-(\d\d) {clock} GMT"):
        found = re.fullmatch(form, value)
        if found:
            day, name, year, *time = found.groups()
            break
    else:
        found = re.fullmatch(rf"(?:{short}) ({month}) (\d\d| \d) {clock} (\d{{4}})", value)
        if not found:
            return None
        name, day, *time, year = found.groups()
    number = int(year)
    if len(year) == 2:  # 50 years ahead is the past century
        this = 1970 + now // 31556952
        number += this - this % 100
        if number > this + 50:
            number -= 100
    hour, minute, second = map(int, time)
    if hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((number, MONTHS.index(name) + 1, int(day), hour, minute, second))


# --- the conditions, 13.1: True, False, or None where the field is to be ignored ---

def if_match(value, rep):
    """13.1.1"""
    if value == "*":
        return rep.exists
    return rep.exists and rep.tag is not None and any(strong(m, rep.tag) for m in members(value))


def if_none_match(value, rep, method):
    """13.1.2: (truth, the member that matched)"""
    if value == "*":
        return not rep.exists, None
    given = members(value)
    if rep.exists and rep.tag is not None:
        for m in given:
            if weak(m, rep.tag):
                return False, m
    # Policy: a list without one well-formed member matches nothing where a 304 would be the answer, and stops any
    # other method.
    return bool(given) or method in READS, None


def if_modified_since(value, rep, now):
    """13.1.3. Policy: a date later than the server's clock is invalid (RFC 7232 3.3 said so)."""
    when = date(value, now)
    if when is None or when > now or not rep.exists or rep.modified is None:
        return None
    return rep.modified > when


def if_unmodified_since(value, rep, now):
    """13.1.4"""
    when = date(value, now)
    if when is None or not rep.exists or rep.modified is None:
        return None
    return rep.modified <= when


def if_range(value, rep, now):
    """13.1.5: one entity-tag, compared strongly, or one date that is exactly Last-Modified and strong (8.8.2.2)."""
    if TAG_ALONE.match(value):
        return rep.tag is not None and strong(value, rep.tag)
    when = date(value, now)
    return when is not None and rep.modified is not None and when == rep.modified and now - rep.modified >= 1


def byte_range(value, length):
    """14.1.2 for one range: (first, last), "unsatisfiable", or None for what is to be ignored (14.2)."""
    found = re.fullmatch(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", value or "", re.IGNORECASE)
    if not found or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if not first:
        return (max(0, length - int(last)), length - 1) if int(last) and length else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    return (int(first), min(int(last), length - 1) if last else length - 1) if int(first) < length else "unsatisfiable"


def decide(method, lines, rep, now, otherwise=200):
    """13.2: what is done with the request. otherwise is the status without its conditions and its range."""
    # 13.2.1: only where the answer would be 2xx, and where the method selects or changes a representation.
    if method in ("OPTIONS", "TRACE", "CONNECT") or not (200 <= otherwise < 300 or otherwise == 412):
        return Decision(PERFORM)
    reads = method in READS
    matches, modified = field(lines, "If-Match"), field(lines, "If-Modified-Since")
    differs, unmodified = field(lines, "If-None-Match"), field(lines, "If-Unmodified-Since")
    # 13.2.2, step by step.
    if matches is not None:
        if not if_match(matches, rep):
            return Decision(FAILED)
    elif unmodified is not None:
        if if_unmodified_since(unmodified, rep, now) is False:
            return Decision(FAILED)
    if differs is not None:
        holds, member = if_none_match(differs, rep, method)
        if not holds:
            return Decision(NOT_MODIFIED, matched=member) if reads else Decision(FAILED)
    elif reads and modified is not None and if_modified_since(modified, rep, now) is False:
        return Decision(NOT_MODIFIED)
    # 14.2: GET is the only method for which ranges are defined, and 200 the only answer.
    part = byte_range(field(lines, "Range"), rep.length) if method == "GET" and otherwise == 200 else None
    condition = field(lines, "If-Range")
    if part is None or (condition is not None and not if_range(condition, rep, now)):
        return Decision(PERFORM)
    return Decision(UNSATISFIABLE) if part == "unsatisfiable" else Decision(PARTIAL, part=part)
