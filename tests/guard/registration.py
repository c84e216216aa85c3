# SPDX-License-Identifier: Apache-2.0
"""No test is written and then not run: cmocka functions, unit programs, stress programs, pytest files."""
import ast
import re

from programs import PROGRAMS


def unregistered_functions(path, text):
    defined = re.findall(r"^(?:static )?void (\w+)\(void \*\*", text, re.MULTILINE)
    used = set(re.findall(r"cmocka_\w+\(\s*(\w+)", text)) | set(re.findall(r"[,(]\s*(\w+)\s*[,)]", text))
    return [f"{path}: {name} is defined but never run" for name in defined if name not in used]


def python_faults(path, text):
    found = []
    for scope in [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Module, ast.ClassDef))]:
        names = [n.name for n in scope.body if isinstance(n, ast.FunctionDef)]
        found += [f"{path}: {n} is defined twice; only the last one runs" for n in set(names) if names.count(n) > 1]
    if not re.search(r"^\s*def test_", text, re.MULTILINE):
        found.append(f"{path}: holds no test")
    return found


def check(tree):
    units, makefile = tree.paths("tests/unit/test_*.c"), tree.text("tests/local.mk")
    scripts = tree.paths("tests/integration/*.py")
    if not units or not scripts:
        return ["no unit test or no integration test found"]
    found = []
    for path in units:
        if not re.search(rf"\b{path[:-2]}\b", makefile):
            found.append(f"{path}: not in tests/local.mk")
        found += unregistered_functions(path, tree.text(path))
    for path in tree.paths("tests/stress/*.c", "tests/fuzz/*.c"):
        if re.search(r"^int main\(", tree.text(path), re.MULTILINE) and path[:-2] not in PROGRAMS:
            found.append(f"{path}: tests/programs.py does not name it")
    for path in scripts:
        if re.search(r"/test_\w+\.py$", path):
            found += python_faults(path, tree.text(path))
        elif re.search(r"^def test_", tree.text(path), re.MULTILINE):
            found.append(f"{path}: has tests, but pytest collects only test_*.py")
    return found


def plant(tree):
    path = tree.paths("tests/unit/test_*.c")[0]
    return tree.plant_after(path, "\nstatic void test_planted(void **state)\n{\n    (void)state;\n}\n")
