"""Holds a test run to the committed list of allowed skips, and to having run at all.

Usage: ``skips.py REPORT.xml allowed_skips.txt``. A line of the list is the text of a skip reason; `#` begins a comment.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(report: str, allowed_file: str) -> int:
    """Exit code 0 when at least one test ran and every skip's reason is allowed."""
    lines = Path(allowed_file).read_text("utf-8").splitlines()
    allowed = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314 - our own file
    skips = [(case, skip) for case in cases for skip in case.iter("skipped")]
    surprising = [
        f"{case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case, skip in skips
        if not any(reason in (skip.get("message") or "") for reason in allowed)
    ]
    for line in surprising:
        print(f"skipped without being allowed in {allowed_file}: {line}", file=sys.stderr)
    if len(cases) == len(skips):
        print("no test ran", file=sys.stderr)
        return 1
    return 1 if surprising else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
