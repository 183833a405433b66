"""
Which changes of the package no test sees: ``make mutants-python``.

mutmut makes the mutants. Its own runner forks from a process in which tests have run, where what
needs a thread of Django's or asyncio's hangs. This one, a plugin of pytest, forks before any test
has run: a child that notes which functions each test calls, then one for each mutant, which runs
the tests that call it until one fails.

Run in a tree that mutmut has filled. ``MUTANTS`` names those to try (``viewcache.keys.*``), and
``MUTANT_SECONDS`` bounds the tests of each.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("MUTANT_SECONDS", "60"))
WANTED = os.environ.get("MUTANTS") or "*"
CALLS = Path("calls.json")
OUTPUT = Path("output.txt")

#: A test, the seconds that it takes, and the functions that it calls.
Call = tuple[str, float, list[str]]


def main() -> None:
    """Fill ``mutants/`` with the package, each function in all of its variants."""
    from mutmut import __main__ as mutmut

    mutmut.set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.store_lines_covered_by_tests()
    print(mutmut.create_mutants(1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of the tests: the mutants."""
    print("Which test calls what?", flush=True)
    _in_child(partial(_note_calls, session), None)
    calls: list[Call] = json.loads(CALLS.read_text())
    items = {item.nodeid: item for item in session.items}
    tried = left = 0
    for name in _mutants():
        tests, seconds = [], 0.0
        for test, took in _tests_of(name.rpartition("__mutmut_")[0], calls):
            if seconds + took <= SECONDS:
                tests.append(items[test])
                seconds += took
        code = _in_child(partial(_try, session, name, tests), seconds * 3 + 30) if tests else 0
        result = "no test" if not tests else {0: "survived", None: "timeout"}.get(code, "killed")
        tried += 1
        if result != "killed":
            left += 1
            print(f"{name}: {result}", flush=True)
    print(f"{tried} mutants, {left} left; `mutmut show NAME` shows one.")
    return True


def _mutants() -> Iterator[str]:
    """All of them that are wanted."""
    for path in sorted(Path("src").rglob("*.py")):
        module = ".".join(path.relative_to("src").with_suffix("").parts)
        for found in re.findall(r"^(?:async )?def (\w+__mutmut_\d+)\(", path.read_text(), re.M):
            name = f"{module}.{found}"
            if fnmatch(name, WANTED):
                yield name


def _tests_of(function: str, calls: list[Call]) -> list[tuple[str, float]]:
    """The tests that call this function, with their seconds: first the quickest of each file."""
    ranks: Counter[str] = Counter()
    ranked = []
    for test, took, functions in sorted(calls, key=lambda call: call[1]):
        if function in functions:
            file = test.partition("::")[0]
            ranked.append((ranks[file], took, test))
            ranks[file] += 1
    return [(test, took) for _, took, test in sorted(ranked)]


def _in_child(work: Callable[[], int], seconds: float | None) -> int | None:
    """The exit code of a process that does this; ``None`` if it took too long."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 2
        try:
            with OUTPUT.open("wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = None if seconds is None else time.monotonic() + seconds
    status: int | None = None
    while end is None or time.monotonic() < end:
        found, waited = os.waitpid(child, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(waited)
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # the servers that it has started
    return status


def _note_calls(session: pytest.Session) -> int:
    from mutmut.mutation import trampoline

    called: set[str] = set()
    trampoline.record_trampoline_hit = lambda name, **kwargs: called.add(name)
    os.environ["MUTANT_UNDER_TEST"] = "stats"
    calls: list[Call] = []
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        failed, start = session.testsfailed, time.monotonic()
        called.clear()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed == failed:
            calls.append((item.nodeid, time.monotonic() - start, sorted(called)))
        else:
            print(f"left out, for it fails where functions are wrapped: {item.nodeid}")
    CALLS.write_text(json.dumps(calls))
    return 0


def _try(session: pytest.Session, name: str, tests: list[pytest.Item]) -> int:
    os.environ["MUTANT_UNDER_TEST"] = name
    for item, following in zip(tests, [*tests[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
