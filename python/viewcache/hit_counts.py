"""
How often each page has answered, where that is counted (``VIEWCACHE["COUNT_HITS"]``).

The counts are for people: the admin's list and ``manage.py viewcache list`` show them. A hit adds
one to a number in its process; every few seconds a thread adds those numbers to the ones in the
cache, so a request sends no command for it. A process that is killed takes its last seconds along.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable

from django.core.cache.backends.base import BaseCache
from django.db import connections

from . import conf, illegible
from .store import Store
from .visit import Visit

logger = logging.getLogger("viewcache")

#: Seconds from the first hit that is not yet in the cache until it is.
_DELAY = 10.0
#: Pages that are counted between two writes; hits of others are not, so memory is bounded.
_PAGES = 10_000
#: Seconds that a count is kept for, from its first hit on.
_LASTS = 7 * 24 * 60 * 60
#: Counts that are read by one command.
_BATCH = 1000

_lock = threading.Lock()
_counts: Counter[str] = Counter()
_writer: threading.Timer | None = None


def is_on() -> bool:
    """Are hits counted?"""
    return conf.get().COUNT_HITS


def add(visit: Visit) -> None:
    """A page has answered this visit's request."""
    lookup, store = visit.lookup, visit.store
    # What explain() looks up is nobody's request.
    if conf.get().COUNT_HITS and lookup is not None and store is not None and not store.is_dry:
        _count(str(lookup.key))


def _count(key: str) -> None:
    """The page with this key has answered a request."""
    global _writer
    with _lock:
        if key in _counts or len(_counts) < _PAGES:
            _counts[key] += 1
        if _writer is None:
            _writer = threading.Timer(_DELAY, _write_in_thread)
            _writer.name, _writer.daemon = "viewcache-hits", True
            try:
                _writer.start()
            except RuntimeError:
                _writer = None  # no more threads can be had


def write() -> None:
    """Add what this process has counted to the counts in the cache, now. Raises nothing."""
    global _counts, _writer
    with _lock:
        counts, _counts = _counts, Counter()
        waiting, _writer = _writer, None
    if waiting is not None:
        waiting.cancel()
    if not counts:
        return
    try:
        cache = Store().generations
        for key, (page, more) in zip(_keys(counts), counts.items(), strict=True):
            _add(cache, key, more)
            logger.debug("viewcache counted %s hits of %s", more, page)
    except Exception as error:
        logger.warning(
            "viewcache could not count hits (%s: %s); pages are served.",
            type(error).__name__,
            error,
        )


def read(pages: Iterable[str]) -> dict[str, int]:
    """
    The hits of the pages with these keys, of those that had any. Raises what the cache raises.
    """
    wanted = list(pages) if is_on() else []
    store = Store()
    counts: dict[str, int] = {}
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        keys = _keys(some)
        found = store.fetch([], keys)
        counts |= {
            page: found[key]
            for page, key in zip(some, keys, strict=True)
            if isinstance(found.get(key), int)
        }
    return counts


def _keys(pages: Iterable[str]) -> list[str]:
    return conf.site().generation_keys([f"hits:{page}" for page in pages])


def _add(cache: BaseCache, key: str, more: int) -> None:
    # Neither of the two alone is enough: another process may be the first, at the same moment.
    if not illegible.add(cache, key, more, _LASTS):
        try:
            cache.incr(key, more)
        except ValueError:
            cache.add(key, more, _LASTS)


def _write_in_thread() -> None:
    try:
        write()
    finally:
        # Where the cache is a table, this thread has a connection of its own.
        connections.close_all()


def _forget() -> None:
    """The process was forked: what its parent has counted is the parent's to write."""
    global _lock, _counts, _writer
    _lock, _counts, _writer = threading.Lock(), Counter(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
atexit.register(write)
