"""Checks the reports of two runs of one scenario with the same seed.

Usage: check_report.py SCENARIO DEVICES SEED FIRST SECOND

FIRST and SECOND are the directories given to `linarite run --report`.
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

# The contract of report.json; a dictionary stands for an object with at least these members.
MEMBERS = {
    "scenario": str,
    "seed": int,
    "devices": int,
    "verdict": str,
    "checks": list,
    "downtime_ms": {"max": int, "p99": int, "p50": int},
    "messages": dict.fromkeys(["sent", "acknowledged", "received", "lost", "duplicated"], int),
    "registrations": dict.fromkeys(["succeeded", "failed", "throttled"], int),
    "devices_on_new_certificate": int,
    "devices_locked_out": int,
    "stale_credentials_accepted": int,
    "virtual_seconds": (int, float),
    "wall_seconds": (int, float),
    "trace_hash": str,
}
CHECK = {"name": str, "passed": bool, "detail": str}


def main() -> None:
    scenario, devices, seed, first, second = sys.argv[1:]
    report = read(Path(first))
    again = read(Path(second))
    source = Path(scenario).read_text()

    expect_members("report.json", report, MEMBERS)
    for check in report["checks"]:
        expect_members(f"check {check.get('name')}", check, CHECK)
    expect("devices", report["devices"], int(devices))
    expect("seed", report["seed"], int(seed))
    expect("scenario", report["scenario"], Path(scenario).stem)

    is_twin = re.search(r'^verdict = "fail"', source, re.MULTILINE) is not None
    expect("verdict", report["verdict"], "fail" if is_twin else "pass")
    expect("every check passed", all(check["passed"] for check in report["checks"]), not is_twin)
    is_let_in = is_twin and 'check = "retired-credentials-refused"' in source
    expect("a retired credential was accepted", report["stale_credentials_accepted"] > 0, is_let_in)
    if not is_twin:
        served = report["devices_on_new_certificate"] + report["devices_locked_out"]
        expect("devices on the new certificate, or meant to be refused", served, int(devices))
        expect("messages lost", report["messages"]["lost"], 0)

    if not report["trace_hash"]:
        sys.exit(f"{scenario}: trace_hash is empty")
    expect("trace hash of a second run", again["trace_hash"], report["trace_hash"])

    expect_page(Path(first) / "report.html")
    expect_junit(Path(first) / "junit.xml", failures=is_twin)
    print(f"{scenario}: reports are as promised, trace {report['trace_hash'][:12]} twice")


def read(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "report.json").read_text())


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{sys.argv[1]}: {what}: {found!r} instead of {wanted!r}")


def expect_members(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, kind in wanted.items():
        if name not in found:
            sys.exit(f"{sys.argv[1]}: {where} has no member {name}")
        if isinstance(kind, dict):
            expect_members(f"{where}, {name}", found[name], kind)
        elif not isinstance(found[name], kind):
            sys.exit(f"{sys.argv[1]}: {where}: {name} is {found[name]!r}")


def expect_page(path: Path) -> None:
    """The page shows everything without fetching anything."""
    page = path.read_text()
    expect("report.html is a page", page.lstrip().lower().startswith("<!doctype html"), True)
    fetched = re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](?!data:)[^"']+""", page)
    expect("files that report.html fetches", fetched, [])


def expect_junit(path: Path, failures: bool) -> None:
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    expect("junit.xml has test cases", bool(cases), True)
    failed = any(case.find("failure") is not None for case in cases)
    # A twin that fails as its file expects is a success for a test runner.
    if not failures:
        expect("junit.xml has failures", failed, False)


main()
