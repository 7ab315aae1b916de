#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the log of one `meson test` run into three numbers, and says why tests failed or were skipped.

summary.py TESTLOG.json   prints details to stderr and "passed failed skipped" to stdout.
"""
import json
import sys


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def reason(entry):
    for key in ("stdout", "stderr"):
        line = last_line(entry.get(key) or "")
        if line:
            return line
    return "it gives no reason"


def main(path):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            entries = [json.loads(line) for line in log if line.strip()]
    except FileNotFoundError:
        entries = []
    for entry in entries:
        name = entry["name"]
        result = entry["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            counts["passed"] += 1
        elif result == "SKIP":
            counts["skipped"] += 1
            print(f"  skipped {name}: {reason(entry)}", file=sys.stderr)
        else:
            counts["failed"] += 1
            print(f"  FAILED {name} ({result.lower()}): {reason(entry)}", file=sys.stderr)
    print(counts["passed"], counts["failed"], counts["skipped"])


if __name__ == "__main__":
    main(sys.argv[1])
