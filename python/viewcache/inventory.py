"""
What is cached: the pages that the inventory names, and what the cache has of each.

The inventory is for people. It can miss a page (its places are all taken, the cache has evicted
an entry) and can name one that is gone; what is served never depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from django.conf import settings
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils.translation import get_language_from_path, override

from . import _core, conf
from .store import Store

#: Places that are read by one command, and records: these are as large as pages are.
_PLACES = 1000
_RECORDS = 50


class Listed(NamedTuple):
    """A page as the inventory names it."""

    #: Its key in the cache.
    key: str
    #: Scheme and host.
    origin: str
    #: Its URL from the path on: ``/blog/?page=2``.
    local: str
    #: As scopes have it.
    path: str
    method: str
    #: The alias of its cache, where it is not that of the generations.
    alias: str | None
    key_prefix: str
    language: str | None
    zone: str | None

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.origin + self.local


@dataclass(frozen=True)
class Cached:
    """A page that is in the cache."""

    listed: Listed
    #: Why it is not served any more, or only stale: ``"expired"``, ``"soft-expired"``,
    #: ``"generation-gone"``, ``"timed-out"``; and the scope.
    stale: tuple[str, str | None] | None
    status: int
    #: Seconds since the epoch.
    stored_at: float
    expires_at: float
    #: Of the record: headers, body and what it is checked with.
    bytes: int
    #: Its scopes beyond those of its path.
    tags: list[str]


class Inventory(NamedTuple):
    """What is listed, and out of how many places."""

    pages: list[Listed]
    taken: int
    places: int


def read(patterns: Sequence[_core.UrlPattern] = ()) -> Inventory:
    """
    The pages that are listed, by URL; with patterns, those whose URL one of them occurs in.

    Raises ``ImproperlyConfigured`` when the inventory is switched off, and what the cache raises.
    """
    table = conf.inventory()
    if table.places == 0:
        raise ImproperlyConfigured(
            "VIEWCACHE['INVENTORY'] is 0: nobody notes which pages are cached. Give it a number of "
            "places, such as 50_000."
        )
    store = Store()
    taken = 0
    pages: dict[str, Listed] = {}
    for start in range(0, table.places, _PLACES):
        found = store.fetch([], table.keys(start, start + _PLACES))
        taken += len(found)
        for entry in _core.inventory_entries(found, patterns):
            listed = Listed(*entry)
            pages[listed.key] = listed
    ordered = sorted(pages.values(), key=lambda page: (page.local, page.origin, page.key))
    return Inventory(ordered, taken, table.places)


def look_at(pages: Iterable[Listed]) -> Iterator[Cached]:
    """
    Those of the pages that are in the cache, whether they are served or not.

    Their records are read, a few at a time: that is as much as the pages weigh.
    """
    by_alias: dict[str | None, list[Listed]] = {}
    for page in pages:
        by_alias.setdefault(page.alias, []).append(page)
    for alias, mine in by_alias.items():
        try:
            store = Store(alias)
        except InvalidCacheBackendError:
            continue  # The alias has been taken out of CACHES: nobody is served these.
        for start in range(0, len(mine), _RECORDS):
            yield from _look_at(store, mine[start : start + _RECORDS])


def _look_at(store: Store, pages: Sequence[Listed]) -> Iterator[Cached]:
    table = conf.inventory()
    found = store.records([page.key for page in pages])
    records = [
        (page, record, keys)
        for page in pages
        if isinstance(record := found.get(page.key), bytes)
        and (keys := table.generation_keys(page.path, page.key, record)) is not None
    ]
    wanted = {key for _, _, keys in records for key in keys}
    generations = store.fetch([], list(wanted)) if wanted else {}
    now = time.time()
    for page, record, _ in records:
        seen = table.inspect(page.path, page.key, record, generations, now)
        if seen is not None:
            stale, status, stored_at, expires_at, tags = seen
            yield Cached(page, stale, status, stored_at, expires_at, len(record), tags)


# -- Views ----------------------------------------------------------------------------------------


def of_views(pages: Iterable[Listed], names: Sequence[str]) -> list[Listed]:
    """The pages whose paths lead to one of these views, as ``reverse()`` names them."""
    wanted = set(names)
    return [page for page in pages if _view_name(page.path) in wanted]


def _view_name(path: str) -> str | None:
    """Whose page it is, in the language of the path."""
    code = get_language_from_path(path) or settings.LANGUAGE_CODE if settings.USE_I18N else None
    try:
        with override(code) if code else nullcontext():
            return resolve(path).view_name
    except Resolver404:
        return None


def has_view(name: str) -> bool:
    """Has the site a URL of this name?"""
    return name in _names(get_resolver().url_patterns)


def _names(patterns: Iterable[URLPattern | URLResolver], space: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield space + pattern.name
        else:
            inner = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from _names(pattern.url_patterns, inner)
