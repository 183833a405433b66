"""
What the inventory is told of a page that was stored, where this process does not know that it was
told before. Pages are served without it, so a fault here is a line in the log and no more.
"""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from django.http import HttpRequest

from . import _core, conf
from . import request as canonical
from .store import Entry
from .visit import Visit

logger = logging.getLogger("viewcache")

#: How much longer than its page an entry is kept, in seconds: a page that is rendered again and
#: again is noted once a day.
_LASTS = 24 * 60 * 60

#: Bytes of an entry, which is little more than a URL: one that nobody could read in a list is not
#: worth what a cache may refuse for its size.
_LIMIT = 8192


class Listing(NamedTuple):
    """An entry that is to be there."""

    lease: _core.LookUp
    #: What it may lie under.
    keys: list[str]
    entry: bytes
    seconds: int
    #: Seconds since the epoch.
    until: float


def enlist(visit: Visit, request: HttpRequest, entries: list[Entry] | None) -> None:
    """Note the page of this visit, if it was stored."""
    try:
        wanted = _listing(visit, request, entries)
        if wanted is not None and visit.store is not None:
            _done(wanted, visit.store.enlist(wanted.keys, wanted.entry, wanted.seconds))
    except Exception as error:
        _fault(visit, error)


async def aenlist(visit: Visit, request: HttpRequest, entries: list[Entry] | None) -> None:
    """As ``enlist``."""
    try:
        wanted = _listing(visit, request, entries)
        if wanted is not None and visit.store is not None:
            _done(wanted, await visit.store.aenlist(wanted.keys, wanted.entry, wanted.seconds))
    except Exception as error:
        _fault(visit, error)


def _listing(visit: Visit, request: HttpRequest, entries: list[Entry] | None) -> Listing | None:
    lease, store = visit.lookup, visit.store
    if visit.status != "stored" or lease is None or store is None or not entries:
        return None
    _, _, seconds = entries[0]
    now = time.time()
    if conf.inventory().is_listed(lease, now + seconds):
        return None
    seconds += _LASTS
    keys, entry = canonical.listing(
        request,
        lease,
        key_prefix=visit.area.key_prefix,
        only=visit.area.query,
        alias=None if store.pages is store.generations else visit.area.alias,
    )
    if len(entry) > _LIMIT:
        return None
    return Listing(lease, keys, entry, seconds, now + seconds)


def _done(wanted: Listing, has_place: bool) -> None:
    conf.inventory().listed(wanted.lease, wanted.until, has_place)


def _fault(visit: Visit, error: Exception) -> None:
    logger.warning(
        "viewcache could not note a page in the inventory (%s: %s); the page is stored.",
        type(error).__name__,
        error,
    )
    # Without a store nothing was noted, and nothing failed.
    assert visit.store is not None
    visit.store.breaker.failed()
