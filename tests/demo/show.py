# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: headings, tables, and claims that are checked while they are printed."""
import sys

WIDTH = 100


class Show:
    def __init__(self):
        self.held = 0
        self.broken = []

    def heading(self, text):
        print(f"\n== {text} " + "=" * max(0, WIDTH - len(text) - 4), flush=True)

    def line(self, text=""):
        print(text, flush=True)

    def table(self, head, rows):
        """Columns as wide as they need; those of numbers to the right."""
        cells = [[str(c) for c in row] for row in [head, *rows]]
        columns = list(zip(*cells))
        widths = [max(map(len, column)) for column in columns]
        numbers = [all(c[:1].isdigit() for c in column[1:]) for column in columns]
        for row in [cells[0], ["-" * w for w in widths], *cells[1:]]:
            parts = [c.rjust(w) if number else c.ljust(w) for c, w, number in zip(row, widths, numbers)]
            print("   " + "  ".join(parts).rstrip())
        sys.stdout.flush()

    def claim(self, text, true):
        """Prints a sentence with its verdict; a false one makes the demo end with status 1."""
        print(f"   [{'ok' if true else 'NOT TRUE'}] {text}", flush=True)
        if true:
            self.held += 1
        else:
            self.broken.append(text)
        return true

    def end(self):
        total = self.held + len(self.broken)
        if self.broken:
            print(f"\n{len(self.broken)} of {total} claims are NOT TRUE:")
            for text in self.broken:
                print(f"   {text}")
            return 1
        print(f"\nAll {total} claims hold.")
        return 0
