# SPDX-License-Identifier: Apache-2.0
"""Every warning and error that a log can show has its heading in docs/runbook.md.

A heading is a piece of the message; "..." in it stands for anything.
"""
import re

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
CALL = re.compile(r"\b(?:log_warn|log_error|ap_log_r?error)\s*\(")
LEVEL = re.compile(r"\bAPLOG_(?:NOTICE|INFO|DEBUG|TRACE\d)\b")
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
# Its words come from elsewhere: "%s", or the file and line of a directive.
COMPOSED = re.compile(r"^(?:mod_etag: )?(?:%\S+|\W)*$")


def arguments(text, opening):
    """What stands between the parenthesis there and its partner."""
    depth, i = 0, opening
    while i < len(text):
        if text[i] == '"':
            i = LITERAL.match(text, i).end()
            continue
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        i += 1
        if depth == 0:
            return text[opening:i]
    return text[opening:]


def messages(tree):
    for path in tree.paths("etagd/*.c", "mod_etag/*.c"):
        text = tree.text(path)
        for call in CALL.finditer(text):
            given = arguments(text, call.end() - 1)
            message = "".join(LITERAL.findall(given)).replace('\\"', '"')
            if not LEVEL.search(given) and message and not COMPOSED.match(message):
                yield path, message


def check(tree):
    pieces = [re.compile(".*".join(map(re.escape, h.split("...")))) for h in HEADING.findall(tree.text("docs/runbook.md"))]
    found = list(messages(tree))
    if len(found) < 20 or len(pieces) < 20:
        return [f"only {len(found)} messages and {len(pieces)} headings found"]
    return [f'{path}: docs/runbook.md has no heading for "{message}"' for path, message in found
            if not any(p.search(message) for p in pieces)]


def plant(tree):
    return tree.plant("etagd/planted.c", 'log_warn("a planted message that nobody explains: %s", why);\n')
