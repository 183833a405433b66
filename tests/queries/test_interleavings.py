"""
A change that somebody commits while a page is being made does not leave an old page behind,
whatever the isolation of the transaction that reads: and each rule is needed for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]

#: What each server has to say of a transaction of Django's.
ISOLATION = {
    "sqlite": "snapshot",
    "postgresql": "read committed",
    "postgresql repeatable": "repeatable read",
    "mariadb": "read committed",
    "mariadb repeatable": "repeatable read",
}


@pytest.fixture
def interleave(in_shop: Run, database_of: Callable[[str], str]) -> Run:
    def run(kind: str, broken: str = "") -> dict[str, Any]:
        url = database_of(kind)
        # In SQLite's other journal modes nobody commits while somebody reads.
        url += "?wal" if kind == "sqlite" else ""
        return in_shop("shop.interleave", kind, "--break", broken, url=url)

    return run


@pytest.mark.parametrize("kind", ISOLATION)
def test_a_change_while_a_page_is_made(interleave: Run, kind: str) -> None:
    told = interleave(kind)
    assert told["isolation"] == ISOLATION[kind]
    assert told["old"] == []
    # No page of these is kept out of the cache for long.
    assert told["stored"] == 352


@pytest.mark.parametrize(
    ("kind", "rule", "found"),
    [
        ("sqlite", "snapshots", "/two_rows/atomic/False/update/"),
        ("postgresql repeatable", "snapshots", "/two_rows/atomic/False/update/"),
        ("mariadb repeatable", "snapshots", "/two_rows/atomic/False/update/"),
        ("sqlite", "order", "/before_store/plain/False/update/"),
        ("postgresql", "order", "/before_store/plain/False/update/"),
        ("sqlite", "whole", "/open_cursor/plain/False/update/"),
        ("sqlite", "row", "/by_slug/plain/False/update/"),
        ("postgresql", "row", "/by_slug/plain/False/update/"),
        ("mariadb", "row", "/by_slug_hidden/plain/False/update/"),
        ("sqlite", "early", "/before_store/early/False/update/"),
        ("postgresql", "early", "/list_before_store/early/True/all/"),
    ],
)
def test_without_a_rule_an_old_page_is_found(
    interleave: Run, kind: str, rule: str, found: str
) -> None:
    assert found in interleave(kind, rule)["old"]
