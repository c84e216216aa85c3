# SPDX-License-Identifier: Apache-2.0
"""Test programs that end by themselves with a status: arguments in make check, and in make check-long."""
PROGRAMS = {
    "tests/stress/table_stress": (["6"], ["300"]),
    "tests/stress/table_step": ([], ["all"]),
    "tests/fuzz/table_corrupt": ([], ["20000000"]),
    "tests/fuzz/replay": ([], ["20000000"]),
}
# Those the sanitizers see too.
SANITIZED = ("tests/fuzz/table_corrupt", "tests/fuzz/replay")
# What check-long runs under ThreadSanitizer: the programs with threads of their own.
THREADED = {"tests/stress/table_stress": ["60"]}
# Must end with status 1: what they test has faults planted in it.
PLANTED = {"tests/stress/table_stress_planted": ["4"], "tests/stress/table_step_planted": ["4"]}
