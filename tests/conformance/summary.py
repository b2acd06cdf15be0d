"""Sum up the reports of the OCI conformance suite: `summary.py FOLDER RUN...`, started by run.sh.

FOLDER holds one folder for each run (junit.xml and exit-status), allowed-skips.txt and not-run.txt.
The exit status is 0 only if no test failed and every skipped test is allowed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree as ET

_PREFIX = "OCI Conformance Test/"
_DISABLED = re.compile(r"skipping test:\s*(.*)")
_MESSAGE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite; `status` is passed, skipped, failure or error."""

    name: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """A skip that is no fault of the registry's, in one run or (`*`) in all."""

    run: str
    pattern: str
    reason: str

    def covers(self, run: str, case: Case) -> bool:
        return fnmatchcase(run, self.run) and fnmatchcase(case.name, self.pattern)


@dataclass(frozen=True, slots=True)
class Report:
    """The cases of one run, and what is wrong with the run as a whole."""

    run: str
    cases: tuple[Case, ...]
    faults: tuple[str, ...]

    def with_status(self, *statuses: str) -> list[Case]:
        return [case for case in self.cases if case.status in statuses]


def _reason(test: ET.Element) -> str:
    said = (test.findtext("system-out") or "").strip()
    if not said:
        disabled = _DISABLED.search(test.findtext("system-err") or "")
        said = disabled[1] if disabled else "no reason given"
    return " ".join(said.split())[:_MESSAGE_LENGTH]


def read(folder: Path, run: str) -> Report:
    """Read one run; the suite's own totals are held against its cases, for it reports only the leaves of its tree."""
    try:
        tree = ET.parse(folder / run / "junit.xml").getroot()
        exit_status = int((folder / run / "exit-status").read_text())
    except (OSError, ET.ParseError, ValueError) as error:
        return Report(run, (), (f"no report ({error}): see {folder / run / 'output.txt'}",))
    cases = tuple(
        Case((test.get("name") or "").removeprefix(_PREFIX), test.get("status") or "error", _reason(test))
        for test in tree.iter("testcase")
    )
    report = Report(run, cases, ())
    totals = {name: int(tree.get(name) or 0) for name in ("failures", "errors", "skipped", "disabled")}
    failed = report.with_status("failure", "error")
    faults = []
    if not report.with_status("passed"):
        faults.append("no test passed")
    if not failed and (exit_status or totals["failures"] or totals["errors"]):
        faults.append(f"exit status {exit_status}, {totals} but no failed test in the report: see output.txt")
    if not report.with_status("skipped") and (totals["skipped"] or totals["disabled"]):
        faults.append(f"{totals} but no skipped test in the report: see output.txt")
    return Report(run, cases, tuple(faults))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]


def _allowed(path: Path) -> list[Allowed]:
    return [Allowed(*(part.strip() for part in line.split("|", 2))) for line in _lines(path)]


def show(report: Report, allowed: list[Allowed]) -> bool:
    """Print one run and tell whether it is good."""
    failed = report.with_status("failure", "error")
    skipped = report.with_status("skipped")
    good = not failed and not report.faults
    print(f"\n{report.run}: {len(report.with_status('passed'))} passed, {len(failed)} failed, {len(skipped)} skipped")
    for fault in report.faults:
        print(f"  FAILED   the run itself: {fault}")
    for case in failed:
        print(f"  FAILED   {case.name}\n           {case.reason}")
    for case in skipped:
        rule = next((rule for rule in allowed if rule.covers(report.run, case)), None)
        good = good and rule is not None
        print(f"  {'skipped ' if rule else 'SKIPPED '} {case.name}\n           {case.reason}")
        print(f"           {'allowed: ' + rule.reason if rule else 'not in the list of allowed skips'}")
    return good


def main(folder: Path, runs: list[str]) -> int:
    """Print the summary of all runs and return the exit status."""
    allowed = _allowed(folder / "allowed-skips.txt")
    reports = [read(folder, run) for run in runs]
    verdicts = [show(report, allowed) for report in reports]
    for line in _lines(folder / "not-run.txt"):
        print(f"\nnot run: {line}")
    print(f"\nreports: {folder}")
    counts = [
        sum(len(report.with_status(*kind)) for report in reports)
        for kind in (("passed",), ("failure", "error"), ("skipped",))
    ]
    print("conformance: {} passed, {} failed, {} skipped".format(*counts))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
