"""
After every commit, whoever made it and by whatever road, every page that is served is the page
as it would be without a cache. ``VIEWCACHE_STEPS`` is how many commits are tried (`make
track-steps` tries 100,000).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

STEPS = int(os.environ.get("VIEWCACHE_STEPS", "0"))
#: Where nobody says how many, at most this long.
SECONDS = 20
SHARE = {"sqlite": 0.4, "postgresql": 0.4, "repeatable": 0.2}

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("kind", SHARE)
def test_no_page_is_old_after_any_commit(
    in_shop: Run, kind: str, record_property: Callable[[str, object], None]
) -> None:
    steps = int((STEPS or 4000) * SHARE[kind])
    limit = [] if STEPS else ["--seconds", str(SECONDS * SHARE[kind] * 2)]
    told = in_shop("shop", kind, "--steps", str(steps), "--seed", str(steps), *limit)
    record_property(kind, told)
    sys.stdout.write(f"\n{kind}: {told}\n")
    assert told["differences"] == 0, told["first"]
    assert told["steps"] == steps or limit
    # The search is worth something: pages are served from the cache, and by every road written.
    assert told["hit"] > told["compared"] / 4
    assert min(told[f"by {road}"] for road in ("here", "there", "held")) > 0


@pytest.mark.parametrize(
    ("kind", "unhooked"),
    [
        ("sqlite", "update"),
        ("sqlite", "raw_sql"),
        ("sqlite", "delete"),
        ("sqlite", "m2m_add"),
        ("sqlite", "m2m_set"),
        ("postgresql", "m2m_other_side"),
        ("postgresql", "bulk_update"),
        ("postgresql", "bulk_create_upsert"),
    ],
)
def test_a_write_that_is_not_seen_leaves_pages_old(in_shop: Run, kind: str, unhooked: str) -> None:
    # Of four pages, as the search has, often none shows what such a write changes.
    told = in_shop("shop", kind, "--steps", "100", "--pages", "30", *only(unhooked))
    assert told["differences"] > 0


def only(unhooked: str) -> list[str]:
    return ["--only", f"{unhooked},save", "--unhook", unhooked, "--first"]
