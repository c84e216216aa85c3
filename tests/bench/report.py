# SPDX-License-Identifier: Apache-2.0
"""What was measured, against what it has to be, for people and for programs."""
import json
from dataclasses import dataclass, field

import stats

QUIET = 0.1  # of the machine that something else may take before figures are doubtful
REACHED, MISSED, NOT_SHOWN, NO_BAR = "reached", "missed", "not shown", "-"
TESTS = {
    "<=": lambda value, limit: value <= limit,
    "<": lambda value, limit: value < limit,
    ">=": lambda value, limit: value >= limit,
    "=": lambda value, limit: value == limit,
}


def number(value):
    if value == 0:
        return "0"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


@dataclass
class Figure:
    """values: one per round. statistic makes the figure of them; bar: ("<=", 1.03), None when reported only."""

    what: str
    values: list
    bar: tuple = None
    unit: str = ""
    statistic: object = stats.median
    rounds: str = "rounds"
    facts: list = field(default_factory=list)  # printed beside it

    def __post_init__(self):
        self.value = self.statistic(self.values)
        self.low, self.high = stats.interval(self.values, self.statistic) if len(self.values) > 1 else (self.value,) * 2

    @property
    def verdict(self):
        """A bar inside the interval is neither reached nor missed: the rounds do not show it."""
        if self.bar is None:
            return NO_BAR
        test, limit = TESTS[self.bar[0]], self.bar[1]
        low, high = test(self.low, limit), test(self.high, limit)
        return NOT_SHOWN if low != high else REACHED if low else MISSED

    @property
    def bar_text(self):
        return f"{self.bar[0]} {number(self.bar[1])}" if self.bar else "reported"

    def text(self):
        unit = f" {self.unit}" if self.unit else ""
        line = f"   {self.what}: {number(self.value)}{unit}"
        if len(self.values) > 1:
            line += (f" [{number(self.low)}, {number(self.high)}], {len(self.values)} {self.rounds},"
                     f" {number(min(self.values))} to {number(max(self.values))}")
        if self.bar:
            line += f"; bar {self.bar_text}: {self.verdict}"
        return "\n".join([line] + [f"      {fact}" for fact in self.facts])

    def record(self):
        return {"what": self.what, "unit": self.unit, "value": self.value, "low": self.low, "high": self.high,
                "values": self.values if len(self.values) <= 100 else len(self.values), "bar": self.bar,
                "verdict": self.verdict, "facts": self.facts}


@dataclass
class Row:
    name: str
    title: str
    figures: list
    seconds: float
    busy: float  # part of the machine that something else had taken just before
    trouble: str = ""  # why there are no figures

    @property
    def warning(self):
        return "" if self.busy <= QUIET else f"not a quiet machine: {self.busy:.0%} taken by something else just before"

    def record(self):
        return {"name": self.name, "title": self.title, "seconds": round(self.seconds, 1), "trouble": self.trouble,
                "busy": round(self.busy, 3),
                "figures": [f.record() for f in self.figures]}


def as_json(machine, quick, rows):
    return json.dumps({"machine": machine, "quick": quick, "rows": [r.record() for r in rows]}, indent=1) + "\n"


def as_markdown(machine, quick, rows):
    lines = [f"Measured on {'; '.join(f'{k} {v}' for k, v in machine.items())}." +
             (" A quick run: too few rounds to be quoted." if quick else ""), "",
             "| what | figure | 95 % interval | bar | |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| **{row.title}** | | | | {'not measured' if row.trouble else row.warning} |")
        for f in row.figures:
            figure = f"{number(f.value)} {f.unit}".strip()
            spread = f"{number(f.low)} to {number(f.high)}" if len(f.values) > 1 else ""
            lines.append(f"| {f.what} | {figure} | {spread} | {f.bar_text} | {f.verdict} |")
    return "\n".join(lines) + "\n"
