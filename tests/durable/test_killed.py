"""``VIEWCACHE["DURABLE"]``: a writer that is killed at any of its steps leaves no old page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Killing = Callable[..., dict[str, Any]]

DATABASES = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
#: What the settings name is expired by signals, and by hand; what is tracked by any statement.
NAMED = ["save", "save_atomic", "create", "nested", "by_hand", "delete"]
TRACKED = ["save", "nested", "update", "raw", "own_transaction", "without_autocommit"]


def old(told: dict[str, Any]) -> list[str]:
    return [step["step"] for step in told["steps"] if step["old"]]


@DATABASES
@pytest.mark.parametrize("write", NAMED)
def test_no_page_is_old_after_a_kill(killing: Killing, kind: str, write: str) -> None:
    told = killing(kind, "--write", write, "--durable")
    assert old(told) == []
    steps = [step["step"] for step in told["steps"]]
    assert steps[-1] == "end"
    assert "after _commit" in steps
    assert told["rows"] == 0


@DATABASES
@pytest.mark.parametrize("write", TRACKED)
def test_nor_where_pages_know_what_they_read(killing: Killing, kind: str, write: str) -> None:
    told = killing(kind, "--write", write, "--durable", "--track")
    assert (old(told), told["rows"]) == ([], 0)


@DATABASES
@pytest.mark.parametrize("write", ["save", "nested", "own_transaction"])
def test_the_row_is_delivered_where_the_writer_reached_no_cache(
    killing: Killing, kind: str, write: str
) -> None:
    told = killing(kind, "--write", write, "--durable", "--track", "--no-cache")
    assert (old(told), told["rows"]) == ([], 0)


def test_without_it_a_kill_after_the_commit_leaves_old_pages(killing: Killing) -> None:
    told = killing("sqlite", "--write", "save_atomic")
    assert old(told) == ["after _commit", "before set_many"]


@pytest.mark.parametrize("part", ["close", "saves"])
def test_each_part_is_needed(killing: Killing, part: str) -> None:
    assert old(killing("sqlite", "--write", "save", "--durable", "--break", part))
