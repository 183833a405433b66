"""What became of the code blocks in the pages, said at the end of the run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

#: What was done with a block, and for those that are not run, where they are and why.
_COUNTS = pytest.StashKey[Counter[str]]()
_NOT_RUN = pytest.StashKey[list[str]]()


class Ledger:
    """Counts the blocks of all pages."""

    def __init__(self, config: pytest.Config) -> None:
        self._counts = config.stash.setdefault(_COUNTS, Counter())
        self._not_run = config.stash.setdefault(_NOT_RUN, [])

    def note(self, done: str) -> None:
        """A block was dealt with."""
        self._counts[done] += 1

    def note_not_run(self, where: str, reason: str) -> None:
        """A block was not run."""
        self._not_run.append(f"{where}: {reason}")


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return Ledger(pytestconfig)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts, not_run = config.stash.get(_COUNTS, None), config.stash.get(_NOT_RUN, [])
    if not counts:
        return
    told = ", ".join(f"{number} {done}" for done, number in counts.most_common())
    terminalreporter.section("code blocks in the documentation")
    terminalreporter.line(f"{told}, {len(not_run)} not run")
    for line in not_run:
        terminalreporter.line(f"  not run: {line}")
