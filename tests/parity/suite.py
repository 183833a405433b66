"""Django's own test-suite for the page cache, once as it is and once in each mode of shim.py.

    python tests/parity/suite.py .build/django-6.1.3      (an unpacked sdist)

Run by the Python that has this Django and viewcache installed. The modes run side by side: the
suite is a minute of sleeping and two seconds of work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import django
from deviations import LEASED, expected

HERE = Path(__file__).parent
MODES = ("stock", "keys", "pages", "both", "leased")
LABELS = ("cache.tests", "decorators.test_cache")


def start(mode: str, tests: Path, reports: Path) -> subprocess.Popen[bytes]:
    """Start Django's runtests.py with viewcache in Django's place as the mode says."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE}{os.pathsep}{tests}",
        "PARITY_MODE": mode,
        "PARITY_REPORT": str(reports / f"{mode}.json"),
    }
    labels = LEASED if mode == "leased" else LABELS
    command = [sys.executable, "runtests.py", *labels, "--settings=shim", "--parallel=1"]
    with (reports / f"{mode}.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=tests, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def judge(mode: str, reports: Path) -> tuple[str, list[str]]:
    """One line on how the mode went, and what is wrong with it."""
    report = reports / f"{mode}.json"
    if not report.exists():
        log = (reports / f"{mode}.log").read_text(errors="replace")
        return "did not run", [f"{mode}: the suite did not run:\n{log}"]
    found = json.loads(report.read_text())
    outcomes: dict[str, str] = found["outcomes"]
    counts = Counter(outcomes.values())
    deviations = {test: why for test, why in expected(mode).items() if test in outcomes}
    failed = {test for test, outcome in outcomes.items() if outcome == "failed"}
    # What is no test of the suite (a class that could not be set up, a module not imported).
    failed |= set(found["details"])
    wrong = [
        f"{mode}: {test}\n{found['details'][test]}" for test in sorted(failed - set(deviations))
    ]
    wrong += [
        f"{mode}: {test} is listed in deviations.py and passes"
        for test in sorted(set(deviations) - failed)
    ]
    line = f"{counts['passed']} passed, {len(failed)} failed ({len(deviations)} expected)"
    return f"{line}, {counts['skipped']} skipped", wrong


def main() -> int:
    sdist = Path(sys.argv[1]).resolve()
    only = sys.argv[2:] or MODES
    reports = sdist / "parity"
    reports.mkdir(exist_ok=True)
    started = time.monotonic()
    running = {}
    for mode in only:
        (reports / f"{mode}.json").unlink(missing_ok=True)
        running[mode] = start(mode, sdist / "tests", reports)
    wrong: list[str] = []
    lines = []
    for mode, process in running.items():
        process.wait()
        line, faults = judge(mode, reports)
        lines.append(f"  {mode:6} {line}")
        wrong += faults
    python = ".".join(map(str, sys.version_info[:2]))
    took = time.monotonic() - started
    print(f"Django {django.__version__} on Python {python}, its own tests in {took:.0f} s:")
    print("\n".join(lines))
    if wrong:
        print("\n" + "\n\n".join(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
