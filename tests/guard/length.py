# SPDX-License-Identifier: Apache-2.0
"""Files small enough to hold in the head, and the licence named in each."""
LIMIT = 500
CODE = ("*.c", "*.h", "*.py", "*.lua", "*.awk", "*.sh", "*.mk")


def check(tree):
    files = tree.paths(*CODE)
    if not files:
        return ["no source files found"]
    found = []
    for path in files:
        lines = tree.text(path).splitlines()
        if len(lines) > LIMIT:
            found.append(f"{path}: {len(lines)} lines, more than {LIMIT}")
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
            found.append(f"{path}: its first line does not name the licence (SPDX-License-Identifier: Apache-2.0)")
    return found


def plant(tree):
    return tree.plant("etagd/planted.c", "/* SPDX-License-Identifier: Apache-2.0 */\n" + "int x;\n" * LIMIT)
