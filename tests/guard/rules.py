# SPDX-License-Identifier: Apache-2.0
"""Every rule of tests/rules.py is held by tests that exist, and so is every fault that docs/design.md names one for."""
import ast
import re

PATH, COUNT = "tests/rules.py", 16
DESIGN = "docs/design.md"
NAMED = re.compile(r"`(test_\w+)`")


def rows(tree):
    """RULES as written: the file is read, not imported, so that it can be planted."""
    for node in ast.parse(tree.text(PATH)).body:
        if isinstance(node, ast.Assign) and [t.id for t in node.targets] == ["RULES"]:
            return ast.literal_eval(node.value)
    return []


def has(text, path, name):
    form = r"^(?:\w+ )*\*?{}\(" if path.endswith(".c") else r"^def {}\("
    return re.search(form.format(re.escape(name)), text, re.MULTILINE) is not None


def check(tree):
    found, numbers = [], set()
    files = set(tree.paths("tests/*.c", "tests/*.py"))
    for number, sentence, *tests in rows(tree):
        numbers.add(number)
        if not tests:
            found.append(f"{PATH}: rule {number}, \"{sentence}\": no test")
        for test in tests:
            path, _, name = test.partition(":")
            path = f"tests/{path}"
            if path not in files or not has(tree.text(path), path, name):
                found.append(f"{PATH}: rule {number} names {test}, which does not exist")
    everything = "\n".join(tree.text(p) for p in files if p.endswith(".py"))
    found += [f"{DESIGN}: names {test}, which does not exist" for test in NAMED.findall(tree.text(DESIGN))
              if not has(everything, ".py", test)]
    found += [f"{PATH}: rule {n} has no row" for n in sorted(set(range(1, COUNT + 1)) - numbers)]
    return found


def plant(tree):
    return tree.plant(PATH, tree.text(PATH).replace(":test_htaccess", ":test_planted")).plant_after(
        DESIGN, "`test_planted_too`\n")
