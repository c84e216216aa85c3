# SPDX-License-Identifier: Apache-2.0
"""No paths or names of the machine the project was written on, and nothing left to do in the code."""
import re

# In pieces, so that this file does not find itself.
ABSOLUTE = r"(?<![\w}.])"
PATTERNS = [ABSOLUTE + r"/(?:wo" r"rk|ro" r"ot|ho" r"me/\w+)/\w", r"/tmp/" r"b-", r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b"]
FOREIGN = re.compile("|".join(PATTERNS))
BINARY = (".png", ".gz", ".br", ".ico")


def check(tree):
    files = [p for p in tree.paths("*") if not p.endswith(BINARY)]
    if len(files) < 20:
        return [f"only {len(files)} files found"]
    found = []
    for path in files:
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            hit = FOREIGN.search(line)
            if hit:
                found.append(f"{path}:{number}: {hit.group(0)}")
    return found


def plant(tree):
    return tree.plant("docs/planted.md", "see /wo" + "rk/somewhere\n")
