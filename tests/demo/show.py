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
        """Columns as wide as they need; the first one to the left, numbers to the right."""
        cells = [[str(c) for c in row] for row in [head, *rows]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        for number, row in enumerate(cells):
            parts = [c.ljust(w) if i == 0 or not c[:1].isdigit() else c.rjust(w)
                     for i, (c, w) in enumerate(zip(row, widths))]
            print("   " + "  ".join(parts).rstrip())
            if number == 0:
                print("   " + "  ".join("-" * w for w in widths))
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
