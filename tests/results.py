# SPDX-License-Identifier: Apache-2.0
"""Results of tests, from TAP and from JUnit XML. What cannot be understood counts as failed."""
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class Result:
    name: str
    outcome: str
    text: str = ""  # why it failed (its output) or was skipped (the reason)
    notes: list = field(default_factory=list)  # what it wants to be read though it passed


TAP_LINE = re.compile(r"^(ok|not ok)\s+(\d+)\s*(?:-\s*)?(.*)$")


def from_tap(program, output, status):
    """Results of a cmocka program. A program that ends early, or without a plan, has failed as well."""
    results, planned, notes = [], 0, []
    for line in output.splitlines():
        plan = re.match(r"^1\.\.(\d+)", line)
        test = TAP_LINE.match(line)
        if plan:
            planned += int(plan.group(1))
        elif test:
            skip = re.search(r"#\s*SKIP\s*(.*)", line, re.IGNORECASE)
            name = f"{program}: {re.sub(r'#.*', '', test.group(3)).strip() or (skip and skip.group(1)) or test.group(2)}"
            if skip:
                results.append(Result(name, SKIPPED, skip.group(1) or "no reason given"))
            elif test.group(1) == "ok":
                results.append(Result(name, PASSED))
            else:
                results.append(Result(name, FAILED))
                notes.append(results[-1])
    for result in notes:
        result.text = output
    if planned == 0 or len(results) != planned:
        results.append(Result(program, FAILED, f"{len(results)} of {planned} planned tests ran; status {status}\n{output}"))
    elif status != 0 and not notes:
        results.append(Result(program, FAILED, f"exit status {status} although every test passed\n{output}"))
    return results


def _case_text(element):
    return "\n".join(filter(None, [element.get("message"), element.text]))


def from_junit(path, output, status):
    """Results of a pytest run. Its status is 0 or 1 when it came to its end."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as e:
        return [Result("pytest", FAILED, f"left no report ({e}); status {status}\n{output}")]
    results = []
    for case in cases:
        name = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".")
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if bad is not None:
            printed = [part.text or "" for part in case if part.tag in ("system-out", "system-err")]
            results.append(Result(name, FAILED, "\n".join([_case_text(bad), *printed])))
        elif skipped is not None:
            results.append(Result(name, SKIPPED, skipped.get("message") or "no reason given"))
        else:
            results.append(Result(name, PASSED))
        results[-1].notes = [p.get("value") for p in case.iter("property") if p.get("name") == "note"]
    if status not in (0, 1) or (status == 1 and not any(r.outcome == FAILED for r in results)):
        results.append(Result("pytest", FAILED, f"ended with status {status}\n{output}"))
    if not results:
        results.append(Result("pytest", FAILED, "collected no test\n" + output))
    return results
