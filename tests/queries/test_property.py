"""
After every commit, whoever made it and by whatever road, every page that is served is the page
as it would be without a cache. ``VIEWCACHE_STEPS`` is how many commits are tried (`make
track-steps` tries 100,000), over models that are drawn from the seeds from ``VIEWCACHE_SEED`` on.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

STEPS = int(os.environ.get("VIEWCACHE_STEPS", "0"))
SEED = int(os.environ.get("VIEWCACHE_SEED", "1"))
#: Steps in one world: as many as are worth its tables, or as few as there is time for.
STEPS_IN_WORLD = 1000 if STEPS else 100
SHARE = {"sqlite": 0.3, "postgresql": 0.3, "postgresql repeatable": 0.15, "mariadb": 0.25}

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("kind", SHARE)
def test_no_page_is_old_after_any_commit(
    in_shop: Run,
    database_of: Callable[[str], str],
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    count = max(2, round(STEPS * SHARE[kind] / STEPS_IN_WORLD))
    # The first is the shop, whose reads and writes somebody thought of. No two databases have the
    # same others.
    seed = SEED + 1000 * list(SHARE).index(kind)
    worlds = ["shop", *map(str, range(seed, seed + count - 1))]

    # Here, since a server ends with the thread that started it.
    urls = [database_of(kind) for _ in worlds]

    def search(number: int, world: str) -> dict[str, Any]:
        # `python -m shop` with these words, a database and a cache is the same search again.
        words = ["--world", world, "--seed", str(seed), "--steps", str(STEPS_IN_WORLD)]
        try:
            told = in_shop("shop", kind, *words, url=urls[number], cache=number % 16)
        except AssertionError as error:
            say(f"{kind}, {words}: {error}")
            raise
        found = f"{told['differences']} differences {told['first'] or ''}"
        say(f"{kind}, world {world}: {told['steps']} steps, {found}")
        return {"words": words, **told}

    def say(line: str) -> None:
        # A long search is watched: `pytest -s`.
        sys.stdout.write(f"{line.rstrip()}\n")
        sys.stdout.flush()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search, range(len(worlds)), worlds))
    total: Counter[str] = Counter()
    for told in found:
        assert told["differences"] == 0, (told["words"], told["first"])
        total.update({name: each for name, each in told.items() if isinstance(each, int)})
    record_property(kind, total)
    sys.stdout.write(f"\n{kind}: {len(found)} worlds, {dict(sorted(total.items()))}\n")
    assert total["steps"] == count * STEPS_IN_WORLD
    # The search is worth something: pages are served from the cache, and by every road written.
    assert total["hit"] > total["compared"] / 4
    assert min(total[f"by {road}"] for road in ("here", "there", "held", "both")) > 0


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
        ("mariadb", "bulk_create_upsert"),
        ("postgresql", "move_slug"),
    ],
)
def test_a_write_that_is_not_seen_leaves_pages_old(in_shop: Run, kind: str, unhooked: str) -> None:
    # Of four pages, as the search has, often none shows what such a write changes.
    told = in_shop("shop", kind, "--steps", "100", "--pages", "30", *only(unhooked))
    assert told["differences"] > 0


@pytest.mark.parametrize("unhooked", ["update", "many_to_many", "bulk_create", "delete", "raw_sql"])
def test_nor_is_one_to_models_that_were_drawn(in_shop: Run, unhooked: str) -> None:
    told = in_shop(
        "shop", "sqlite", "--world", "2", "--steps", "100", "--pages", "30", *only(unhooked)
    )
    assert told["differences"] > 0


# The scope of any value is not among them: a write of this search that gives a value which cannot
# be known gives it to rows that cannot be known either.
@pytest.mark.parametrize(
    ("kind", "scopes"), [("sqlite", "value"), ("mariadb", "row"), ("sqlite", "rows")]
)
def test_each_kind_of_scope_is_needed(in_shop: Run, kind: str, scopes: str) -> None:
    writes = "move_slug,swap_slugs,made_anew,priced,save"
    told = in_shop(
        "shop",
        kind,
        "--steps",
        "150",
        "--pages",
        "30",
        "--forget",
        scopes,
        "--only",
        writes,
        "--first",
    )
    assert told["differences"] > 0


def only(unhooked: str) -> list[str]:
    return ["--only", f"{unhooked},save", "--unhook", unhooked, "--first"]
