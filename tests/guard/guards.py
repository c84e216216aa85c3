# SPDX-License-Identifier: Apache-2.0
"""Runs every guard, and every guard once more on a tree with its fault planted."""
from pathlib import Path

from results import FAILED, PASSED, Result

from . import directives, layers, length, messages, options, registration, rules, words
from .tree import Tree

GUARDS = (layers, length, directives, options, registration, rules, messages, words)


def complaints(guard, tree):
    """A guard that cannot read what it judges complains as well."""
    try:
        return guard.check(tree)
    except (OSError, SyntaxError) as e:
        return [f"cannot be checked: {e}"]


def run():
    tree = Tree(Path(__file__).resolve().parents[2])
    results = []
    for guard in GUARDS:
        name = guard.__name__
        found = complaints(guard, tree)
        results.append(Result(name, FAILED if found else PASSED, "\n".join(found)))
        new = set(complaints(guard, guard.plant(tree))) - set(found)
        blind = not new or all("cannot be checked" in n for n in new)
        results.append(Result(f"{name} finds its planted fault", FAILED if blind else PASSED, "it did not"))
    return results
