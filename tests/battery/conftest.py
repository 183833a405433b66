"""The battery: every test runs on every cache; what they come to is a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backends import Backend
from battery.cases import CASES, TABLE, not_applicable
from battery.served import Served
from battery.table import Results
from viewcache import breaker, stampede

HERE = Path(__file__).parent
RESULTS = pytest.StashKey[Results]()
PROBLEM = pytest.StashKey[str]()


@pytest.fixture
def served(backend: Backend, settings: Any) -> Iterator[Served]:
    """Serves views that are cached on each backend in turn."""
    settings.USE_I18N = False
    stampede.passes.clear()
    yield Served(settings, backend)
    breaker.reset()
    stampede.passes.clear()


# -- The table ------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(*numbers): the cases of the battery that a test tries")
    config.stash[RESULTS] = Results()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if HERE in item.path.parents and (report.when == "call" or report.outcome != "passed"):
        params = getattr(getattr(item, "callspec", None), "params", {})
        for mark in item.iter_markers("case"):
            for number in mark.args:
                item.config.stash[RESULTS].add(number, params["backend"], report.outcome)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """
    Write the table if all of the battery ran and passed; a table that was another is a failure.
    """
    results = session.config.stash[RESULTS]
    if session.testsfailed or not _is_whole(session) or results.skipped - {"valkey"}:
        return
    problems = [
        *(f"Case {number} has no test." for number in _missing(results)),
        *(f"Case {number} has tests and does not apply." for number in _both(results)),
    ]
    page = results.page()
    if not TABLE.exists() or TABLE.read_text() != page:
        TABLE.write_text(page)
        problems.append(f"{TABLE.name} was out of date and has been written anew. Commit it.")
    if problems:
        session.config.stash[PROBLEM] = "\n".join(problems)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if problem := config.stash.get(PROBLEM, None):
        terminalreporter.section("battery", red=True)
        terminalreporter.line(problem)


def _is_whole(session: pytest.Session) -> bool:
    """Did every test of the battery run?"""
    options = session.config.option
    if options.collectonly or options.keyword or options.markexpr or getattr(options, "lf", False):
        return False
    if (
        session.shouldstop
        or session.shouldfail
        or any("::" in word for word in session.config.args)
    ):
        return False
    ran = {item.path for item in session.items}
    return ran >= set(HERE.glob("test_*.py"))


def _missing(results: Results) -> set[int]:
    return set(CASES) - results.cases - set(not_applicable())


def _both(results: Results) -> set[int]:
    return results.cases & set(not_applicable())
