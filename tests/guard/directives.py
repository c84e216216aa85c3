# SPDX-License-Identifier: Apache-2.0
"""Every directive has its block in docs/mod_etag.md, its line in conf/mod_etag.conf, and a test."""
import re

FIELDS = ("Description", "Syntax", "Default", "Context")


def defined(tree):
    names = []
    for path in tree.paths("mod_etag/*.c"):
        names += re.findall(r'AP_INIT_\w+\(\s*"(\w+)"', tree.text(path))
    return names


def block(text, name):
    """The lines under the heading of that name, None without one."""
    found = re.search(rf"^#+ *`?{name}`?\s*$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found.group(1)


def check(tree):
    names = defined(tree)
    if not names:
        return ["no directive found in mod_etag/*.c"]
    docs, conf = tree.text("docs/mod_etag.md"), tree.text("conf/mod_etag.conf")
    tests = "\n".join(tree.text(p) for p in tree.paths("tests/integration/*.py"))
    found = []
    for name in names:
        text = block(docs, name)
        if text is None:
            found.append(f"docs/mod_etag.md: no block for {name}")
        else:
            found += [f"docs/mod_etag.md: {name} lacks {f}" for f in FIELDS if not re.search(rf"\b{f}\b", text)]
        if not re.search(rf"^\s*#?\s*{name}\b", conf, re.MULTILINE):
            found.append(f"conf/mod_etag.conf: no line for {name}")
        if not re.search(rf"\b{name}\b", tests):
            found.append(f"tests/integration: no test names {name}")
    for name in re.findall(r"^#+ *`?(ETag[A-Z]\w*)`?\s*$", docs, re.MULTILINE):
        if name not in names:
            found.append(f"docs/mod_etag.md: describes {name}, which does not exist")
    return found


def plant(tree):
    return tree.plant("mod_etag/planted.c", 'AP_INIT_TAKE1("ETagPlanted", f, NULL, RSRC_CONF, "x"),\n')
