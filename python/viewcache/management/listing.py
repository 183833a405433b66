"""
``manage.py viewcache list`` and ``stats``: what they take, find and tell.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from viewcache import _core, hit_counts, inventory, overview
from viewcache.early import rules

#: How a list can be ordered; numbers begin with the greatest.
ORDERS: dict[str, Callable[[overview.Row], Any]] = {
    "url": lambda row: (row.local, row.url),
    "age": lambda row: row.oldest,
    "size": lambda row: -row.bytes,
    "pages": lambda row: -row.pages,
    "hits": lambda row: -row.hits,
}


def list_arguments(parser: ArgumentParser) -> None:
    pattern_argument(parser, "only URLs in which this regular expression occurs")
    parser.add_argument("--sort", choices=ORDERS, default="url", help="the order (url)")
    parser.add_argument("--limit", metavar="N", type=int, help="at most so many URLs")
    parser.add_argument(
        "--all", action="store_true", help="also pages that are not served any more, and why"
    )
    parser.add_argument("--json", action="store_true", help="for machines")


def stats_arguments(parser: ArgumentParser) -> None:
    pattern_argument(parser, "only of URLs in which this regular expression occurs")
    parser.add_argument("--json", action="store_true", help="for machines")


def pattern_argument(parser: ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--url-pattern",
        metavar="REGEX",
        nargs="+",
        action="extend",
        default=[],
        help=f"{text}: in https://host/path?query, or from the path on, so '^/blog/' is the blog",
    )


def patterns(given: list[str]) -> list[_core.UrlPattern]:
    """Compiled; raises ``ValueError`` for what is no pattern."""
    return [_core.UrlPattern(pattern) for pattern in given]


# -- list -----------------------------------------------------------------------------------------


def found_rows(
    url_pattern: list[str], sort: str, limit: int | None, stale: bool
) -> tuple[list[overview.Row], inventory.Inventory]:
    """The rows of a list, and the inventory that they are from."""
    if limit is not None and limit < 1:
        raise CommandError("--limit takes a whole number, 1 or more.")
    known = inventory.read(patterns(url_pattern))
    rows = sorted(overview.rows(known.pages, stale=stale), key=ORDERS[sort])
    return rows[:limit], known


def as_dict(row: overview.Row, now: float) -> dict[str, Any]:
    return {
        "url": row.url,
        "path": row.path,
        "pages": row.pages,
        "stale": dict(row.stale),
        "newest_seconds": round(now - row.newest, 3),
        "oldest_seconds": round(now - row.oldest, 3),
        "bytes": row.bytes,
        **({"hits": row.hits} if hit_counts.is_on() else {}),
        "languages": sorted(row.languages),
        "tags": sorted(row.tags),
    }


def told_list(rows: list[overview.Row], known: inventory.Inventory) -> Iterator[str]:
    now = time.time()
    has_hits = hit_counts.is_on()
    if rows:
        hits = f"{'hits':>8}  " if has_hits else ""
        yield f"{'pages':>6}  {'age':>8}  {'size':>8}  {hits}URL"
    for row in rows:
        age = overview.seconds(now - row.oldest)
        hits = f"{row.hits:>8}  " if has_hits else ""
        line = f"{row.pages:>6}  {age:>8}  {overview.size(row.bytes):>8}  {hits}{row.url}"
        reasons = ", ".join(f"{count} {told(code)}" for code, count in row.stale.items())
        yield f"{line}  ({reasons})" if reasons else line
    pages, weight = sum(row.pages for row in rows), sum(row.bytes for row in rows)
    yield (
        f"{counted(len(rows), 'URL')}, {counted(pages, 'page')}, {overview.size(weight)}. "
        f"{filled(known)}"
    )


def told(code: str) -> str:
    """Why a page is not served, in a word or two."""
    return {"generation-gone": "lost its generation", "timed-out": "timed out"}.get(code, code)


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def filled(known: inventory.Inventory) -> str:
    told = f"The inventory has {known.taken} of {known.places} places taken"
    if known.taken > known.places * 3 // 4:
        return f"{told}; it may miss pages. Raise VIEWCACHE['INVENTORY']."
    return f"{told}."


# -- stats ----------------------------------------------------------------------------------------


def statistics(url_pattern: list[str]) -> dict[str, Any]:
    """What ``stats`` tells."""
    known = inventory.read(patterns(url_pattern))
    now = time.time()
    urls: set[str] = set()
    stale: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    ages: list[float] = []
    sizes: list[tuple[int, str]] = []
    for page in inventory.look_at(known.pages):
        if page.stale is not None:
            stale[page.stale[0]] += 1
            continue
        urls.add(page.listed.url)
        languages[page.listed.language or ""] += 1
        ages.append(now - page.stored_at)
        sizes.append((page.bytes, page.listed.url))
    largest, of_url = max(sizes, default=(0, ""))
    alias = settings.CACHE_MIDDLEWARE_ALIAS
    return {
        "urls": len(urls),
        "pages": len(sizes),
        "stale": dict(stale),
        "gone": len(known.pages) - len(sizes) - stale.total(),
        "bytes": sum(weight for weight, _ in sizes),
        "largest": {"bytes": largest, "url": of_url} if sizes else None,
        "newest_seconds": round(min(ages), 3) if ages else None,
        "oldest_seconds": round(max(ages), 3) if ages else None,
        "languages": {code: count for code, count in sorted(languages.items()) if code},
        "inventory": {"taken": known.taken, "places": known.places},
        "early": {"obstacles": [vars(found) for found in rules.obstacles()]},
        "cache": {"alias": alias, "backend": settings.CACHES[alias]["BACKEND"]},
    }


def told_statistics(found: dict[str, Any]) -> Iterator[str]:
    yield f"URLs       {found['urls']}"
    yield f"pages      {found['pages']}"
    for code, count in found["stale"].items():
        yield f"           and {count} {told(code)}"
    if found["gone"]:
        yield f"           and {found['gone']} listed, but no longer in the cache"
    yield f"size       {overview.size(found['bytes'])}"
    if found["largest"] is not None:
        largest = found["largest"]
        yield f"           the largest {overview.size(largest['bytes'])}: {largest['url']}"
        newest, oldest = found["newest_seconds"], found["oldest_seconds"]
        yield f"age        {overview.seconds(newest)} to {overview.seconds(oldest)}"
    if found["languages"]:
        of = ", ".join(f"{code} {count}" for code, count in found["languages"].items())
        yield f"languages  {of}"
    taken, places = found["inventory"]["taken"], found["inventory"]["places"]
    yield f"inventory  {taken} of {places} places taken"
    yield from _told_early(found["early"]["obstacles"])
    yield f"cache      {found['cache']['alias']}: {found['cache']['backend']}"


def _told_early(obstacles: list[dict[str, str]]) -> Iterator[str]:
    """May pages be served before Django begins? All that is in the way, not the first alone."""
    if not obstacles:
        yield "early hits: possible"
        return
    yield "early hits: not possible"
    for found in obstacles:
        yield f"           {found['what']}. {found['advice']}"
