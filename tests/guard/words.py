# SPDX-License-Identifier: Apache-2.0
"""No paths or names of the machine the project was written on, and nothing left to do in the code."""
import re

# In pieces, so that this file does not find itself.
PATTERNS = [r"/wo" r"rk/", r"/ro" r"ot/\w", r"/home/" r"\w+/", r"/tmp/" r"b-", r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bX" r"XX\b"]
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
