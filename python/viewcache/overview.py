"""
What is cached, summed up: by URL, and as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import hit_counts, inventory
from .inventory import Listed


@dataclass
class Row:
    """A URL, and the pages that are cached for it."""

    url: str
    #: From the path on.
    local: str
    path: str
    #: Variants that are served.
    pages: int = 0
    #: Variants that are not any more, by the reason.
    stale: Counter[str] = field(default_factory=Counter)
    #: When the newest and the oldest of all these were stored, in seconds since the epoch.
    newest: float = 0.0
    oldest: float = 0.0
    bytes: int = 0
    #: As far as they are counted (``COUNT_HITS``).
    hits: int = 0
    tags: set[str] = field(default_factory=set)
    languages: set[str] = field(default_factory=set)


def rows(pages: Iterable[Listed], *, stale: bool = True) -> list[Row]:
    """
    The URLs of those of the pages that are in the cache, in the order in which they come; without
    those pages that are not served any more, where they are not wanted.
    """
    cached = [page for page in inventory.look_at(pages) if stale or page.stale is None]
    hits = hit_counts.read(page.listed.key for page in cached)
    found: dict[str, Row] = {}
    for page in cached:
        listed = page.listed
        row = found.setdefault(listed.url, Row(listed.url, listed.local, listed.path))
        if page.stale is None:
            row.pages += 1
        else:
            row.stale[page.stale[0]] += 1
        row.newest = max(row.newest, page.stored_at)
        row.oldest = min(row.oldest or page.stored_at, page.stored_at)
        row.bytes += page.bytes
        row.hits += hits.get(listed.key, 0)
        row.tags.update(page.tags)
        if listed.language is not None:
            row.languages.add(listed.language)
    return list(found.values())


def listed_rows(pages: Iterable[Listed]) -> list[Row]:
    """The URLs of pages whose records have not been read: nothing but their names."""
    return list({page.url: Row(page.url, page.local, page.path) for page in pages}.values())


def seconds(age: float) -> str:
    """So many seconds, as people say it: ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if age >= 2 * size:
            return f"{int(age // size)} {unit}"
    return f"{max(0, int(age))} s"


def size(count: int) -> str:
    """So many bytes, as people say it: ``512 B``, ``12 kB``, ``3.4 MB``."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"
