# SPDX-License-Identifier: Apache-2.0
"""Every option of etagd is described in docs/etagd.md and shown in conf/etagd.conf."""
import re


def defined(tree):
    """Names in conf.c's option table: rows that begin with a capitalised name in quotes."""
    rows = []
    for path in tree.paths("etagd/conf*.c"):
        rows += re.findall(r'^\s*\{\s*"([A-Z]\w+)"\s*,', tree.text(path), re.MULTILINE)
    return rows


def check(tree):
    names = defined(tree)
    if not names:
        return ["no option table found in etagd/conf*.c"]
    docs, conf = tree.text("docs/etagd.md"), tree.text("conf/etagd.conf")
    tests = "\n".join(tree.text(p) for p in tree.paths("tests/integration/*.py", "tests/unit/test_conf*.c"))
    found = []
    for name in names:
        if not re.search(rf"\b{name}\b", docs):
            found.append(f"docs/etagd.md: does not describe {name}")
        if not re.search(rf"^\s*#?\s*{name}\b", conf, re.MULTILINE):
            found.append(f"conf/etagd.conf: no line for {name}")
        if not re.search(rf"\b{name}\b", tests):
            found.append(f"tests: no test names the option {name}")
    return found


def plant(tree):
    return tree.plant("etagd/conf_planted.c", '    { "PlantedOption", parse_text, 0, NULL, "x" },\n')
