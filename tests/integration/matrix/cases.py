# SPDX-License-Identifier: Apache-2.0
"""Conditional requests, made of the tables in ../cases: one value of one field, of two, of three."""
import itertools
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

from . import oracle

TABLES = Path(__file__).resolve().parents[1] / "cases"
DAY = 86400
DEFAULT_DATE = 1767139200  # where a resource has no Last-Modified of its own
OLD = '"d' + "A" * 22 + '"'
FULL_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def table(name):
    """A table without its comment; a field named as a text has the values of the field so named."""
    with open(TABLES / f"{name}.json", encoding="utf-8") as f:
        read = json.load(f)
    del read["about"]
    return {k: read[v] if isinstance(v, str) else v for k, v in read.items()}


@dataclass(frozen=True)
class Case:
    """fields: (name, value) lines with placeholders; named: the values' names, for messages."""
    method: str
    fields: Tuple[Tuple[str, str], ...]
    named: str

    @property
    def names(self):
        return {name for name, _ in self.fields}


def lines_of(fields, field, value):
    with_it = [tuple(line) for line in fields[field].get("with", [])]
    return with_it + [(field, line) for line in fields[field][value]]


def chosen(fields, choice):
    """choice: (field, value) pairs."""
    lines = [line for field, value in choice for line in lines_of(fields, field, value)]
    return tuple(lines), ", ".join(f"{field}: {value}" for field, value in choice)


def choices(combinations, fields):
    """(methods, (field, value) pairs) of every combination that the tables ask for."""
    alone = [((f, v),) for f, values in fields.items() for v in values if v != "with"]
    yield combinations["alone"]["methods"], [(), *alone]
    for name, many in (("pairs", 2), ("triples", 3)):
        part = combinations[name]
        values = {f: [(f, v) for v in listed] for f, listed in part["values"].items()}
        yield part["methods"], [choice for names in itertools.combinations(values, many)
                                if not {"Range", "If-Range"} <= set(names)
                                for choice in itertools.product(*(values[n] for n in names))]


def cases():
    """Every case once, whatever the order of equal ones in the tables."""
    fields, found = table("fields"), {}
    fields["If-Range alone"] = {}
    for value, lines in fields["If-Range"].items():
        if value in ("match", "other", "malformed"):
            fields["If-Range alone"][value] = lines
    for methods, listed in choices(table("combinations"), fields):
        for method in methods:
            for choice in listed:
                lines, named = chosen(fields, choice)
                lines = tuple((name.removesuffix(" alone"), value) for name, value in lines)
                found.setdefault((method, lines), Case(method, lines, named or "no field"))
    return list(found.values())


# --- filling in ---

def imf(t):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(t))


def rfc850(t):
    g = time.gmtime(t)
    return FULL_DAYS[g.tm_wday] + time.strftime(", %d-%b-%y %H:%M:%S GMT", g)


def asctime(t):
    g = time.gmtime(t)
    return time.strftime("%a %b ", g) + f"{g.tm_mday:2d}" + time.strftime(" %H:%M:%S %Y", g)


def placeholders(tag, modified, own, now):
    """tag and own: ETag values or None. What a resource does not have is stood in for."""
    tag = tag or OLD
    modified = DEFAULT_DATE if modified is None else modified
    bare = tag[tag.index('"') + 1:-1]
    return {
        "tag": tag, "strong": f'"{bare}"', "weak": f'W/"{bare}"', "bare": bare, "identity": tag.replace('-gzip"', '"'),
        "old": OLD, "own": own or '"none"',
        "modified": imf(modified), "before": imf(modified - DAY), "after": imf(modified + DAY), "now": imf(now),
        "future": imf(now + DAY), "modified850": rfc850(modified), "modifiedasc": asctime(modified), "nothing": "",
    }


def fill(case, values):
    """The case's lines as they are sent."""
    return [(name, re.sub(r"\{(\w+)\}", lambda m: values[m.group(1)], text)) for name, text in case.fields]


def names_ours(lines, tag_form):
    """Whether If-Match or If-None-Match has a well-formed member that matches tag_form."""
    lists = [oracle.field(lines, n) for n in ("If-Match", "If-None-Match")]
    return any(tag_form.match(m) for value in lists if value for m in oracle.members(value))
